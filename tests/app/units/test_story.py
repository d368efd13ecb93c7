"""The story of a unit: pages, outcome states, what it would get now, and how it compares, as of a moment."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.errors import NotFound
from app.serving.allocations import Allocations
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Metric, Override, Reward
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.items import ItemRow, upsert
from app.store.partitions import make_partitions
from app.units import Asked, UnitStory, unit_story
from tests.app.building import decision, event, execute, now, put, record, specification

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
QUICK = Reward(window_s=60)


@pytest.fixture
def home(shared_database: Database, key: str) -> str:
    """An experiment of this test's own."""
    put(shared_database, key, specification(reward=QUICK, metrics=(Metric(key="revenue", aggregation="sum"),)))
    return key


def story(database: Database, unit: str, moment: datetime | None = None, **parts: Any) -> UnitStory:
    """What is told of a unit."""
    moment = moment or now()
    asked = Asked(**{"unit": unit, "since": moment - 30 * DAY, "until": moment + HOUR, **parts})
    return unit_story(database, Allocations(database), asked, moment)


def tell(database: Database, *events: Any) -> None:
    """Sends feedback."""
    with database.transaction() as connection:
        FeedbackWriter(shard=0).write(cursor_of(connection), events)


def state(database: Database, row: DecisionRow, moment: datetime, metric: str = "click") -> Any:
    """State and value of the outcome of a unit's only decision, at a moment."""
    (one,) = story(database, row.unit, moment).decisions
    return one.outcomes[metric].state, one.outcomes[metric].value


def test_an_outcome_goes_from_pending_to_defaulted_to_corrected(shared_database: Database, home: str) -> None:
    """By the end of the window; a late event corrects it; other metrics have a default of nothing."""
    row = decision(home, unit=home, decided_at=now() - 10 * HOUR)
    record(shared_database, [row])
    end = row.decided_at + timedelta(seconds=60)
    assert state(shared_database, row, end) == ("pending", None)
    assert state(shared_database, row, end + timedelta(seconds=1)) == ("defaulted", 0.0)
    assert state(shared_database, row, now(), "revenue") == ("defaulted", None)
    tell(shared_database, event(row, occurred_at=end + timedelta(seconds=1)))
    assert state(shared_database, row, now()) == ("corrected", 1.0)
    tell(shared_database, event(row, event_id="in time", occurred_at=end))
    assert state(shared_database, row, now()) == ("observed", 1.0)


def test_what_is_refused_is_told(shared_database: Database, home: str) -> None:
    """The metric is rejected until something usable comes, and the entry of quarantine stays beside it."""
    row = decision(home, unit=home)
    record(shared_database, [row])
    tell(shared_database, event(row, 0.5), event(row, metric="likes"))
    (one,) = story(shared_database, home).decisions
    assert {metric: outcome.state for metric, outcome in one.outcomes.items()} == {
        "click": "rejected", "likes": "rejected", "revenue": "pending",
    }  # fmt: skip
    assert {entry["reason"] for entry in one.rejections} == {"value_refused", "unknown_metric"}
    tell(shared_database, event(row, event_id="better"))
    (one,) = story(shared_database, home).decisions
    assert one.outcomes["click"].state == "observed"
    execute(shared_database, "UPDATE quarantine SET state = 'replayed' WHERE experiment = :key", key=home)
    assert story(shared_database, home).decisions[0].rejections == []


def test_what_must_be_confirmed_waits_for_it(shared_database: Database, key: str) -> None:
    """Unconfirmed it has no state; the window begins with the exposure; what is not learned from never counts."""
    put(shared_database, key, specification(exposure="confirmed", reward=QUICK))
    row = decision(key, unit=key, awaits_confirmation=True, decided_at=now() - HOUR)
    held = decision(key, unit=f"{key}-held", awaits_confirmation=True, learnable=False, reason="holdout", propensity=1)
    record(shared_database, [row, held])
    (one,) = story(shared_database, key).decisions
    assert (one.exposure.state, one.exposure.at, one.outcomes["click"].state) == ("awaiting", None, None)
    shown_at = row.decided_at + 30 * timedelta(minutes=1)
    with shared_database.transaction() as connection:
        confirmed = [ExposureEvent(decision_id=row.decision_id, occurred_at=shown_at)]
        ExposureWriter(shard=0).write(cursor_of(connection), confirmed)
    (one,) = story(shared_database, key, shown_at + timedelta(seconds=59)).decisions
    assert (one.exposure.state, one.exposure.at, one.outcomes["click"].state) == ("exposed", shown_at, "pending")
    assert state(shared_database, row, shown_at + timedelta(seconds=61)) == ("defaulted", 0.0)
    assert story(shared_database, f"{key}-held").decisions[0].exposure.state == "excluded"


def test_with_explicit_rewards_nothing_defaults(shared_database: Database, key: str) -> None:
    """What frontends must say is waited for."""
    put(shared_database, key, specification(reward=Reward(missing="explicit", window_s=60)))
    row = decision(key, unit=key, decided_at=now() - HOUR)
    record(shared_database, [row])
    assert state(shared_database, row, now()) == ("pending", None)


def test_pages_go_over_partitions(shared_database: Database, home: str) -> None:
    """Newest first, none twice, none left out, within the range and no further."""
    with shared_database.transaction() as connection:
        make_partitions(connection, now() - 12 * DAY)
    rows = [decision(home, unit=home, decided_at=now() - n * 8 * HOUR) for n in range(20)]
    record(shared_database, rows)
    since, until = rows[17].decided_at, rows[2].decided_at + timedelta(milliseconds=1)
    found, cursor = [], None
    while True:
        page = story(shared_database, home, since=since, until=until, cursor=cursor, limit=4)
        found.append([one.decision_id for one in page.decisions])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [len(page) for page in found] == [4, 4, 4, 4]
    assert [one for page in found for one in page] == [row.decision_id for row in rows[2:18]]


def test_a_unit_is_compared_with_everybody_in_the_same_days(shared_database: Database, home: str) -> None:
    """What the statistics have of the days of the range is what the log holds; the unit's part is its own log's."""
    rows = [
        decision(
            home,
            unit=f"{home}-{n % 3}",
            arm="ab"[n % 2],
            decided_at=now() - (n % 4) * DAY,
            items=(f"i{n % 5}", "j"),
            scores=(None, None),
        )
        for n in range(24)
    ]
    record(shared_database, rows)
    paid = [event(row, 2.5, metric="revenue", occurred_at=row.decided_at) for row in rows[::2]]
    tell(shared_database, *paid, *(event(row, occurred_at=row.decided_at) for row in rows[::3]))
    asked = story(shared_database, f"{home}-0", since=now() - 2 * DAY, until=now())
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    assert (asked.summary.since, asked.summary.until) == (midnight - 2 * DAY, midnight + DAY)
    (beside,) = asked.summary.experiments
    within = [row for row in rows if row.decided_at >= midnight - 2 * DAY]
    for figures, mine in ((beside.population, within), (beside.unit, [r for r in within if r.unit == f"{home}-0"])):
        assert figures.decisions == figures.exposures == len(mine)
        assert figures.arms == {arm: n for arm in "ab" if (n := sum(row.arm == arm for row in mine))}
        assert figures.reward_rate == pytest.approx(sum(row in rows[::3] for row in mine) / len(mine))
        revenue = 2.5 * sum(row in rows[::2] for row in mine)
        assert figures.value_per_decision["revenue"] == pytest.approx(revenue / len(mine))
    assert (beside.population.distinct_items, beside.population.repeat_exposure) == (None, None)
    lists = [row.items for row in sorted(within, key=lambda row: row.decision_id) if row.unit == f"{home}-0"]
    before = [{item for earlier in lists[:n] for item in earlier} for n in range(len(lists))]
    repeats = sum(item in seen for shown, seen in zip(lists, before, strict=True) for item in shown)
    assert beside.unit.distinct_items == len({item for shown in lists for item in shown})
    assert beside.unit.repeat_exposure == pytest.approx(repeats / sum(map(len, lists)))


def test_it_is_told_what_the_unit_would_get_now(shared_database: Database, key: str) -> None:
    """Pinned, sticky, drawn anew, paused, or nothing where nothing is given."""
    pinned = Override(arm="b", units=(key,))
    put(shared_database, f"{key}-pin", specification(overrides=(pinned,)))
    put(shared_database, f"{key}-sticky", specification(assignment="unit"))
    put(shared_database, f"{key}-drawn")
    put(shared_database, f"{key}-draft", specification(), state="draft")
    record(shared_database, [decision(f"{key}-{name}", unit=key) for name in ("sticky", "drawn", "draft")])
    told = {e.experiment.rpartition("-")[2]: e.assigned for e in story(shared_database, key).summary.experiments}
    assert told["draft"] is None
    got = {name: (a.reason, a.arm, a.propensity) for name, a in told.items() if a}
    assert (got["pin"], got["drawn"]) == (("override", "b", 1.0), ("warm_up", None, None))
    assert got["sticky"][0] == "warm_up"
    assert got["sticky"][1] in {"a", "b"}


def test_titles_come_from_the_catalogue(shared_database: Database, home: str) -> None:
    """Where it has one; the score is the decision's."""
    with shared_database.transaction() as connection:
        upsert(connection, [ItemRow(item_id=f"{home}-1", title="One", category=None, features=None, popularity=0)])
    record(shared_database, [decision(home, unit=home, items=(f"{home}-1", "x"), scores=(0.5, None))])
    (one,) = story(shared_database, home).decisions
    assert [(item.item_id, item.score, item.title) for item in one.items] == [
        (f"{home}-1", 0.5, "One"),
        ("x", None, None),
    ]


def test_why_is_said_in_words(shared_database: Database, home: str) -> None:
    """Who chose, with which probability, and what came in between; also when the allocation is kept no more."""
    reasons = ("policy", "warm_up", "holdout", "override", "paused", "fallback")
    rows = [decision(home, unit=f"{home}-{reason}", reason=reason, served_arm="b") for reason in reasons]
    record(shared_database, rows)
    told = {reason: story(shared_database, f"{home}-{reason}").decisions[0].why for reason in reasons}
    assert told["policy"].startswith("The policy chose arm 'a' with probability 0.5. Allocation 1 ")
    assert "while arms warmed up" in told["warm_up"]
    assert "held out" in told["holdout"]
    assert "pins the unit" in told["override"]
    assert "paused" in told["paused"]
    assert "did not answer: arm 'b' was given instead" in told["fallback"]
    execute(shared_database, "UPDATE decisions SET allocation = 7 WHERE experiment = :key", key=home)
    assert "Allocation 7 is not kept any more" in story(shared_database, f"{home}-policy").decisions[0].why


def test_of_nobody_nothing_is_told(shared_database: Database, home: str) -> None:
    """Unlike of a unit that merely has no decision in the range."""
    with pytest.raises(NotFound, match="Nothing is known"):
        story(shared_database, f"{home}-nobody")
    record(shared_database, [decision(home, unit=home)])
    assert story(shared_database, home, since=now() - 2 * DAY, until=now() - DAY).decisions == []
    with pytest.raises(NotFound, match="no experiment"):
        story(shared_database, home, experiment="another")
