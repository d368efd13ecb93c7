"""Whatever comes in whatever order, what is counted is what an independent fold of everything sent gives."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.monitor import match_unmatched
from app.serving.decide import DecisionWriter
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Metric, Reward
from app.store.database import Cursor, Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.feedback import FeedbackEvent
from tests.app.building import bucket_of, decision, disagreements, event, now, put, query, specification

WINDOW_S, LATE_UNTIL_S, BUCKET_S = 100, 1000, 10
FOLDS: dict[str, Callable[[list[float]], float]] = {
    "click": lambda values: float(any(values)),
    "revenue": sum,
    "top": max,
    "rating": lambda values: sum(values) / len(values),
    "opening": lambda values: values[0],
    "closing": lambda values: values[-1],
}
METRICS = tuple(
    Metric(key=key, aggregation=aggregation)  # type: ignore[arg-type]
    for key, aggregation in zip(tuple(FOLDS)[1:], ("sum", "max", "mean", "first", "last"), strict=True)
)
SECOND = timedelta(seconds=1)

Sent = DecisionRow | ExposureEvent | FeedbackEvent


@dataclass
class History:
    """Everything that clients ever sent, some of it more than once, some of it unusable."""

    decisions: list[DecisionRow] = field(default_factory=list)
    exposures: list[ExposureEvent] = field(default_factory=list)
    feedback: list[FeedbackEvent] = field(default_factory=list)

    def shuffled(self, source: random.Random) -> list[Sent]:
        """All of it in any order, a third of it twice."""
        everything: list[Sent] = [*self.decisions, *self.exposures, *self.feedback]
        everything += source.sample(everything, len(everything) // 3)
        source.shuffle(everything)
        return everything


def history(source: random.Random, count: int) -> History:
    """Decisions of both kinds of experiments with what may follow them; no two events at the same time."""
    made, start = History(), now() - timedelta(hours=1)
    for number in range(count):
        experiment = source.choice(("plain", "shown"))
        decided_at = start + source.randrange(200) * SECOND
        row = decision(
            experiment,
            decided_at=decided_at,
            arm=source.choice("ab"),
            learnable=source.random() < 0.8,
            bucket=bucket_of(decided_at, BUCKET_S),
            awaits_confirmation=True if experiment == "shown" else None,
            unit=f"u{number}",
        )
        made.decisions.append(row)
        if source.random() < 0.7:
            at = decided_at + source.choice((-5, 0, 7, 45, 150, LATE_UNTIL_S + 1)) * SECOND
            made.exposures.append(ExposureEvent(decision_id=row.decision_id, occurred_at=at))
        for _ in range(source.randrange(6)):
            made.feedback.append(_event(source, row, len(made.feedback)))
    return made


def _event(source: random.Random, row: DecisionRow, number: int) -> FeedbackEvent:
    metric = source.choice((*FOLDS, "click", "", "nothing"))
    # Around the end of the window: of the decision, and of exposures 45 and 150 seconds later.
    second = source.choice((1, 50, WINDOW_S, WINDOW_S + 1, WINDOW_S + 45, 200, 251, 900, LATE_UNTIL_S + 1))
    value = float(source.randrange(2) if metric in {"", "click"} else source.randrange(-3, 9))
    if source.random() < 0.1:
        value = 2.0
    at = row.decided_at + second * SECOND + number * timedelta(microseconds=1) - timedelta(milliseconds=1)
    return event(row, value, metric=metric, event_id=f"e{number}", occurred_at=at)


@dataclass
class Expected:
    """What the history amounts to."""

    outcomes: dict[tuple[UUID, str], float] = field(default_factory=dict)
    exposures: Counter[tuple[str, str, datetime]] = field(default_factory=Counter)
    statistics: dict[tuple[str, str, str, datetime], list[float]] = field(default_factory=dict)
    rejected: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def fold(made: History) -> Expected:
    """What a history amounts to, in plain Python, decision by decision."""
    expected = Expected()
    shown = {one.decision_id: one.occurred_at for one in made.exposures}
    events = defaultdict(list)
    for one in made.feedback:
        events[one.decision_id].append(one)
    for row in made.decisions:
        last = row.decided_at + LATE_UNTIL_S * SECOND
        at = shown.get(row.decision_id)
        if at is not None and at > last:
            expected.rejected[row.experiment, row.arm, "too_late"] += 1
            at = None
        exposed_at = row.decided_at if row.experiment == "plain" else at and max(at, row.decided_at)
        bucket = exposed_at and bucket_of(exposed_at, BUCKET_S)
        if exposed_at and bucket and row.learnable:
            expected.exposures[row.experiment, row.arm, bucket] += 1
        by_metric: dict[str, list[FeedbackEvent]] = defaultdict(list)
        for one in sorted(events[row.decision_id], key=lambda e: e.occurred_at):
            metric = one.metric or "click"
            reason = _fault(metric, one, last)
            if reason:
                expected.rejected[row.experiment, row.arm, reason] += 1
            else:
                by_metric[metric].append(one)
        for metric, mine in by_metric.items():
            value = float(FOLDS[metric]([one.value for one in mine]))
            expected.outcomes[row.decision_id, metric] = value
            if exposed_at and bucket and row.learnable:
                sums = expected.statistics.setdefault((row.experiment, row.arm, metric, bucket), [0, 0, 0, 0])
                late = mine[0].occurred_at > exposed_at + WINDOW_S * SECOND
                for index, figure in enumerate((1, value, value**2, int(late))):
                    sums[index] += figure
    return expected


def _fault(metric: str, one: FeedbackEvent, last: datetime) -> str | None:
    if metric == "nothing":
        return "unknown_metric"
    if metric == "click" and one.value not in {0, 1}:
        return "value_refused"
    return "too_late" if one.occurred_at > last else None


class Worker:
    """Writes whatever a client sends, as the journal does."""

    def __init__(self, shard: int) -> None:
        self._decisions = DecisionWriter(shard=shard)
        self._exposures = ExposureWriter(shard=shard)
        self._feedback = FeedbackWriter(shard=shard)

    def write(self, cursor: Cursor, sent: Sequence[Sent]) -> None:
        """One batch of each kind."""
        self._decisions.write(cursor, [one for one in sent if isinstance(one, DecisionRow)])
        for writer, kind in ((self._feedback, FeedbackEvent), (self._exposures, ExposureEvent)):
            batch: Any = [one for one in sent if isinstance(one, kind)]
            if batch:
                writer.write(cursor, batch)


@pytest.fixture
def house(database: Database) -> Database:
    """A database with an experiment whose decisions count at once, and one whose exposures are confirmed."""
    reward = Reward(window_s=WINDOW_S, late_until_s=LATE_UNTIL_S)
    put(database, "plain", specification(reward=reward, metrics=METRICS))
    put(database, "shown", specification(reward=reward, metrics=METRICS, exposure="confirmed"))
    return database


def batches(sent: Sequence[Sent], source: random.Random) -> Iterator[Sequence[Sent]]:
    """What was sent, in batches of any size."""
    start = 0
    while start < len(sent):
        size = source.randint(1, 12)
        yield sent[start : start + size]
        start += size


def check(database: Database, expected: Expected) -> None:
    """What is stored is what is expected, to the last count."""
    found = query(database, "SELECT decision_id, metric, value FROM outcomes")
    assert {(i, m): v for i, m, v in found} == pytest.approx(expected.outcomes, rel=1e-9)
    counts = query(
        database,
        """SELECT experiment, arm, bucket, sum(exposures)::int FROM decision_counts
            GROUP BY 1, 2, 3 HAVING sum(exposures) <> 0""",
    )
    assert {tuple(key): n for *key, n in counts} == expected.exposures
    sums = query(
        database,
        """SELECT experiment, arm, metric, bucket, sum(n)::int, sum(sum), sum(sum_of_squares), sum(corrected)::int
            FROM arm_statistics GROUP BY 1, 2, 3, 4""",
    )
    stored = {tuple(row[:4]): list(row[4:]) for row in sums}
    assert stored.keys() == expected.statistics.keys()
    for key, figures in stored.items():
        assert figures == pytest.approx(expected.statistics[key], rel=1e-9, abs=1e-9), key
    rejected = query(database, "SELECT experiment, arm, reason, count(*)::int FROM quarantine GROUP BY 1, 2, 3")
    assert {tuple(key): n for *key, n in rejected} == expected.rejected
    assert query(database, "SELECT count(*)::int FROM unmatched_feedback") == [(0,)]
    assert query(database, "SELECT count(*)::int FROM unmatched_exposures") == [(0,)]
    assert disagreements(database) == []


def sweep(database: Database) -> None:
    """Lets the monitor match all that waits."""
    moment = now()
    for _ in range(3):
        moment += timedelta(hours=2)
        while match_unmatched(database, moment):
            pass


@pytest.mark.parametrize("seed", range(6))
def test_any_order_gives_the_fold(house: Database, seed: int) -> None:
    """Decisions, confirmations and feedback in any order and any batches, with repetitions and what cannot be used."""
    source = random.Random(seed)
    made, worker = history(source, 40), Worker(0)
    for batch in batches(made.shuffled(source), source):
        with house.transaction() as connection:
            worker.write(cursor_of(connection), batch)
        if source.random() < 0.1:
            match_unmatched(house, now() + timedelta(hours=1))
    sweep(house)
    check(house, fold(made))


def test_32_writers_at_once_give_the_fold(house: Database) -> None:
    """Clients that send the same decisions, confirmations and feedback to 32 workers, each in an order of its own."""
    made = history(random.Random(32), 250)

    def work(shard: int) -> None:
        source, worker = random.Random(shard), Worker(shard)
        everything = made.shuffled(source)
        connection = house.connect_raw(statement_timeout_s=60)
        try:
            with connection.cursor() as cursor:
                for batch in batches(everything[: len(everything) // 6], source):
                    worker.write(cursor, batch)
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(work, range(32)))
    with house.transaction() as connection:  # what none of them had in its share
        Worker(0).write(cursor_of(connection), made.shuffled(random.Random(0)))
    sweep(house)
    check(house, fold(made))


def test_confirmation_and_feedback_in_flight_together_see_each_other(house: Database) -> None:
    """Whichever of the two commits first, the other waits for it: an outcome is never left out nor counted twice."""
    rows = [
        decision("shown", awaits_confirmation=True, arm=arm, bucket=bucket_of(now(), BUCKET_S))
        for arm in "ab"
        for _ in range(100)
    ]
    with house.transaction() as connection:
        DecisionWriter(shard=0).write(cursor_of(connection), rows)
    halves: list[Sequence[Sent]] = [
        [event(row) for row in rows],
        [ExposureEvent(decision_id=row.decision_id, occurred_at=now()) for row in reversed(rows)],
    ]

    def work(shard: int) -> None:
        connection = house.connect_raw(statement_timeout_s=60)
        try:
            with connection.cursor() as cursor:
                for start in range(0, len(rows), 5):
                    Worker(shard).write(cursor, halves[shard % 2][start : start + 5])
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    counted = query(house, "SELECT arm, sum(n)::int, sum(sum) FROM arm_statistics GROUP BY arm ORDER BY arm")
    assert counted == [("a", 100, 100.0), ("b", 100, 100.0)]
    assert disagreements(house) == []
