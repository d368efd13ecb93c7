"""What operators do on the pages beside the experiment's: each is confirmed, done, and audited under their name."""

from datetime import UTC, datetime, timedelta

from playwright.sync_api import Page, expect

from app import alerts, quarantine
from app.store.quarantine import Filter
from tests.app.building import decision, put, query, record
from tests.console.conftest import Console
from tests.console.populating import alert, reject


def test_an_alert_is_acknowledged_and_silenced(as_operator: Page, console: Console) -> None:
    """Both ask first; the alert then says who takes care of it, and that nobody is told of it."""
    put(console.database, "noisy")
    number = alert(console.database, "noisy", "fallbacks", datetime.now(UTC))
    as_operator.goto(f"{console.url}/alerts/{number}")
    as_operator.get_by_role("link", name="Acknowledge").click()
    as_operator.get_by_role("button", name="Acknowledge").click()
    expect(as_operator.get_by_text("by ana")).to_be_visible()
    as_operator.get_by_role("link", name="Silence").click()
    as_operator.get_by_label("Why").fill("planned work")
    as_operator.get_by_role("button", name="Silence").click()
    expect(as_operator.get_by_text("silenced", exact=True)).to_be_visible()
    assert alerts.get(console.database, number)["acknowledged_by"] == "ana"
    newest = alerts.silences(console.database, before=None, limit=1)[0]
    assert (newest["comment"], newest["created_by"]) == ("planned work", "ana")
    assert newest["ends_at"] - newest["starts_at"] == timedelta(hours=4)
    assert _audited(console, f"alert:{number}") == [("ana", "acknowledge")]
    as_operator.goto(f"{console.url}/alerts/silences/{newest['id']}/end")
    as_operator.get_by_role("button", name="End the silence").click()
    expect(as_operator.get_by_role("status").filter(has_text="has ended")).to_be_visible()
    assert _audited(console, f"silence:{newest['id']}") == [("ana", "silence"), ("ana", "end")]


def test_entries_in_quarantine_are_replayed_and_discarded(as_operator: Page, console: Console) -> None:
    """Chosen ones are tried again, and say how many were refused; all of a reason are discarded."""
    put(console.database, "refusing")
    reject(console.database, "refusing", "a", 3)
    as_operator.goto(f"{console.url}/data/quarantine?experiment=refusing&reason=unknown_metric")
    as_operator.get_by_role("checkbox").first.check()
    as_operator.get_by_role("button", name="Discard chosen").click()
    as_operator.get_by_role("button", name="Discard").click()
    expect(as_operator.get_by_role("status").filter(has_text="1 discarded")).to_be_visible()
    as_operator.goto(f"{console.url}/data/quarantine?experiment=refusing&reason=unknown_metric")
    as_operator.get_by_role("link", name="Discard all of this reason").click()
    as_operator.get_by_role("button", name="Discard").click()
    expect(as_operator.get_by_role("status").filter(has_text="2 discarded")).to_be_visible()
    wanted = Filter(experiment="refusing", state="open")
    assert quarantine.listed(console.database, wanted, before=None, limit=10) == []
    assert _audited(console, "quarantine")[-2:] == [("ana", "discard"), ("ana", "discard")]


def test_a_unit_is_erased(as_operator: Page, console: Console) -> None:
    """Its page asks first; afterwards nothing is known of it."""
    put(console.database, "remembering")
    record(console.database, [decision("remembering", unit="forget-me")])
    as_operator.goto(f"{console.url}/users?unit=forget-me")
    as_operator.get_by_role("link", name="Erase").click()
    as_operator.get_by_role("button", name="Erase").click()
    expect(as_operator.get_by_role("status").filter(has_text="is erased")).to_be_visible()
    as_operator.goto(f"{console.url}/users?unit=forget-me")
    assert "Nothing is known of unit 'forget-me'" in as_operator.get_by_role("main").inner_text()
    assert _audited(console, "unit") == [("ana", "erase")]


def test_a_viewer_is_offered_nothing_and_refused(as_viewer: Page, console: Console) -> None:
    """Neither buttons nor forms, and the address of one is closed."""
    for path in ("/alerts", "/alerts/1", "/data/quarantine?experiment=home", "/users?unit=reader-7"):
        as_viewer.goto(console.url + path)
        for word in ("Acknowledge", "Silence", "Replay", "Discard", "Erase"):
            assert as_viewer.get_by_role("link", name=word).count() == 0, (path, word)
            assert as_viewer.get_by_role("button", name=word).count() == 0, (path, word)
    for path in ("/alerts/1/acknowledge", "/data/quarantine/replay?ids=1", "/users/erase?unit=reader-7"):
        answer = as_viewer.goto(console.url + path)
        assert answer is not None
        assert answer.status == 403, path


def test_a_decision_is_explained(as_viewer: Page, console: Console) -> None:
    """From a unit's timeline: why this arm, by which odds, and what came of it; its id finds it, too."""
    as_viewer.goto(f"{console.url}/users?unit=reader-7")
    as_viewer.get_by_role("listitem").first.get_by_role("link").first.click()
    main = as_viewer.get_by_role("main")
    expect(main.get_by_role("heading", level=1)).to_have_text("Why fresh?")
    assert "with probability 0.5" in main.inner_text()
    number = as_viewer.url.rpartition("/")[2]
    as_viewer.goto(f"{console.url}/users?unit={number}")
    assert as_viewer.url.endswith(f"/users/decisions/{number}")


def test_the_tree_of_metrics_is_taken_in(as_viewer: Page, console: Console) -> None:
    """The experiment's page shows it once it is worked out."""
    as_viewer.goto(f"{console.url}/experiments/lists")
    tree = as_viewer.get_by_role("region", name="revenue and its proxies")
    expect(tree).to_contain_text("click online")


def test_colours_are_those_of_alerts(as_viewer: Page, console: Console) -> None:
    """A tile of the data page is red or yellow just when an alert about it fires."""
    as_viewer.goto(f"{console.url}/data?experiment=home")
    tiles = as_viewer.locator("#health .tile")
    tones = [tile.get_attribute("class") for tile in tiles.all()]
    assert tones == ["tile warn", "tile good", "tile warn", "tile none"]
    as_viewer.goto(f"{console.url}/data?experiment=lists")
    assert as_viewer.locator("#health .tile.bad, #health .tile.warn").count() == 0


def test_links_keep_the_experiment(as_viewer: Page, console: Console) -> None:
    """From page to page the same experiment is looked at."""
    as_viewer.goto(f"{console.url}/experiments/search")
    for name in ("Quality", "Data", "Evaluate", "Preview"):
        as_viewer.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        expect(as_viewer.get_by_label("Experiment")).to_have_value("search")


def _audited(console: Console, subject: str) -> list[tuple[str, str]]:
    """Who did what to a subject, the oldest first."""
    rows = query(
        console.database, "SELECT actor, action FROM audit_log WHERE subject = :subject ORDER BY id", subject=subject
    )
    return [(actor, action) for actor, action in rows]


def test_the_keyboard_is_enough(as_operator: Page, console: Console) -> None:
    """Tab and Enter lead from the list of alerts to one that is acknowledged."""
    put(console.database, "typed")
    number = alert(console.database, "typed", "quarantine", datetime.now(UTC))
    as_operator.goto(f"{console.url}/alerts?experiment=typed")
    _tab_to(as_operator, "Acknowledge quarantine of typed")
    as_operator.keyboard.press("Enter")
    as_operator.wait_for_url("**/acknowledge")
    _tab_to(as_operator, "Acknowledge")
    as_operator.keyboard.press("Enter")
    expect(as_operator.get_by_text("by ana")).to_be_visible()
    assert alerts.get(console.database, number)["acknowledged_by"] == "ana"


def _tab_to(page: Page, name: str) -> None:
    """Presses Tab until the focus is on what has a name."""
    named = "document.activeElement.ariaLabel || document.activeElement.innerText"
    for _ in range(50):
        page.keyboard.press("Tab")
        if page.evaluate(named) == name:
            return
    raise AssertionError(f"the keyboard does not reach {name!r}")
