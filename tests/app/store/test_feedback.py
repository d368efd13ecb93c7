"""Feedback: whatever the order, the split and the writers, outcomes and statistics are the fold of the events."""

import random
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ids import new_id
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.feedback import EventKey, MatchedEvent, events_of
from app.store.targets import Target, resolve
from tests.app.building import decision, disagreements, matched, now, query, record, write

AGGREGATIONS = ("any", "sum", "max", "mean", "first", "last")
DAY = timedelta(days=1)


STATISTICS = """
SELECT arm, metric, sum(n)::int, sum(sum), sum(sum_of_squares) FROM arm_statistics
WHERE experiment = :experiment GROUP BY arm, metric
"""


def statistics(database: Database, experiment: str = "home") -> dict[tuple[str, str], tuple[float, ...]]:
    """n, Σr and Σr² by arm and metric."""
    rows = query(database, STATISTICS, experiment=experiment)
    return {(arm, metric): tuple(figures) for arm, metric, *figures in rows}


def outcome(database: Database, row: DecisionRow) -> dict[str, float]:
    """The outcomes of a decision."""
    found = query(database, "SELECT metric, value FROM outcomes WHERE decision_id = :id", id=row.decision_id)
    return {str(metric): float(value) for metric, value in found}


# --- resolving ------------------------------------------------------------------------------------------------------


def test_resolving_gives_targets_and_leaves_out_unknown_ids(database: Database) -> None:
    """Each known id is given what feedback needs of its decision."""
    row = decision(learnable=False, epoch=3, arm="b")
    record(database, [row])
    with database.transaction() as connection:
        found = resolve(cursor_of(connection), [row.decision_id, new_id(), uuid4()])
        assert resolve(cursor_of(connection), []) == {}
    (target,) = found.values()
    names = ("decision_id", "experiment", "epoch", "allocation", "arm", "bucket", "decided_at", "learnable")
    assert found == {row.decision_id: Target(**{name: getattr(row, name) for name in names})}
    assert target.exposed_at == row.decided_at


# --- folding --------------------------------------------------------------------------------------------------------

OUTCOMES = "SELECT decision_id, value FROM outcomes WHERE decision_id = ANY(:ids)"

Event = tuple[int, int, float, int]  # decision, event id, value, seconds at which it occurred


def fold(aggregation: str, events: Sequence[Event]) -> float:
    """The outcome that events fold into, in plain Python; no two occur at the same time."""
    values = [value for _, _, value, _ in events]
    in_time = [value for _, _, value, _ in sorted(events, key=lambda e: e[3])]
    folds = {
        "any": float(any(values)),
        "sum": sum(values),
        "max": max(values),
        "mean": sum(values) / len(values),
        "first": in_time[0],
        "last": in_time[-1],
    }
    return folds[aggregation]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Batches of events about up to four decisions: repeated, in any order, split anywhere."""
    size = draw(st.integers(1, 14))
    times = draw(st.permutations(range(size)))
    values = st.integers(-3, 9).map(float)
    distinct = [(draw(st.integers(0, 3)), number, draw(values), times[number]) for number in range(size)]
    repeated = distinct + draw(st.lists(st.sampled_from(distinct), max_size=8))
    sent = draw(st.permutations(repeated))
    batches: list[list[Event]] = [[]]
    for one in sent:
        if draw(st.booleans()) or one in batches[-1]:
            batches.append([])
        batches[-1].append(one)
    return batches


def expected_of(rows: Sequence[DecisionRow], metric: str, events: set[Event]) -> tuple[Any, Any]:
    """Outcomes by decision, and n, Σr and Σr² by arm, as a plain fold of distinct events gives them."""
    # Means depend on the order of addition; all else is of whole numbers, and exact.
    approx = partial(pytest.approx, rel=1e-9 if metric == "mean" else 0, abs=1e-9 if metric == "mean" else 0)
    by_decision: dict[int, list[Event]] = defaultdict(list)
    for one in events:
        by_decision[one[0]].append(one)
    outcomes = {rows[number].decision_id: fold(metric, one) for number, one in by_decision.items()}
    sums: dict[tuple[str, str], tuple[float, ...]] = {}
    for row in rows:
        if row.decision_id in outcomes and row.learnable:
            n, total, squares = sums.get((row.arm, metric), (0, 0.0, 0.0))
            value = outcomes[row.decision_id]
            sums[row.arm, metric] = (n + 1, total + value, squares + value**2)
    return approx(outcomes), {key: approx(figures) for key, figures in sums.items()}


def four_decisions(experiment: str) -> list[DecisionRow]:
    """Two of arm "a", one of arm "b", and one that nobody learns from."""
    columns: list[dict[str, Any]] = [{}, {}, {"arm": "b"}, {"arm": "b", "learnable": False}]
    return [decision(experiment, **one) for one in columns]


def about(rows: Sequence[DecisionRow], metric: str, one: Event) -> MatchedEvent:
    """The event of a history; its metric is named after its aggregation."""
    number, event_id, value, second = one
    occurred_at = rows[number].decided_at + timedelta(seconds=second)
    columns = {"metric": metric, "aggregation": metric, "event_id": f"e{event_id}", "occurred_at": occurred_at}
    return matched(rows[number], value, **columns)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_outcomes_and_statistics_are_the_fold_of_the_events(database: Database, aggregation: str) -> None:
    """Events in any order, split into any batches, repeated or not, fold to what plain Python folds them to."""
    numbers = count()

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(batches=histories())
    def check(batches: list[list[Event]]) -> None:
        experiment = f"example-{next(numbers)}"
        rows = four_decisions(experiment)
        record(database, rows)
        new: set[EventKey] = set()
        for number, batch in enumerate(batches):
            fresh = write(database, [about(rows, aggregation, one) for one in batch], shard=number % 3)
            assert not fresh & new
            new |= fresh
        events = {one for batch in batches for one in batch}
        assert new == {about(rows, aggregation, one).key for one in events}
        outcomes, sums = expected_of(rows, aggregation, events)
        stored = query(database, OUTCOMES, ids=[row.decision_id for row in rows])
        assert dict(stored) == outcomes
        assert statistics(database, experiment) == sums
        assert disagreements(database) == []

    check()


def test_several_writers_at_once_fold_what_one_would(database: Database) -> None:
    """Eight writers that send overlapping events about the same decisions lose nothing and count nothing twice."""
    generator = random.Random(7)
    rows = [decision(arm=generator.choice("ab"), learnable=generator.random() < 0.8) for _ in range(12)]
    record(database, rows)
    events: dict[str, set[Event]] = {
        metric: {(n % 12, n, float(generator.randint(-4, 9)), n) for n in range(60)} for metric in AGGREGATIONS
    }
    everything = [about(rows, metric, one) for metric in AGGREGATIONS for one in sorted(events[metric])]

    def send(writer: int) -> int:
        own = random.Random(writer)
        mine = own.sample(everything, len(everything) * 2 // 3)
        new = 0
        while mine:
            size = own.randint(1, 40)
            new += len(write(database, mine[:size], shard=writer % 2))
            mine = mine[size:]
        return new

    with ThreadPoolExecutor(8) as pool:
        # What three out of eight samples of two thirds left out comes last.
        new = sum(pool.map(send, range(8))) + len(write(database, everything))
    assert new == len(everything)
    for metric in AGGREGATIONS:
        outcomes, sums = expected_of(rows, metric, events[metric])
        stored = query(database, "SELECT decision_id, value FROM outcomes WHERE metric = :metric", metric=metric)
        assert dict(stored) == outcomes
        assert {key: figures for key, figures in statistics(database).items() if key[1] == metric} == sums
    assert disagreements(database) == []


def test_batches_about_the_same_decisions_in_opposite_order_do_not_deadlock(database: Database) -> None:
    """Writers of different events about the same decisions, in any order, wait for each other; nothing is lost."""
    rows = [decision(arm=arm) for arm in "abcdefgh" for _ in range(5)]
    record(database, rows)

    def send(writer: int) -> int:
        new = 0
        for number in range(25):
            columns: dict[str, Any] = {"metric": "sum", "aggregation": "sum", "event_id": f"{writer}-{number}"}
            batch = [matched(row, **columns) for row in rows]
            new += len(write(database, batch if writer % 2 else batch[::-1]))
        return new

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(send, range(8))) == 8 * 25 * len(rows)
    assert {figures[:2] for figures in statistics(database).values()} == {(5, 5 * 8 * 25)}
    assert disagreements(database) == []


def test_events_of_a_decision_that_is_not_learnable_leave_the_statistics_alone(database: Database) -> None:
    """Its outcome is kept, for people to see, but the policy does not learn from it."""
    row = decision(learnable=False)
    record(database, [row])
    write(database, [matched(row)])
    assert outcome(database, row) == {"click": 1}
    assert statistics(database) == {}
    assert disagreements(database) == []


def test_the_same_event_in_two_batches_counts_once(database: Database) -> None:
    """A repeated event is not new, whatever its value is this time, and changes nothing."""
    row = decision()
    record(database, [row])
    first = matched(row, 2.0, metric="revenue", aggregation="sum")
    assert write(database, [first]) == {first.key}
    assert write(database, [first]) == set()
    assert write(database, [matched(row, 5.0, metric="revenue", aggregation="sum")]) == set()
    assert outcome(database, row) == {"revenue": 2}
    assert statistics(database) == {("a", "revenue"): (1, 2, 4)}


def test_metrics_of_one_decision_are_folded_apart(database: Database) -> None:
    """Each metric has its own outcome and its own statistics, also in one batch."""
    row = decision()
    record(database, [row])
    events = [matched(row, 3.0, metric=metric, aggregation=metric, event_id=e) for metric in AGGREGATIONS for e in "xy"]
    write(database, events)
    assert outcome(database, row) == {"any": 1, "sum": 6, "max": 3, "mean": 3, "first": 3, "last": 3}
    assert statistics(database)["a", "sum"] == (1, 6, 36)
    assert disagreements(database) == []


def test_a_correction_replaces_what_was_counted(database: Database) -> None:
    """When an outcome changes, the statistics change by the difference: n stays, Σr and Σr² are those of the last."""
    row = decision()
    record(database, [row])
    for second, value in enumerate([4.0, 0.0, -2.0]):
        at = row.decided_at + timedelta(seconds=second)
        columns = {"metric": "rating", "aggregation": "last", "event_id": str(second), "occurred_at": at}
        write(database, [matched(row, value, **columns)])
    assert statistics(database) == {("a", "rating"): (1, -2, 4)}
    assert disagreements(database) == []


def test_money_that_comes_back_leaves_nothing_to_find_fault_with(database: Database) -> None:
    """Sums of cents that are refunded, in any order, are within rounding of the fold, and `verify` knows rounding."""
    prices = (0.1, 0.2)
    rows = [decision() for _ in prices]
    record(database, rows)
    for event_id, sign in (("paid", 1), ("refund", -1)):
        for row, price in zip(rows, prices, strict=True):
            write(database, [matched(row, sign * price, metric="revenue", aggregation="sum", event_id=event_id)])
            assert disagreements(database) == []


def test_rewards_of_items_are_counted_by_the_hour(database: Database) -> None:
    """Positive events that name an item add to its hourly count, once each; others do not."""
    rows = [decision(), decision(learnable=False)]
    record(database, rows)
    hour = now().replace(minute=0, second=0, microsecond=0)
    sent = [
        matched(rows[0], item_id="i1", event_id="1", occurred_at=hour),
        matched(rows[0], item_id="i1", event_id="2", occurred_at=hour + timedelta(minutes=59, seconds=59)),
        matched(rows[1], item_id="i1", event_id="3", occurred_at=hour - timedelta(milliseconds=1)),
        matched(rows[0], 0.0, item_id="i2", event_id="4"),
        matched(rows[0], event_id="5"),
    ]
    write(database, sent)
    write(database, sent)
    stored = query(database, "SELECT item_id, bucket, rewards FROM item_rewards ORDER BY bucket")
    assert stored == [("i1", hour - timedelta(hours=1), 1), ("i1", hour, 2)]
    assert disagreements(database) == []


def test_events_are_listed_as_they_came(database: Database) -> None:
    """All raw events of a decision are kept, in the order of arrival, with all that was sent."""
    row = decision()
    record(database, [row])
    sent = [matched(row, float(n), event_id=str(n), item_id=f"i{n}", position=n) for n in (2, 1, 3)]
    for one in sent:
        write(database, [one])
    with database.transaction() as connection:
        kept = events_of(connection, row.decision_id)
    names = ("decision_id", "metric", "event_id", "value", "item_id", "position", "occurred_at")
    assert [tuple(e[name] for name in names) for e in kept] == [tuple(getattr(e, n) for n in names) for e in sent]
