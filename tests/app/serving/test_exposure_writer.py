"""Confirmed exposures: which decisions count, since when, and what their outcomes are then."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.learning import read_counts
from app.monitor import match_unmatched
from app.reports import arms_report, explain
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Metric, Reward
from app.store import experiments
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from tests.app.building import bucket_of, decision, disagreements, event, now, put, query, record, specification

REWARD = Reward(window_s=600, late_until_s=3600)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def house(database: Database) -> Database:
    """A database with an experiment "home" whose exposures are confirmed."""
    spec = specification(reward=REWARD, metrics=(Metric(key="revenue", aggregation="sum"),), exposure="confirmed")
    put(database, "home", spec)
    return database


def decided(database: Database, ago: timedelta = 30 * MINUTE, **columns: Any) -> DecisionRow:
    """A decision that waits to be confirmed, some time ago."""
    row = decision(decided_at=now() - ago, **{"awaits_confirmation": True, **columns})
    record(database, [row])
    return row


def confirm(database: Database, row: DecisionRow, at: datetime | None = None, *, times: int = 1) -> list[str]:
    """The statuses of a batch of equal confirmations."""
    shown = ExposureEvent(decision_id=row.decision_id, occurred_at=at or now())
    with database.transaction() as connection:
        verdicts = ExposureWriter(shard=0).write(cursor_of(connection), [shown] * times)
    return [verdict.status for verdict in verdicts]


def give(database: Database, row: DecisionRow, value: float = 1.0, **columns: Any) -> str:
    """The status of one event."""
    with database.transaction() as connection:
        writer = FeedbackWriter(shard=0)
        return writer.write(cursor_of(connection), [event(row, value, **columns)])[0].status


def exposures(database: Database) -> Sequence[tuple[Any, ...]]:
    """Arm, bucket and number of counted exposures."""
    return query(database, "SELECT arm, bucket, exposures::int FROM decision_counts WHERE exposures > 0 ORDER BY 1, 2")


def statistics(database: Database) -> list[tuple[Any, ...]]:
    """Metric, bucket, n, Σr and late outcomes."""
    return query(
        database, "SELECT metric, bucket, n::int, sum, corrected::int FROM arm_statistics ORDER BY metric, bucket"
    )


def test_a_decision_counts_when_it_is_confirmed_and_in_the_bucket_of_its_exposure(house: Database) -> None:
    """Until then it is a decision and no exposure; a second confirmation is a duplicate and moves nothing."""
    row = decided(house)
    assert exposures(house) == []
    at = row.decided_at + 7 * MINUTE
    assert confirm(house, row, at) == ["accepted"]
    assert confirm(house, row, at + 9 * MINUTE) == ["duplicate"]
    assert exposures(house) == [("a", bucket_of(at), 1)]
    assert confirm(house, decided(house), times=3) == ["accepted", "duplicate", "duplicate"]
    assert disagreements(house) == []


def test_outcomes_from_before_the_confirmation_count_from_then_on(house: Database) -> None:
    """Kept at once, in no statistics; moved into them with the confirmation, and changed by what comes after it."""
    row = decided(house)
    give(house, row)
    give(house, row, 5.0, metric="revenue")
    assert query(house, "SELECT metric, value FROM outcomes ORDER BY metric") == [("click", 1), ("revenue", 5)]
    assert statistics(house) == []
    confirm(house, row, now() - MINUTE)
    give(house, row, 2.0, metric="revenue", event_id="more")
    bucket = bucket_of(now() - MINUTE)
    assert statistics(house) == [("click", bucket, 1, 1.0, 0), ("revenue", bucket, 1, 7.0, 0)]
    assert disagreements(house) == []


def test_the_window_counts_from_the_exposure(house: Database) -> None:
    """What is late for the decision is in time for an exposure that came later; what is late for that is corrected."""
    row = decided(house)
    shown = row.decided_at + 10 * MINUTE
    give(house, row, occurred_at=shown + 10 * MINUTE + timedelta(microseconds=1))
    confirm(house, row, shown)
    assert [late for *_, late in statistics(house)] == [1]
    give(house, row, occurred_at=shown + 10 * MINUTE, event_id="in time")
    assert [late for *_, late in statistics(house)] == [0]
    assert disagreements(house) == []


def test_an_exposure_is_never_before_its_decision(house: Database) -> None:
    """A frontend whose clock is behind confirms in the moment of the decision; what it said is on record."""
    row = decided(house)
    confirm(house, row, row.decided_at - 5 * MINUTE)
    assert exposures(house) == [("a", bucket_of(row.decided_at), 1)]
    assert explain(house, row.decision_id, now())["exposure"]["occurred_at"] == row.decided_at - 5 * MINUTE
    assert disagreements(house) == []


def test_a_confirmation_that_is_too_late_is_rejected(house: Database) -> None:
    """As feedback is: `late_until_s` after the decision is the last moment."""
    row = decided(house, 2 * timedelta(hours=1))
    assert confirm(house, row, row.decided_at + timedelta(seconds=3600.001)) == ["rejected"]
    assert confirm(house, row, row.decided_at + timedelta(seconds=3600)) == ["accepted"]


@pytest.mark.parametrize("columns", [{"learnable": False}, {"awaits_confirmation": None}])
def test_confirming_what_does_not_wait_for_it_counts_nothing(house: Database, columns: dict[str, Any]) -> None:
    """It is recorded: frontends need not know how an experiment counts."""
    row = decided(house, **columns)
    before = (exposures(house), statistics(house))
    give(house, row)
    with_feedback = statistics(house)
    assert confirm(house, row) == ["accepted"]
    assert (exposures(house), statistics(house)) == (before[0], with_feedback)
    assert query(house, "SELECT count(*)::int FROM exposures") == [(1,)]
    assert disagreements(house) == []


def test_a_confirmation_before_its_decision_is_kept_and_matched(house: Database) -> None:
    """Together with feedback that overtook it, in whichever order they are matched."""
    row = decision(awaits_confirmation=True)
    assert confirm(house, row) == ["unmatched"]
    assert give(house, row) == "unmatched"
    record(house, [row])
    assert match_unmatched(house, now() + MINUTE) == 2
    assert [n for _, _, n in exposures(house)] == [1]
    assert [(n, total) for _, _, n, total, _ in statistics(house)] == [(1, 1.0)]
    assert query(house, "SELECT count(*)::int FROM unmatched_exposures") == [(0,)]
    assert disagreements(house) == []


def test_the_learner_counts_confirmed_exposures_that_are_mature(house: Database) -> None:
    """Unconfirmed decisions are neither pending nor defaulted; an exposure matures by its own age."""
    old, fresh, _ = decided(house, 40 * MINUTE), decided(house, 40 * MINUTE), decided(house, 40 * MINUTE)
    confirm(house, old, old.decided_at)
    confirm(house, fresh, now())
    with house.transaction() as connection:
        experiment = experiments.find(connection, "home")
        assert experiment
        counts = {c.arm: c for c in read_counts(connection, experiment, now())}
    assert (counts["a"].decisions, counts["a"].exposures, counts["a"].mature) == (3, 2, 1)
    (arm,) = [arm for arm in arms_report(house, "home", now()).arms if arm.arm == "a"]
    assert (arm.outcomes.pending, arm.outcomes.defaulted) == (1, 1)


@pytest.mark.parametrize("metric", ["click", "revenue"])
def test_each_metric_has_its_own_states(house: Database, metric: str) -> None:
    """Pending, defaulted, observed and corrected are told of the metric that is asked for, and add up to exposures."""
    rows = [decided(house, 40 * MINUTE) for _ in range(4)] + [decided(house, MINUTE)]
    for row in rows:
        confirm(house, row, row.decided_at)
    give(house, rows[0], metric=metric, occurred_at=rows[0].decided_at + MINUTE)
    give(house, rows[1], metric=metric, occurred_at=rows[1].decided_at + 11 * MINUTE)
    give(house, rows[2], 7.0, metric="click")

    def states(asked: str) -> list[int]:
        (arm,) = [arm for arm in arms_report(house, "home", now(), metric=asked).arms if arm.arm == "a"]
        o = arm.outcomes
        assert o.pending + o.defaulted + o.observed + o.corrected == arm.exposures
        return [o.pending, o.defaulted, o.observed, o.corrected, o.rejected]

    assert states(metric) == [1, 2, 1, 1, 1]
    assert states("revenue" if metric == "click" else "click") == [1, 4, 0, 0, 1]
