"""Which partitions the statements of the hot paths open: those of their ids, and no other."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from app.store import exposures
from app.store.database import Database, cursor_of
from app.store.decisions import recorded
from app.store.feedback import write_batch
from app.store.hierarchy import OutcomeWindow, unit_sums
from app.store.partitions import make_partitions
from app.store.targets import CONFIRMATIONS, LOCK, RESOLVE
from tests.app.building import decision, id_at, matched, now, put, query, record

DAY = timedelta(days=1)


@pytest.fixture
def many_partitions(database: Database) -> Database:
    """A database with partitions for more than 30 days, and a decision in each of them."""
    with database.transaction() as connection:
        make_partitions(connection, now() - 15 * DAY)
    for offset in range(-15, 15):
        record(database, [decision(decided_at=now() + offset * DAY)])
    return database


def partitions_in_plan(database: Database, statement: str) -> set[str]:
    """The tables that the plan of a statement reads."""
    with database.transaction() as connection:
        cursor = cursor_of(connection)
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
        row = cursor.fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return set(_relations(plan[0]["Plan"]))


def _relations(node: dict[str, Any]) -> list[str]:
    below = [name for child in node.get("Plans", []) for name in _relations(child)]
    return below + ([node["Relation Name"]] if "Relation Name" in node else [])


IDS: list[tuple[str, Callable[[], list[UUID]], set[int]]] = [
    ("one", lambda: [id_at(now())], {0}),
    ("three_of_two_days", lambda: [id_at(now()), id_at(now() - 5 * DAY), id_at(now() - 5 * DAY)], {0, -5}),
    ("hundred_of_a_day", lambda: [id_at(now()) for _ in range(100)], {0}),
]


@pytest.mark.parametrize(("ids", "days"), [(ids, days) for _, ids, days in IDS], ids=[name for name, *_ in IDS])
@pytest.mark.parametrize(
    ("statement", "table"),
    [
        (RESOLVE, "decisions"),
        (LOCK.replace("{strength}", "SHARE"), "decisions"),
        (LOCK.replace("{strength}", "UPDATE"), "decisions"),
        (CONFIRMATIONS, "exposures"),
    ],
    ids=["resolve", "lock shared", "lock", "confirmations"],
)
def test_a_look_up_reads_only_the_partitions_of_its_ids(
    many_partitions: Database, ids: Callable[[], list[UUID]], days: set[int], statement: str, table: str
) -> None:
    """Its plan opens the partitions that its ids can be in, of 30 and more, and no other."""
    plan = partitions_in_plan(many_partitions, statement.format(ids=",".join(map(str, ids()))))
    assert plan == {f"{table}_{now() + day * DAY:%Y%m%d}" for day in days}
    assert query(many_partitions, "SELECT count(*) >= 30 FROM pg_inherits WHERE inhparent = 'decisions'::regclass") == [
        (True,)
    ]


def test_reading_recorded_decisions_reads_only_the_partitions_of_their_ids(many_partitions: Database) -> None:
    """What `recorded` executes opens the partition of its ids alone, by the statement that PostgreSQL got."""
    statements: list[str] = []

    class Listener:
        """A cursor that notes what it is asked and answers nothing."""

        def execute(self, text: str) -> None:
            statements.append(text)

        def fetchall(self) -> list[tuple[str]]:
            return []

    recorded(Listener(), [id_at(now()), id_at(now() - 3 * DAY)])  # type: ignore[arg-type]
    (statement,) = statements
    assert partitions_in_plan(many_partitions, statement) == {
        f"decisions_{now():%Y%m%d}",
        f"decisions_{now() - 3 * DAY:%Y%m%d}",
    }


def test_writing_feedback_touches_only_the_partitions_of_its_ids(many_partitions: Database) -> None:
    """While a batch is open it holds locks on the partitions of its ids: of other days on none."""
    row = decision()
    record(many_partitions, [row])
    with many_partitions.transaction() as connection:
        write_batch(cursor_of(connection), [matched(row)], shard=0)
        locked = connection.scalars(
            sa.text(
                "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()"
                " AND relation::regclass::text ~ '^(feedback|outcomes|decisions)_[0-9]{8}$'"
            )
        ).all()
    assert set(locked) == {f"{table}_{now():%Y%m%d}" for table in ("feedback", "outcomes")}


def test_confirming_reads_only_the_outcomes_of_its_ids(many_partitions: Database) -> None:
    """The statement that records confirmations opens one day's outcomes; its locks say the same of the other tables."""
    statement = exposures.WRITE.format(ids=id_at(now()))
    statement = statement.replace("%(rows)s", "'[]'").replace("%(shard)s", "0")
    read = {name for name in partitions_in_plan(many_partitions, statement) if name.startswith("outcomes")}
    assert read == {f"outcomes_{now():%Y%m%d}"}


def test_summing_up_units_reads_only_the_partitions_of_its_window(many_partitions: Database) -> None:
    """Of a day's decisions those of that day, and of the days beside it, as clocks differ; of outcomes the same."""
    put(many_partitions, "home")
    midnight = now().replace(hour=0, minute=0, second=0, microsecond=0)
    window = OutcomeWindow(
        experiment="home",
        arms=("a",),
        metrics=("click",),
        since=midnight - 5 * DAY,
        until=midnight - 4 * DAY,
        mature_bucket=now(),
    )
    with many_partitions.transaction() as connection:
        assert unit_sums(connection, window, most=10, patience_s=60).decisions.tolist() == [1]
        locked = connection.scalars(
            sa.text(
                "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid()"
                " AND relation::regclass::text ~ '^(exposures|outcomes|decisions)_[0-9]{8}$'"
            )
        ).all()
    assert set(locked) == {
        f"{table}_{midnight + day * DAY:%Y%m%d}"
        for table in ("decisions", "exposures", "outcomes")
        for day in (-6, -5, -4)
    }
