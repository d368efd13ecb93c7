"""Retention: whole days go, nobody waits, and what is left still adds up."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.ids import first_id_at
from app.monitor import grow
from app.specification import Specification
from app.store import partitions
from app.store.database import Database
from app.store.decisions import DecisionRow
from app.store.retention import delete_old_allocations, delete_old_events, drop_old_partitions, keep_since
from app.store.tables import PARTITIONED
from app.store.verify import verify
from tests.app.building import decision, execute, id_at, matched, now, put, query, record, specification, write

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
TODAY = now().replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def house(database: Database) -> Database:
    """A database with partitions for the last ten days, and an experiment "home"."""
    with database.transaction() as connection:
        partitions.make_partitions(connection, TODAY - 9 * DAY)
    put(database, "home")
    return database


def made_at(moment: datetime, **columns: Any) -> DecisionRow:
    """A decision of a moment."""
    return decision(decision_id=id_at(moment), decided_at=moment, bucket=moment.replace(second=0), **columns)


def log_of(database: Database, *moments: datetime, **columns: Any) -> list[DecisionRow]:
    """Decisions of these moments, each with a click on an item."""
    rows = [made_at(moment, **columns) for moment in moments]
    record(database, rows)
    write(database, [matched(row, item_id="x", occurred_at=row.decided_at) for row in rows])
    return rows


def days_left(database: Database) -> dict[str, list[str]]:
    """The days before today that have a partition, by table."""
    names = [name for (name,) in query(database, "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")]
    today = f"{TODAY:%Y%m%d}"
    return {
        table: sorted(n.removeprefix(f"{table}_") for n in names if n.startswith(f"{table}_") and n[-8:] < today)
        for table in PARTITIONED
    }


def days(*ago: int) -> dict[str, list[str]]:
    """These days, of every table."""
    return {table: [f"{TODAY - n * DAY:%Y%m%d}" for n in ago] for table in PARTITIONED}


def counted(database: Database) -> list[tuple[Any, ...]]:
    """How many rows each of the log's tables holds."""
    return query(
        database,
        """SELECT (SELECT count(*)::int FROM decisions), (SELECT count(*)::int FROM feedback),
            (SELECT count(*)::int FROM outcomes)""",
    )


def test_whole_days_are_dropped_and_no_part_of_one(house: Database) -> None:
    """Up to the day that the moment lies in, all tables lose the same days; everything younger stays."""
    log_of(house, TODAY - 3 * DAY - HOUR, TODAY - 3 * DAY + HOUR, TODAY - 2 * DAY)
    dropped = drop_old_partitions(house, TODAY - 3 * DAY + 5 * HOUR)
    assert len(dropped) == 7 * len(PARTITIONED)
    assert days_left(house) == days(3, 2, 1)
    assert counted(house) == [(2, 2, 2)]
    assert drop_old_partitions(house, TODAY - 3 * DAY + 5 * HOUR) == []


@pytest.mark.parametrize("hour", [0, 1, 12, 23])
def test_days_to_keep_are_whole_utc_days(hour: int) -> None:
    """At whatever hour: the first day that is kept is kept from its beginning."""
    assert keep_since(datetime(2031, 5, 17, hour, 30, tzinfo=UTC), 3) == datetime(2031, 5, 14, tzinfo=UTC)


@contextmanager
def reading(database: Database, days_ago: int) -> Iterator[sa.Connection]:
    """A reader in the middle of a long look at one day."""
    first, end = (first_id_at(TODAY - n * DAY) for n in (days_ago, days_ago - 1))
    with database.engine.connect() as connection, connection.begin():
        text = "SELECT count(*) FROM decisions WHERE decision_id >= CAST(:first AS uuid) AND decision_id < :end"
        connection.execute(sa.text(text), {"first": str(first), "end": str(end)})
        yield connection


def test_a_long_reader_is_not_disturbed_and_disturbs_nobody(house: Database) -> None:
    """What is being read waits for a later pass; meanwhile everybody else reads and writes without waiting."""
    log_of(house, TODAY - 5 * DAY, TODAY - DAY)
    waits = []
    with reading(house, 5) as reader, ThreadPoolExecutor(1) as monitor:
        passes = monitor.submit(lambda: [drop_old_partitions(house, TODAY - 3 * DAY) for _ in range(2)])
        while not passes.done():
            started = time.monotonic()
            log_of(house, TODAY - DAY + HOUR)
            waits.append(time.monotonic() - started)
        assert f"decisions_{TODAY - 5 * DAY:%Y%m%d}" not in [name for dropped in passes.result() for name in dropped]
        assert reader.scalar(sa.text("SELECT count(*) FROM decisions WHERE experiment = 'home'"))
    assert len(waits) > 20
    assert max(waits) < 1
    drop_old_partitions(house, TODAY - 3 * DAY)
    assert days_left(house) == days(3, 2, 1)
    assert counted(house) == [(len(waits) + 1,) * 3]


def interrupt_detaching(database: Database, name: str) -> None:
    """Leaves a partition as a monitor does that is killed between the two halves of detaching it."""
    table = name.rpartition("_")[0]
    with reading(database, 5), database.autocommit() as connection:
        connection.execute(sa.text("SET lock_timeout = '200ms'"))
        with pytest.raises(sa.exc.DBAPIError, match="lock timeout"):
            connection.execute(sa.text(f"ALTER TABLE {table} DETACH PARTITION {name} CONCURRENTLY"))
        connection.execute(sa.text("RESET lock_timeout"))
    pending = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending"
    assert query(database, pending) == [(name,)]


def test_a_detach_that_was_killed_is_finished(house: Database) -> None:
    """The next pass finds a partition half detached, and ends it."""
    log_of(house, TODAY - 5 * DAY)
    name = f"decisions_{TODAY - 5 * DAY:%Y%m%d}"
    interrupt_detaching(house, name)
    assert name in drop_old_partitions(house, TODAY - 3 * DAY)
    assert days_left(house) == days(3, 2, 1)
    assert query(house, "SELECT relname FROM pg_class WHERE relname = :name", name=name) == []


def test_what_was_detached_and_not_dropped_is_dropped(house: Database) -> None:
    """A monitor that is killed before it drops what it has detached leaves nothing behind for ever."""
    name = f"feedback_{TODAY - 5 * DAY:%Y%m%d}"
    execute(house, f"ALTER TABLE feedback DETACH PARTITION {name}")
    assert name in drop_old_partitions(house, TODAY - 3 * DAY)
    assert query(house, "SELECT relname FROM pg_class WHERE relname = :name", name=name) == []


def test_an_experiment_that_keeps_less_loses_its_own_events_only(house: Database) -> None:
    """Its decisions go with their feedback and outcomes, in batches; another experiment of the same days keeps all."""
    put(house, "other")
    moments = [TODAY - n * DAY + HOUR for n in (5, 4, 3, 2, 1)]
    log_of(house, *moments)
    kept = log_of(house, *moments, experiment="other")
    assert delete_old_events(house, "home", TODAY - 2 * DAY) == 3
    assert counted(house) == [(7, 7, 7)]
    left = {i for (i,) in query(house, "SELECT decision_id FROM decisions WHERE experiment = 'other'")}
    assert left == {row.decision_id for row in kept}
    assert query(house, "SELECT min(decided_at) FROM decisions WHERE experiment = 'home'") == [(moments[3],)]


def allocations_at(database: Database, ago: Sequence[timedelta]) -> None:
    """Gives "home" allocations that were made so long ago, the last one in force."""
    execute(database, "UPDATE allocations SET created_at = :at WHERE experiment = 'home'", at=now() - ago[0])
    for number, made in enumerate(ago[1:], start=2):
        execute(
            database,
            """INSERT INTO allocations SELECT experiment, :number, version, epoch, reason, probabilities, posterior,
                evidence, data_as_of, :at FROM allocations WHERE experiment = 'home' AND number = 1""",
            number=number,
            at=now() - made,
        )
    execute(database, "UPDATE experiments SET allocation = :number WHERE key = 'home'", number=len(ago))


@pytest.mark.parametrize(
    ("ago", "kept"),
    [([9, 8, 7], [3]), ([9, 8, 1], [2, 3]), ([9, 2, 1], [1, 2, 3]), ([2, 1, 0], [1, 2, 3]), ([9], [1])],
)
def test_allocations_of_kept_decisions_stay(house: Database, ago: list[int], kept: list[int]) -> None:
    """All that were in force at any moment since, however long ago they were made; and the one in force now."""
    allocations_at(house, [n * DAY + HOUR for n in ago])
    with house.transaction() as connection:
        assert delete_old_allocations(connection, "home", now() - 5 * DAY) == len(ago) - len(kept)
    numbers = query(house, "SELECT number FROM allocations WHERE experiment = 'home' ORDER BY number")
    assert [number for (number,) in numbers] == kept


def brief() -> Specification:
    """An experiment that keeps two days."""
    return specification(retention_days=2)


def test_first_choices_of_ended_epochs_are_forgotten(house: Database) -> None:
    """Units of the present epoch stay known, however long ago they came; those of epochs long over are not kept."""
    execute(house, "INSERT INTO unit_exposures SELECT 'home', epoch, 'u' FROM generate_series(1, 3) epoch")
    execute(house, "UPDATE experiments SET epoch = 3")
    grow(house, now(), 5)
    assert query(house, "SELECT count(*)::int FROM unit_exposures") == [(3,)]
    execute(house, "UPDATE experiments SET updated_at = now() - interval '7 days'")
    grow(house, now(), 5)
    assert query(house, "SELECT epoch FROM unit_exposures") == [(3,)]


def test_what_is_left_adds_up(house: Database) -> None:
    """After a pass with two retentions `verify`, as the command calls it, finds nothing wrong."""
    put(house, "brief", brief())
    moments = [TODAY - n * DAY + hour * HOUR for n in range(8) for hour in (0, 7, 23) if n or not hour]
    log_of(house, *moments)
    log_of(house, *moments, experiment="brief")
    grow(house, now(), 5)
    assert days_left(house) == days(5, 4, 3, 2, 1)
    assert verify(house, since=keep_since(now(), 5) + DAY) == []
    assert query(house, "SELECT min(decided_at) FROM decisions WHERE experiment = 'brief'") == [(TODAY - 2 * DAY,)]
    # Statistics outlive the log.
    assert query(house, "SELECT sum(decisions)::int FROM decision_counts") == [(2 * len(moments),)]


def test_damage_within_what_is_kept_is_still_found(house: Database) -> None:
    """The horizon of `verify` hides nothing that the log can prove."""
    log_of(house, TODAY - 3 * DAY, TODAY - DAY)
    grow(house, now(), 5)
    execute(house, "UPDATE arm_statistics SET n = n + 1 WHERE bucket >= :day", day=TODAY - DAY)
    assert [d.check for d in verify(house, since=keep_since(now(), 5) + DAY)] == ["arm_statistics"]
