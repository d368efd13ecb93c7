"""Compaction: fewer rows, the same sums, nothing immature, and nobody is hindered."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app import learner
from app.learning import last_mature_bucket
from app.monitor import compact_all
from app.specification import Metric, Reward
from app.store import partitions
from app.store.compaction import compact
from app.store.database import Database
from app.store.decisions import DecisionRow
from tests.app.building import (
    EAGER,
    decision,
    disagreements,
    execute,
    id_at,
    matched,
    put,
    query,
    record,
    specification,
    write,
)

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
HALF_AN_HOUR = timedelta(seconds=1800)  # the attribution window
# Fixed, so that whole hours and days are where the tests expect them.
NOW = datetime(2031, 5, 17, 13, 30, tzinfo=UTC)
SPEC = specification(
    policy=EAGER,
    reward=Reward(missing="explicit"),
    metrics=(Metric(key="revenue", aggregation="sum"),),
)
MATURE = last_mature_bucket(SPEC, NOW)

_SUMS = {
    "decision_counts": """SELECT epoch, arm, sum(decisions), sum(exposures), sum(fallbacks)
        FROM decision_counts GROUP BY 1, 2 ORDER BY 1, 2""",
    "arm_statistics": """SELECT epoch, arm, metric, sum(n), sum(sum), sum(sum_of_squares), sum(corrected)
        FROM arm_statistics GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    "item_rewards": "SELECT metric, item_id, sum(rewards) FROM item_rewards GROUP BY 1, 2 ORDER BY 1, 2",
}
_EVERY_ROW = {
    "decision_counts": "SELECT * FROM decision_counts ORDER BY 1, 2, 3, 4, 5, 6",
    "arm_statistics": "SELECT * FROM arm_statistics ORDER BY 1, 2, 3, 4, 5, 6",
    "item_rewards": "SELECT * FROM item_rewards ORDER BY 1, 2, 3, 4, 5",
}


@pytest.fixture
def house(database: Database) -> Database:
    """A database with partitions around NOW, and an experiment "home"."""
    with database.transaction() as connection:
        for days in (0, 2, 4):
            partitions.make_partitions(connection, NOW - days * DAY)
    put(database, "home", SPEC)
    return database


def sums(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All that is summed, by table; sums of fractions to nine digits."""
    return {
        table: [tuple(round(v, 9) if isinstance(v, float) else v for v in row) for row in query(database, text)]
        for table, text in _SUMS.items()
    }


def stored(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the statistics."""
    return {table: query(database, text) for table, text in _EVERY_ROW.items()}


def run(database: Database, now: datetime = NOW) -> int:
    """One pass of the monitor."""
    return compact_all(database, now)


def made_at(moment: datetime, **columns: Any) -> DecisionRow:
    """A decision of a moment, in its minute's bucket."""
    return decision(decision_id=id_at(moment), decided_at=moment, bucket=moment.replace(second=0), **columns)


def traffic(database: Database, source: random.Random, count: int) -> None:
    """Decisions and feedback of the last days, at random, through several workers."""
    for shard in range(4):
        rows = [
            made_at(
                NOW - source.random() * 4 * DAY,
                arm=source.choice("ab"),
                served_arm=source.choice("ab"),
                epoch=source.choice((1, 2)),
                learnable=source.random() < 0.8,
            )
            for _ in range(count)
        ]
        record(database, rows, shard=shard)
        events = [matched(row, item_id=source.choice("xyz"), occurred_at=row.decided_at) for row in rows[::2]]
        events += [
            matched(row, source.uniform(-5, 5), metric="revenue", aggregation="sum", occurred_at=row.decided_at)
            for row in rows[::3]
        ]
        late = [row for row in rows[1::4] if row.epoch == 1]
        events += [
            matched(row, late_at=row.decided_at + HALF_AN_HOUR, occurred_at=row.decided_at + HOUR) for row in late
        ]
        write(database, events, shard=shard)


@pytest.mark.parametrize("seed", range(3))
def test_sums_stay_and_rows_become_few(house: Database, seed: int) -> None:
    """Whatever was counted, the sums are the same to the last count, and `verify` agrees."""
    traffic(house, random.Random(seed), 150)
    before = sums(house)
    assert any(late > 0 for *_, late in before["arm_statistics"])
    many = sum(len(rows) for rows in stored(house).values())
    assert run(house) > 0
    assert sums(house) == before
    assert disagreements(house) == []
    assert sum(len(rows) for rows in stored(house).values()) < many / 2


def test_a_second_pass_changes_nothing(house: Database) -> None:
    """What is compact already is not written again."""
    traffic(house, random.Random(7), 100)
    run(house)
    after = stored(house)
    assert run(house) == 0
    assert stored(house) == after


def test_hours_become_days_after_two_days(house: Database) -> None:
    """The rows of a mature day are one an arm; those of the last two days one an hour."""
    for moment in (NOW - 3 * DAY, NOW - 3 * DAY - HOUR, NOW - 5 * HOUR, NOW - 6 * HOUR):
        record(house, [made_at(moment + n * MINUTE) for n in range(3)])
    run(house)
    found = query(house, "SELECT bucket, decisions::int FROM decision_counts WHERE decisions > 0 ORDER BY bucket")
    day = (NOW - 3 * DAY).replace(hour=0, minute=0)
    assert found == [(day, 6), (NOW.replace(minute=0) - 6 * HOUR, 3), (NOW.replace(minute=0) - 5 * HOUR, 3)]


def test_nothing_immature_is_touched(house: Database) -> None:
    """An hour that holds one immature bucket stays as it is, to the last row."""
    hour = MATURE.replace(minute=0)
    immature = [made_at(moment) for moment in (hour, MATURE, MATURE + MINUTE, NOW)]
    record(house, immature)
    write(house, [matched(row, item_id="x", occurred_at=row.decided_at) for row in immature])
    kept = stored(house)
    assert run(house) == 0
    assert stored(house) == kept


def test_what_is_mature_stays_what_it_is(house: Database) -> None:
    """At no later moment does compaction change which exposures are mature: evidence is the same before and after."""
    source = random.Random(11)
    record(house, [made_at(NOW - source.random() * 6 * HOUR, arm=source.choice("ab")) for _ in range(300)])

    def mature(moment: datetime) -> list[tuple[Any, ...]]:
        bucket = last_mature_bucket(SPEC, moment)
        text = "SELECT arm, sum(exposures)::int FROM decision_counts WHERE bucket <= :bucket GROUP BY arm ORDER BY arm"
        return query(house, text, bucket=bucket)

    moments = [NOW + n * 7 * MINUTE for n in range(20)]
    before = [mature(moment) for moment in moments]
    run(house)
    assert [mature(moment) for moment in moments] == before


def test_late_feedback_is_counted_and_folded_in(house: Database) -> None:
    """A click on a decision whose bucket is gone counts at once, and is compact after the next pass."""
    row = made_at(NOW - 5 * HOUR)
    record(house, [row, made_at(NOW - 5 * HOUR)])
    run(house)
    write(house, [matched(row)], shard=3)
    assert query(house, "SELECT sum(n)::int, sum(sum) FROM arm_statistics") == [(1, 1.0)]
    assert disagreements(house) == []
    run(house)
    assert query(house, "SELECT bucket, shard, n::int FROM arm_statistics") == [
        (NOW.replace(minute=0) - 5 * HOUR, -1, 1)
    ]
    assert disagreements(house) == []


def test_a_late_decision_is_counted_and_folded_in(house: Database) -> None:
    """One that came from a spool, hours after it was made, is added to its hour."""
    record(house, [made_at(NOW - 5 * HOUR)])
    run(house)
    record(house, [made_at(NOW - 5 * HOUR)], shard=2)
    run(house)
    assert query(house, "SELECT allocation, decisions::int FROM decision_counts WHERE decisions > 0") == [(0, 2)]
    assert disagreements(house) == []


def test_expectation_and_variance_are_sums_over_exposures(house: Database) -> None:
    """Of the row without allocation: Σp and Σp(1−p) of each arm over every exposure, whichever arm was chosen."""
    probabilities = {1: {"a": 0.5, "b": 0.5}, 2: {"a": 0.9, "b": 0.1}, 3: {"a": 0.25, "b": 0.75}}
    for number in (2, 3):
        execute(
            house,
            """INSERT INTO allocations (experiment, number, version, epoch, reason, probabilities, posterior, evidence,
                data_as_of) SELECT experiment, :number, version, epoch, reason, CAST(:p AS jsonb), posterior, evidence,
                data_as_of FROM allocations WHERE experiment = 'home' AND number = 1""",
            number=number,
            p=str(probabilities[number]).replace("'", '"'),
        )
    source = random.Random(5)
    rows = [
        made_at(
            NOW - 5 * HOUR + source.randrange(20) * MINUTE,
            allocation=source.choice((1, 2, 3)),
            arm=source.choice("ab"),
            learnable=source.random() < 0.7,
        )
        for _ in range(200)
    ]
    half = len(rows) // 2
    for part in (rows[:half], rows[half:]):  # the second half comes when the first is compact
        record(house, part)
        run(house)
    exposed = [probabilities[row.allocation] for row in rows if row.learnable]
    found = query(house, "SELECT arm, expected, variance FROM decision_counts ORDER BY arm")
    for arm, expected, variance in found:
        assert expected == pytest.approx(sum(p[arm] for p in exposed), rel=1e-12)
        assert variance == pytest.approx(sum(p[arm] * (1 - p[arm]) for p in exposed), rel=1e-12)
    assert [arm for arm, *_ in found] == ["a", "b"]


def test_other_experiments_are_left_alone(house: Database) -> None:
    """A pass over one experiment changes no row of another."""
    put(house, "other", SPEC)
    record(house, [made_at(NOW - 5 * HOUR, experiment=key) for key in ("home", "other")])
    with house.transaction() as connection:
        compact(connection, "home", MATURE, NOW)
    found = query(house, "SELECT experiment, allocation FROM decision_counts WHERE decisions > 0 ORDER BY experiment")
    assert found == [("home", 0), ("other", 1)]


def test_the_learner_learns_the_same_from_compact_statistics(house: Database) -> None:
    """Compaction alone is no news."""
    traffic(house, random.Random(3), 60)
    assert learner.learn_once(house, "home", NOW)
    run(house)
    assert not learner.learn_once(house, "home", NOW + MINUTE)


def deadlocks(database: Database) -> int:
    """How many PostgreSQL has broken in this database."""
    with database.engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_stat_force_next_flush()"))
        found = connection.scalar(sa.text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"))
    return int(found or 0)


def test_writers_and_compaction_do_not_hinder_each_other(house: Database) -> None:
    """Workers that write old decisions and late feedback while two monitors compact: no deadlock, and all counts."""
    stop = threading.Event()

    def work(shard: int) -> int:
        source = random.Random(shard)
        for _ in range(40):
            rows = [
                made_at(NOW - 2 * HOUR - source.randrange(180) * MINUTE, arm=source.choice("ab")) for _ in range(20)
            ]
            record(house, rows, shard=shard)
            write(house, [matched(row, item_id="x", occurred_at=row.decided_at) for row in rows], shard=shard)
        return 40 * 20

    def compact_often() -> int:
        passes = 0
        while not stop.is_set():
            run(house)
            passes += 1
        return passes

    with ThreadPoolExecutor(6) as threads:
        monitors = [threads.submit(compact_often) for _ in range(2)]
        try:
            written = sum(threads.map(work, range(4)))
        finally:
            stop.set()
        assert all(monitor.result() > 3 for monitor in monitors)
    run(house)
    assert query(house, "SELECT sum(decisions)::int FROM decision_counts") == [(written,)]
    assert query(house, "SELECT sum(n)::int, sum(sum) FROM arm_statistics") == [(written, float(written))]
    assert disagreements(house) == []
    assert deadlocks(house) == 0
