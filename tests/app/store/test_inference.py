"""The sums of honest figures against the raw log, decision by decision, in plain Python."""

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.inference import read_epochs
from app.learning import last_mature_bucket
from app.monitor import compact_all
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Reward, Specification
from app.store import experiments, partitions
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.inference import EpochSums
from app.store.scores import COLUMNS
from tests.app.building import (
    EAGER,
    bucket_of,
    decision,
    disagreements,
    event,
    execute,
    id_at,
    put,
    query,
    record,
    specification,
)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2031, 5, 17, 13, 30, tzinfo=UTC)
REWARDS = {
    "default": Reward(),
    "another default": Reward(model="gaussian", default=2.5, aggregation="last"),
    "explicit": Reward(model="gaussian", missing="explicit", aggregation="sum"),
    "counts": Reward(model="poisson", aggregation="sum", window_s=86_400),
    "bounded": Reward(model="bounded", bounds=(-1, 3), default=-1, aggregation="max"),
}
CASES: dict[str, dict[str, Any]] = {
    **{name: {"reward": reward} for name, reward in REWARDS.items()},
    "sticky": {"reward": Reward(), "assignment": "unit"},
    "confirmed": {"reward": Reward(), "exposure": "confirmed"},
    "sticky and confirmed": {"reward": Reward(), "assignment": "unit", "exposure": "confirmed"},
}
# By allocation: probabilities, and posterior means. 1 and 2 are of the first epoch, the others of the second.
DEALT: dict[int, tuple[dict[str, float], dict[str, float]]] = {
    1: ({"a": 0.5, "b": 0.5}, {"a": 0.5, "b": 0.5}),
    2: ({"a": 0.9, "b": 0.1}, {"a": 0.3, "b": 0.25}),
    3: ({"a": 0.25, "b": 0.05, "c": 0.7}, {"a": 0.2, "b": 1.5, "c": 0.1}),
    4: ({"a": 0.0, "b": 0.4, "c": 0.6}, {"a": 0.6, "b": 0.7, "c": 0.8}),
}


@dataclass
class Traffic:
    """An experiment "home" of two arms, later three, and what happens to it."""

    database: Database
    spec: Specification
    source: random.Random

    def decide(self, count: int) -> list[DecisionRow]:
        """Decisions of the last three days, in both epochs; some by override or answered by another arm."""
        rows = [self._decision() for _ in range(count)]
        for shard in range(3):
            record(self.database, rows[shard::3], shard=shard)
        return rows

    def _decision(self) -> DecisionRow:
        number = self.source.choice([*DEALT])
        probabilities = DEALT[number][0]
        moment = NOW - self.source.random() * 3 * DAY
        arm = self.source.choices([*probabilities], [*probabilities.values()])[0]
        reason = self.source.choices(["policy", "fallback", "override"], [8, 1, 1])[0]
        return decision(
            decision_id=id_at(moment),
            decided_at=moment,
            bucket=bucket_of(moment),
            epoch=1 if number < 3 else 2,
            allocation=number,
            arm=arm,
            unit=f"user-{self.source.randrange(60)}",
            served_arm="b" if reason == "fallback" else arm,
            propensity=1.0 if reason == "override" else probabilities[arm],
            reason=reason,
            learnable=reason == "policy",
            awaits_confirmation=True if self.spec.exposure == "confirmed" else None,
            repeated=True if self.spec.assignment == "unit" else None,
        )

    def happen(self, rows: list[DecisionRow]) -> None:
        """Confirmations and feedback, in time and late, for some decisions several events."""
        shown = [
            ExposureEvent(decision_id=row.decision_id, occurred_at=row.decided_at + self.source.random() * MINUTE)
            for row in rows
            if self.source.random() < 0.8
        ]
        events = [
            event(row, self._value(), event_id=f"e{self.source.random()}", occurred_at=self._moment(row))
            for row in self.source.choices(rows, k=len(rows) // 2)
        ]
        half = len(events) // 2
        with self.database.transaction() as connection:
            cursor = cursor_of(connection)
            FeedbackWriter(shard=1).write(cursor, events[:half])
            if self.spec.exposure == "confirmed":
                ExposureWriter(shard=2).write(cursor, shown)
            FeedbackWriter(shard=0).write(cursor, events[half:])

    def _moment(self, row: DecisionRow) -> datetime:
        return row.decided_at + self.source.random() * 2 * HOUR

    def _value(self) -> float:
        model = self.spec.reward.model
        if model == "gaussian":
            return self.source.gauss(2, 3)
        return float({"poisson": self.source.randrange(4), "bounded": self.source.uniform(-1, 3)}.get(model, 1))

    def sums(self, now: datetime = NOW) -> list[EpochSums]:
        """What the reports are made of."""
        with self.database.transaction() as connection:
            experiment = experiments.find(connection, "home")
            assert experiment is not None
            return read_epochs(connection, experiment, now)


@pytest.fixture(params=[*CASES.values()], ids=[*CASES])
def traffic(database: Database, request: pytest.FixtureRequest) -> Traffic:
    """An experiment with two epochs and four allocations."""
    with database.transaction() as connection:
        for days in (0, 2, 4):
            partitions.make_partitions(connection, NOW - days * DAY)
    spec = specification(policy=EAGER, **request.param)
    put(database, "home", spec)
    put(database, "home", specification("a", "b", "c", policy=EAGER, **request.param))
    execute(database, "DELETE FROM allocations")
    for number, (probabilities, means) in DEALT.items():
        execute(
            database,
            """INSERT INTO allocations (experiment, number, version, epoch, reason, probabilities, posterior, evidence,
                data_as_of, means) VALUES ('home', :number, 1, :epoch, 'learned', CAST(:p AS jsonb), '{}', '{}', now(),
                CAST(:m AS jsonb))""",
            number=number,
            epoch=1 if number < 3 else 2,
            p=json.dumps(probabilities),
            m=json.dumps(means),
        )
    return Traffic(database, spec, random.Random(7))


def test_sums_are_those_of_the_log_before_and_after_compaction(traffic: Traffic) -> None:
    """However often rows are folded meanwhile, each sum is that of the log to 1e-9: n, Σr, Σr², Σp, Σξ, Σξ², more."""
    rows = traffic.decide(400)
    traffic.happen(rows)
    assert_equal(traffic.sums(), from_the_log(traffic))
    assert compact_all(traffic.database, NOW) > 0
    assert_equal(traffic.sums(), from_the_log(traffic))
    traffic.happen(rows)  # corrections of what was folded, by fine rows again
    traffic.happen(traffic.decide(100))
    assert_equal(traffic.sums(), from_the_log(traffic))
    compact_all(traffic.database, NOW)
    assert_equal(traffic.sums(), from_the_log(traffic))
    compact_all(traffic.database, NOW + 3 * DAY)
    assert query(traffic.database, "SELECT DISTINCT allocation FROM arm_statistics") == [(0,)]
    assert_equal(traffic.sums(NOW + 3 * DAY), from_the_log(traffic, NOW + 3 * DAY))
    assert disagreements(traffic.database) == []


@pytest.mark.parametrize("traffic", [CASES["default"]], indirect=True, ids=["default"])
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("table", ["decision_counts", "arm_statistics"])
def test_a_wrong_sum_of_scores_is_found(traffic: Traffic, table: str, column: str) -> None:
    """`verify` holds what was folded against the log, whether exposures or outcomes were."""
    traffic.happen(traffic.decide(60))
    compact_all(traffic.database, NOW)
    assert disagreements(traffic.database) == []
    changed = f"UPDATE {table} SET {column} = {column} + 1e-3 WHERE allocation = 0 AND {column} <> 0 AND epoch = 2"
    if execute(traffic.database, changed):
        assert {line.partition(":")[0] for line in disagreements(traffic.database)} == {"scores"}
    else:  # outcomes are no decisions of their own where silence is an outcome too
        assert table == "arm_statistics"
        assert column in {"eligible", "paired"}


@pytest.mark.parametrize("traffic", [CASES["sticky"]], indirect=True, ids=["sticky"])
def test_a_unit_with_two_first_choices_is_found(traffic: Traffic) -> None:
    """Of a sticky unit's choices in an epoch one is the first."""
    traffic.decide(200)
    assert disagreements(traffic.database) == []
    execute(traffic.database, "UPDATE decisions SET repeated = false WHERE unit = 'user-1'")
    assert {"unit_exposures", "decision_counts"} <= {d.partition(":")[0] for d in disagreements(traffic.database)}


def test_units_that_come_at_once_have_one_first_choice(database: Database) -> None:
    """Workers that decide for the same sticky units at the same moment agree on which choice was the first."""
    put(database, "home", specification(assignment="unit"))

    def work(shard: int) -> None:
        for n in range(20):
            rows = [decision(unit=f"user-{n}-{unit}", repeated=True) for unit in range(10)]
            random.Random(shard).shuffle(rows)
            record(database, rows, shard=shard)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    counted = "SELECT sum(chosen)::int FROM decision_counts GROUP BY repeated ORDER BY repeated"
    assert query(database, counted) == [(200,), (600,)]
    assert disagreements(database) == []


def assert_equal(found: list[EpochSums], expected: Mapping[tuple[int, str], Mapping[str, float]]) -> None:
    """Each figure of each epoch and arm."""
    assert {(f.epoch, f.arm) for f in found} == expected.keys()
    names = [f.name for f in fields(EpochSums) if f.name not in {"epoch", "arm", "is_current", "control"}]
    for f in found:
        figures = {name: getattr(f, name) for name in names}
        assert figures == pytest.approx(expected[f.epoch, f.arm], rel=1e-9, abs=1e-9), (f.epoch, f.arm)


def from_the_log(traffic: Traffic, now: datetime = NOW) -> dict[tuple[int, str], dict[str, float]]:
    """The same sums, over the raw log, one decision after the other."""
    sums: dict[tuple[int, str], dict[str, float]] = {}
    for number, (probabilities, _) in DEALT.items():
        for arm in probabilities:
            names = (f.name for f in fields(EpochSums) if f.name not in {"epoch", "arm", "is_current", "control"})
            sums[1 if number < 3 else 2, arm] = dict.fromkeys(names, 0.0)
    for row, outcome, is_mature in _first_choices(traffic, now):
        probabilities, means = DEALT[row["allocation"]]
        for arm, p in probabilities.items():
            s = sums[row["epoch"], arm]
            s["chosen"] += arm == row["arm"]
            s["expected"] += p
            s["variance"] += p * (1 - p)
        explicit = traffic.spec.reward.missing == "explicit"
        if not row["learnable"] or not (explicit or is_mature):
            continue
        s = sums[row["epoch"], row["arm"]]
        s["exposures"] += 1
        if outcome is not None:
            s["observed"] += 1
            s["sum"] += outcome
            s["sum_of_squares"] += outcome**2
        elif explicit:
            continue
        value = traffic.spec.reward.default if outcome is None else outcome
        xi = {
            arm: means[arm] + (row["arm"] == arm) * (value - means[arm]) / p
            for arm, p in probabilities.items()
            if p > 0
        }
        for arm, score in xi.items():
            s = sums[row["epoch"], arm]
            s["eligible"] += 1
            s["score"] += score
            s["score_squares"] += score**2
            if arm != "a" and "a" in xi:
                s["paired"] += 1
                s["contrast"] += score - xi["a"]
                s["contrast_squares"] += (score - xi["a"]) ** 2
    return sums


def _first_choices(traffic: Traffic, now: datetime) -> Iterator[tuple[dict[str, Any], float | None, bool]]:
    """Of each decision that the policy made and that was seen: itself, its outcome, and whether it is mature.

    Of sticky units only their first one in an epoch: in the order in which decisions were recorded.
    """
    columns = "decision_id, epoch, allocation, arm, unit, learnable, propensity, bucket, repeated"
    decisions = query(traffic.database, f"SELECT {columns} FROM decisions")
    confirmed = dict(query(traffic.database, "SELECT decision_id, bucket FROM exposures"))
    outcomes = dict(query(traffic.database, "SELECT decision_id, value FROM outcomes"))
    firsts: dict[tuple[int, str], int] = defaultdict(int)
    mature = last_mature_bucket(traffic.spec, now)
    for values in decisions:
        row = dict(zip(columns.split(", "), values, strict=True))
        if not (row["learnable"] or row["propensity"] < 1):
            continue
        if traffic.spec.assignment == "unit":
            firsts[row["epoch"], row["unit"]] += not row["repeated"]
            if row["repeated"]:
                continue
        if traffic.spec.exposure == "confirmed":
            if row["decision_id"] not in confirmed:
                continue
            row["bucket"] = confirmed[row["decision_id"]]
        yield row, outcomes.get(row["decision_id"]), row["bucket"] <= mature
    assert set(firsts.values()) <= {1}, "each unit has exactly one first choice in an epoch"
