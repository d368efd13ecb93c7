"""What operators do in the console, and what the page shows without being loaded again."""

import re
from datetime import UTC, datetime

from playwright.sync_api import Page, expect

from app import experiments
from app.console.actions import ACTIONS, Subject, perform
from tests.app.building import put
from tests.console.conftest import Console


def test_an_action_is_confirmed_done_and_audited(as_operator: Page, console: Console) -> None:
    """Pausing asks first; then the page says so, and the audit log has the operator's name."""
    put(console.database, "to-pause")
    as_operator.goto(f"{console.url}/experiments/to-pause")
    as_operator.get_by_role("link", name="Pause").click()
    assert "control arm" in as_operator.get_by_role("main").inner_text()
    as_operator.get_by_role("button", name="Pause").click()
    expect(as_operator.get_by_role("status").filter(has_text="is paused")).to_be_visible()
    assert experiments.get(console.database, "to-pause").state == "paused"
    newest = experiments.audit_page(console.database, "to-pause", before=None, limit=1)["entries"][0]
    assert (newest["actor"], newest["action"]) == ("ana", "pause")


def test_an_action_on_what_somebody_changed_meanwhile_is_refused(as_operator: Page, console: Console) -> None:
    """The form is for the version that the operator saw."""
    put(console.database, "changed")
    as_operator.goto(f"{console.url}/experiments/changed/actions/ship?arm=b")
    experiments.change_state(console.database, "changed", "pause", actor="somebody")
    as_operator.get_by_role("button", name="Ship the winner").click()
    assert as_operator.get_by_role("heading", level=1).inner_text() == "The experiment has changed since it was read"
    assert experiments.get(console.database, "changed").specification.control is None


def test_a_viewer_sees_no_actions(as_viewer: Page, console: Console) -> None:
    """Only what can be done is offered."""
    as_viewer.goto(f"{console.url}/experiments/home")
    assert as_viewer.get_by_role("navigation", name="Actions").count() == 0


def test_each_action_does_what_it_says(console: Console) -> None:
    """Pin and let go, drain, ship: each is one change of the specification."""
    database = console.database
    put(database, "acted-on")

    def do(name: str, **subject: str) -> object:
        return perform(database, "acted-on", name, Subject(**subject), version=None, actor="ana").specification

    assert [o.units for o in do("pin", unit="u", arm="b").overrides] == [("u",)]  # type: ignore[attr-defined]
    assert do("unpin", unit="u").overrides == ()  # type: ignore[attr-defined]
    shipped = do("ship", arm="b")
    assert shipped.control == "b"  # type: ignore[attr-defined]
    assert [arm.state for arm in shipped.arms] == ["draining", "active"]  # type: ignore[attr-defined]
    assert {action.needs for action in ACTIONS.values()} == {(), ("arm",), ("unit",), ("unit", "arm")}


def test_the_overview_keeps_up_without_being_loaded_again(as_viewer: Page, console: Console) -> None:
    """A new decision is counted on the page that is open."""
    put(console.database, "live-one")
    as_viewer.goto(f"{console.url}/?find=live-one")
    row = as_viewer.get_by_role("row").filter(has_text="live-one")
    expect(row.get_by_role("cell").nth(6)).to_have_text("0")
    as_viewer.evaluate("window.sameDocument = true")
    api = console.service.api()
    answer = api.post("/v1/recommendations", {"experiment": "live-one", "unit": "u", "k": 1})
    assert answer.status == 200, (answer.body, datetime.now(UTC))
    api.close()
    expect(row.get_by_role("cell").nth(6)).to_have_text("1", timeout=15_000)
    assert as_viewer.evaluate("window.sameDocument") is True


def test_times_are_in_the_viewers_zone(as_viewer: Page, console: Console) -> None:
    """UTC stays in the title."""
    as_viewer.goto(f"{console.url}/experiments/home")
    time = as_viewer.locator("#audit time").first
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", time.get_attribute("title") or "")
    expect(time).not_to_have_text(re.compile("UTC"))
