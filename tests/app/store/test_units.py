"""A unit's decisions are found by an index, in the partitions of the range asked for, and nowhere else."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.ids import first_id_at
from app.store import units
from app.store.database import Database, cursor_of
from app.store.indexes import build_next
from app.store.partitions import make_partitions
from app.store.units import EVER, Range
from tests.app.building import decision, execute, now, query, record

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def month(shared_database: Database) -> Database:
    """A unit with two decisions on each of 20 days, among others'."""
    database = shared_database
    with database.transaction() as connection:
        for days in (15, 20):
            make_partitions(connection, now() - days * DAY)
    for n in range(20):
        rows = [decision(decided_at=now() - n * DAY, unit=f"u{m % 200}") for m in range(400)]
        record(database, rows)
    execute(database, "ANALYZE decisions")
    return database


class Explaining:
    """A cursor that asks for the plan instead, and keeps it."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.plan: Any = None

    def execute(self, statement: str, values: Any) -> None:
        """Keeps the plan of a statement, with what it did."""
        self._cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
        self.plan = self._cursor.fetchone()[0][0]["Plan"]

    def fetchall(self) -> Sequence[Any]:
        """Nothing."""
        return []


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan that read a table."""
    mine = [plan] if "Relation Name" in plan else []
    return mine + [node for below in plan.get("Plans", ()) for node in nodes(below)]


def reads(database: Database, within: Range, limit: int) -> list[tuple[str, str, bool]]:
    """Of each table in the plan: its name, how it is read, and whether it was."""
    with database.transaction() as connection:
        cursor = Explaining(cursor_of(connection))
        units.newest(cursor, "u7", within, limit=limit)  # type: ignore[arg-type]
    return [
        (n["Relation Name"], n.get("Index Name", n["Node Type"]), n["Actual Loops"] > 0) for n in nodes(cursor.plan)
    ]


def index_of(day: datetime) -> tuple[str, str]:
    """A day's partition, and its index by unit."""
    return f"decisions_{day:%Y%m%d}", f"decisions_{day:%Y%m%d}_unit_decision_id_idx"


def test_only_the_partitions_of_the_range_are_opened_and_by_the_index(month: Database) -> None:
    """A range of three days plans for three partitions, each by the index on (unit, decision_id)."""
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    within = Range.between(midnight - 6 * DAY, midnight - 3 * DAY)
    read = reads(month, within, 3)
    assert {(name, how) for name, how, _ in read} == {index_of(midnight - n * DAY) for n in (4, 5, 6)}


def test_a_page_ends_before_it_has_opened_every_partition(month: Database) -> None:
    """The newest three are in the last days with a decision, and older partitions are planned for but never read."""
    read = reads(month, EVER, 3)
    assert len(read) > 20
    assert {how for _, how, _ in read} >= {index_of(now() - n * DAY)[1] for n in range(20)}
    assert not [name for name, _, was_read in read if was_read and name < f"decisions_{now() - DAY:%Y%m%d}"]


def test_a_unit_s_decisions_come_in_order_over_partitions(month: Database) -> None:
    """Newest first, whole, and with bounds: the first id is within, the end is not."""
    with month.transaction() as connection:
        cursor = cursor_of(connection)
        found = units.newest(cursor, "u7", EVER, limit=100)
        assert len(found) == 40
        assert [row.decision_id for row in found] == sorted((row.decision_id for row in found), reverse=True)
        bounded = Range(first=found[9].decision_id, end=found[4].decision_id)
        assert units.newest(cursor, "u7", bounded, limit=100) == found[5:10]
        assert units.newest(cursor, "u7", bounded.before(found[7].decision_id), limit=1) == [found[8]]


def test_partitions_older_than_the_index_get_theirs_while_writers_go_on(month: Database) -> None:
    """One at a time, the newest first; what an attempt that was broken off has left is replaced; then it is whole."""
    today, before = index_of(now())[0], index_of(now() - DAY)[0]
    execute(month, "DROP INDEX decisions_unit")
    execute(month, "CREATE INDEX decisions_unit ON ONLY decisions (unit, decision_id)")
    execute(month, f"CREATE INDEX {today}_unit_decision_id_idx ON {today} (arm)")
    partitions = len(query(month, "SELECT 1 FROM pg_inherits WHERE inhparent = 'decisions'::regclass"))
    built = [build_next(month) for _ in range(partitions - 2)]
    assert built == sorted((name for name in built if name), reverse=True)
    assert {today, before} <= set(built)
    assert query(month, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'decisions_unit'::regclass") == [(False,)]
    while build_next(month):
        pass
    assert query(month, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'decisions_unit'::regclass") == [(True,)]
    assert {how for _, how, _ in reads(month, EVER, 3)} >= {index_of(now() - n * DAY)[1] for n in range(20)}


def test_a_partition_that_cannot_be_had_waits_for_the_next_minute(month: Database) -> None:
    """A writer's open transaction holds it up for no longer than the lock timeout, and nothing breaks."""
    execute(month, "DROP INDEX decisions_unit")
    execute(month, "CREATE INDEX decisions_unit ON ONLY decisions (unit, decision_id)")
    ((newest,),) = query(
        month, "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'decisions'::regclass"
    )
    hasty = Database(month.engine.url.render_as_string(hide_password=False))

    @sa.event.listens_for(hasty.engine, "connect")
    def hurry(connection: Any, _: object) -> None:
        connection.cursor().execute("SET lock_timeout = '200ms'")
        connection.commit()

    with month.transaction() as connection:
        connection.exec_driver_sql(f"LOCK {newest} IN ROW EXCLUSIVE MODE")
        assert build_next(hasty) is None
    assert build_next(month) == newest
    hasty.close()
    while build_next(month):
        pass


def test_the_first_id_of_a_range_is_that_of_its_moment() -> None:
    """Ranges are by the moment of the id."""
    moment = now()
    assert Range.between(moment - DAY, moment) == Range(first=first_id_at(moment - DAY), end=first_id_at(moment))
