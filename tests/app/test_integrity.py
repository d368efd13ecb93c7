"""Figures of closed windows that tell whether traffic is what it seems."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.integrity import WINDOW, last_closed, measure
from app.serving.feedback import FeedbackWriter
from app.specification import Reward
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.feedback import FeedbackEvent
from tests.app.building import decision, event, execute, now, put, query, record, specification

SECOND = timedelta(seconds=1)


@pytest.fixture
def end(database: Database) -> datetime:
    """The end of a window of an experiment "home", whose attribution window is 100 s."""
    put(database, "home", specification(reward=Reward(window_s=100)))
    return last_closed(now())


def give(database: Database, received: datetime, *events: FeedbackEvent) -> None:
    """Feedback that was received then."""
    with database.transaction() as connection:
        FeedbackWriter(shard=0).write(cursor_of(connection), list(events))
    execute(database, "UPDATE feedback SET received_at = :at WHERE received_at > :at", at=received)


def figures(database: Database, end: datetime) -> dict[str, Any]:
    """Value and n of each figure of the window that ends then."""
    measure(database, end)
    text = "SELECT metric, value, n FROM metric_values WHERE window_start = :start"
    return {metric: (value, n) for metric, value, n in query(database, text, start=end - WINDOW)}


def served(database: Database, at: datetime, units: list[str]) -> list[DecisionRow]:
    """A decision for each."""
    rows = [decision(decided_at=at, unit=unit) for unit in units]
    record(database, rows)
    return rows


def test_a_window_is_over_when_what_it_received_is_committed() -> None:
    """Half a minute after its end."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert last_closed(noon + 29 * SECOND) == noon - WINDOW
    assert last_closed(noon + 31 * SECOND) == noon


def test_concentration_is_the_share_of_pairs_that_are_of_one_unit(database: Database, end: datetime) -> None:
    """Of 10 decisions, 4 of one unit and 6 of others, 6 of 45 pairs are; decisions of other windows are left out."""
    served(database, end - 10 * SECOND, ["bot"] * 4 + list("abcdef"))
    served(database, end + SECOND, ["bot"] * 9)
    served(database, end - WINDOW - SECOND, ["bot"] * 9)
    assert figures(database, end) == {"unit_concentration": (pytest.approx(6 / 45), 10)}


def test_feedback_is_overdue_when_it_occurred_in_time_and_came_late(database: Database, end: datetime) -> None:
    """One in time, one sent late, one that occurred late and was sent at once."""
    rows = served(database, end - 200 * SECOND, ["a", "b", "c"])
    at = rows[0].decided_at
    give(database, at + 20 * SECOND, event(rows[0], occurred_at=at + 10 * SECOND))
    late = (event(rows[1], occurred_at=at + 10 * SECOND), event(rows[2], occurred_at=at + 140 * SECOND))
    give(database, at + 150 * SECOND, *late)
    assert figures(database, end)["overdue_share"] == (pytest.approx(1 / 3), 3)


def test_an_event_is_repeated_when_it_says_the_same_under_another_id(database: Database, end: datetime) -> None:
    """Another item, another value, an event without an item and a retry of the same id are none."""
    (row,) = served(database, end - 200 * SECOND, ["a"])
    at = row.decided_at + 20 * SECOND
    first = event(row, 1.0, item_id="x", position=1, event_id="1", occurred_at=at)
    give(database, at, first, event(row, 1.0, item_id="y", position=2, event_id="2", occurred_at=at))
    give(database, at + SECOND, first, event(row, 0.0, item_id="x", position=1, event_id="3", occurred_at=at))
    give(database, at + SECOND, event(row, 1.0, event_id="4"), event(row, 1.0, event_id="5"))
    assert figures(database, end)["repeated_share"] == (0, 3)
    give(database, at + 2 * SECOND, event(row, 1.0, item_id="x", position=1, event_id="6", occurred_at=at))
    assert figures(database, end)["repeated_share"] == (pytest.approx(1 / 4), 4)
