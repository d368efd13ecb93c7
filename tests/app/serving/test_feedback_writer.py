"""What becomes of each event: accepted, a duplicate, unmatched, or rejected with the field and the reason."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from app.ids import new_id
from app.serving.feedback import FeedbackWriter, match
from app.serving.verdicts import Rejection, Verdict
from app.specification import Metric, Reward, contract_of
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.feedback import FeedbackEvent, MatchedEvent
from app.store.targets import Target
from tests.app.building import decision, disagreements, event, now, put, query, record, specification

SPEC = specification(
    reward=Reward(late_until_s=3600.0), metrics=(Metric(key="revenue", aggregation="sum"), Metric(key="rating"))
)
CONTRACT = contract_of(SPEC)


def target_of(row: DecisionRow) -> Target:
    """What `resolve` would give for a decision."""
    names = ("decision_id", "experiment", "epoch", "allocation", "arm", "bucket", "decided_at", "learnable")
    return Target(**{name: getattr(row, name) for name in names})


def give(database: Database, *events: FeedbackEvent) -> list[str]:
    """The statuses that a batch of events gets."""
    return [verdict.status for verdict in verdicts(database, events)]


def verdicts(database: Database, events: Sequence[FeedbackEvent]) -> list[Verdict]:
    """The verdicts that a batch of events gets."""
    writer = FeedbackWriter(shard=0)
    with database.transaction() as connection:
        return writer.write(cursor_of(connection), events)


# --- fitting an event to its decision -------------------------------------------------------------------------------


def test_the_metric_defaults_to_the_reward_metric() -> None:
    """An event without a metric is about the reward, under its name, so that it is the same event as one with it."""
    row = decision()
    spec = specification(reward=Reward(metric="buy", aggregation="max"))
    unnamed, named = (match(event(row, metric=metric), target_of(row), contract_of(spec)) for metric in ("", "buy"))
    assert isinstance(unnamed, MatchedEvent)
    assert isinstance(named, MatchedEvent)
    assert (unnamed.metric, unnamed.aggregation) == ("buy", "max")
    assert unnamed.key == named.key


def test_a_match_carries_what_the_statistics_need() -> None:
    """Experiment, epoch, arm, bucket and learnability are the decision's; the fold is the metric's."""
    row = decision("home", epoch=4, arm="b", learnable=False)
    fitted = match(event(row, 9.5, metric="revenue", item_id="i", position=2), target_of(row), CONTRACT)
    assert isinstance(fitted, MatchedEvent)
    names = ("experiment", "epoch", "arm", "bucket")
    assert [getattr(fitted, name) for name in names] == [getattr(row, name) for name in names]
    assert (fitted.counts, fitted.late_at) == (False, row.decided_at + timedelta(seconds=SPEC.reward.window_s))
    assert (fitted.aggregation, fitted.value, fitted.item_id, fitted.position) == ("sum", 9.5, "i", 2)


def test_an_unknown_metric_is_rejected_with_those_there_are() -> None:
    """The reason names the experiment and its metrics."""
    row = decision("home")
    assert match(event(row, metric="clicks"), target_of(row), CONTRACT) == Rejection(
        reason="unknown_metric",
        field="metric",
        detail="'clicks' is no metric of experiment home; it has click, rating, revenue",
    )


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: value not in (0, 1)))
def test_a_value_that_is_no_reward_is_rejected(value: float) -> None:
    """The reward model says which values are rewards; other metrics take any number."""
    row = decision()
    rejected = match(event(row, value), target_of(row), CONTRACT)
    assert isinstance(rejected, Rejection)
    assert rejected.field == "value"
    assert "it must be 0 or 1" in rejected.detail
    assert isinstance(match(event(row, value, metric="revenue"), target_of(row), CONTRACT), MatchedEvent)


@pytest.mark.parametrize(("late_s", "accepted"), [(-60.0, True), (0.0, True), (3600.0, True), (3600.001, False)])
def test_feedback_is_taken_until_it_is_too_late(late_s: float, accepted: Any) -> None:
    """Judged by when it occurred, `late_until_s` after the decision is the last moment."""
    row = decision()
    fitted = match(event(row, occurred_at=row.decided_at + timedelta(seconds=late_s)), target_of(row), CONTRACT)
    if accepted:
        assert isinstance(fitted, MatchedEvent)
    else:
        assert fitted == Rejection(reason="too_late", detail="too late: feedback is taken for 3600 s")


# --- writing a batch ------------------------------------------------------------------------------------------------


def test_each_event_of_a_batch_has_its_own_verdict(shared_database: Database, key: str) -> None:
    """Verdicts are in the order of the events, whatever became of their neighbours; the good ones are recorded."""
    put(shared_database, key, SPEC)
    row = decision(key)
    record(shared_database, [row])
    batch = [
        event(row, 3.0),
        event(row),
        event(new_id()),
        event(row, metric="nothing"),
        event(row, 12.0, metric="revenue"),
        event(row),
    ]
    assert give(shared_database, *batch) == ["rejected", "accepted", "unmatched", "rejected", "accepted", "duplicate"]
    assert give(shared_database, *batch) == ["rejected", "duplicate", "unmatched", "rejected", "duplicate", "duplicate"]
    stored = query(
        shared_database, "SELECT metric, value FROM outcomes WHERE decision_id = :id ORDER BY 1", id=row.decision_id
    )
    assert stored == [("click", 1), ("revenue", 12)]
    assert disagreements(shared_database) == []


def test_rejections_say_what_is_wrong(shared_database: Database, key: str) -> None:
    """A rejected event has the field at fault and the reason; the others have none."""
    put(shared_database, key, SPEC)
    row = decision(key)
    record(shared_database, [row])
    bad, good = verdicts(shared_database, [event(row, 3.0), event(row)])
    assert bad.rejection == Rejection(
        reason="value_refused", field="value", detail="3 is no bernoulli reward; it must be 0 or 1"
    )
    assert good.rejection is None


def test_an_event_with_and_without_the_name_of_the_reward_metric_is_one(shared_database: Database, key: str) -> None:
    """Within a batch and across batches, it counts once."""
    put(shared_database, key, SPEC)
    row = decision(key)
    record(shared_database, [row])
    named = structs.replace(event(row), metric="click")
    assert give(shared_database, event(row), named) == ["accepted", "duplicate"]
    assert give(shared_database, named) == ["duplicate"]


def test_events_of_several_experiments_share_a_batch(shared_database: Database, key: str) -> None:
    """Each is judged by its own experiment's specification."""
    put(shared_database, key, SPEC)
    put(shared_database, key + "-x", specification())
    rows = [decision(key), decision(key + "-x")]
    record(shared_database, rows)
    batch = [event(row, 7.0, metric="revenue") for row in rows]
    assert give(shared_database, *batch) == ["accepted", "rejected"]


def test_an_event_without_its_decision_is_kept_once(shared_database: Database) -> None:
    """However often it comes, one row waits for its decision, as it was first sent."""
    lost = event(new_id(), 1.0, event_id="e1")
    assert give(shared_database, lost, lost) == ["unmatched", "unmatched"]
    assert give(shared_database, structs.replace(lost, value=0.0)) == ["unmatched"]
    kept = query(
        shared_database, "SELECT value, attempts FROM unmatched_feedback WHERE decision_id = :id", id=lost.decision_id
    )
    assert kept == [(1.0, 0)]


def test_an_empty_batch_has_no_verdicts(shared_database: Database) -> None:
    """Nothing in, nothing out."""
    assert give(shared_database) == []


def test_a_decision_of_an_experiment_that_is_gone_is_an_error(shared_database: Database, key: str) -> None:
    """Decisions name experiments that exist; anything else is not silently dropped."""
    row = decision(key)
    record(shared_database, [row])
    with pytest.raises(LookupError, match=key):
        give(shared_database, event(row, occurred_at=now()))
