"""What an index of decisions by unit costs: time of the journal's insert, and bytes per decision (docs/adr/0010).

Run with `python -m benchmarks.unit_index`. Databases that differ in one index only take the same batches in turn, so
that whatever else the machine does meets all of them alike.
"""

import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from app.embedded import EmbeddedPostgres
from app.ids import new_id
from app.store.database import Database, DriverConnection, cursor_of
from app.store.decisions import DecisionRow, write_batch
from app.store.migrate import migrate
from app.store.units import EVER, newest
from benchmarks.results import save

_INDEXES = {
    "none": None,
    "none again": None,  # how much two of a kind differ
    "btree (unit, decision_id)": "USING btree (unit, decision_id)",
    "btree (unit)": "USING btree (unit)",
    "hash (unit)": "USING hash (unit)",
    "brin (unit)": "USING brin (unit)",
    "btree (experiment, decision_id)": "USING btree (experiment, decision_id)",
}
_STORED = int(os.environ.get("STORED", "200000"))
_ROUNDS = int(os.environ.get("ROUNDS", "600"))
_BATCH = 32
_UNITS = 50_000
_MOST_SLOWER = 1.25


def main() -> int:
    """Prints the table; the exit code."""
    with tempfile.TemporaryDirectory(prefix="croupier-bench-") as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            figures = _measure(server.start())
        finally:
            server.stop()
    print(f"{'index':34} {'ms a batch of 32':>17} {'÷ none':>8} {'bytes a decision':>17} {'ms a page':>10}")
    for name, figure in figures.items():
        print(f"{name:34} {figure.write_ms:17.3f} {figure.ratio:8.3f} {figure.bytes:17.1f} {figure.page_ms:10.2f}")
    save("unit_index", {name: asdict(figure) for name, figure in figures.items()})
    return int(figures["btree (unit, decision_id)"].ratio > _MOST_SLOWER)


@dataclass(frozen=True)
class Figure:
    """Of one index: medians of a batch's insert, also as a multiple of that without, and of the look for a unit."""

    write_ms: float
    ratio: float
    bytes: float  # per decision
    page_ms: float


def _measure(url: str) -> dict[str, Figure]:
    """The figures by index."""
    databases = {name: _database(url, number, index) for number, (name, index) in enumerate(_INDEXES.items())}
    journals = {name: database.connect_raw(statement_timeout_s=30) for name, database in databases.items()}
    rng, sent = random.Random(1), 0
    while sent < _STORED:
        rows = _rows(rng, 500)
        for journal in journals.values():
            _write(journal, rows)
        sent += len(rows)
    took: dict[str, list[float]] = {name: [] for name in databases}
    for _ in range(_ROUNDS):
        rows = _rows(rng, _BATCH)
        for name in rng.sample(list(journals), len(journals)):
            took[name].append(_write(journals[name], rows))
    medians = {name: statistics.median(times) * 1000 for name, times in took.items()}
    return {
        name: Figure(
            write_ms=medians[name],
            ratio=medians[name] / medians["none"],
            bytes=_index_bytes(database) / (sent + _BATCH * _ROUNDS),
            page_ms=_page_ms(database),
        )
        for name, database in databases.items()
    }


def _database(url: str, number: int, index: str | None) -> Database:
    """A migrated database whose decisions have no index but their key and this one."""
    name = f"variant_{number}"
    server = sa.create_engine(Database(url).engine.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    server.dispose()
    made = Database(sa.make_url(url).set(database=name).render_as_string(hide_password=False))
    migrate(made, datetime.now(UTC))
    with made.transaction() as connection:
        connection.execute(sa.text("DROP INDEX IF EXISTS decisions_unit"))
        if index is not None:
            connection.execute(sa.text(f"CREATE INDEX measured ON decisions {index}"))
    return made


def _rows(rng: random.Random, count: int) -> list[DecisionRow]:
    """Decisions of random units, of a busy experiment and of quiet ones."""
    return [_row(rng, new_id()) for _ in range(count)]


def _row(rng: random.Random, decision_id: UUID) -> DecisionRow:
    now = datetime.now(UTC)
    arm = rng.choice("ab")
    return DecisionRow(
        decision_id=decision_id,
        experiment="home" if rng.random() < 0.5 else f"page-{rng.randrange(20)}",
        epoch=1,
        allocation=1,
        arm=arm,
        served_arm=arm,
        unit=f"user-{rng.randrange(_UNITS)}",
        propensity=0.5,
        reason="policy",
        learnable=True,
        bucket=now.replace(second=0, microsecond=0),
        decided_at=now,
        context={"device": "ios"},
        items=tuple(str(rng.randrange(1000)) for _ in range(10)),
        scores=(None,) * 10,
        payload=None,
        latency_ms=0.2,
    )


def _write(journal: DriverConnection, rows: Sequence[DecisionRow]) -> float:
    """Commits a batch as the journal does; how long it took, seconds."""
    began = time.perf_counter()
    with journal.cursor() as cursor:
        write_batch(cursor, rows, shard=0)
    return time.perf_counter() - began


def _page_ms(database: Database) -> float:
    """The median time that the newest decisions of a unit take to be found."""
    with database.autocommit() as connection:
        connection.execute(sa.text("ANALYZE decisions"))
    took = []
    with database.transaction() as connection:
        for number in range(51):
            began = time.perf_counter()
            newest(cursor_of(connection), f"user-{number}", EVER, limit=50)
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def _index_bytes(database: Database) -> int:
    """The size of the index that is measured, over all partitions."""
    query = """SELECT coalesce(sum(pg_relation_size(i.indexrelid)), 0)::bigint FROM pg_index i
        JOIN pg_inherits h ON h.inhrelid = i.indexrelid JOIN pg_class p ON p.oid = h.inhparent
        WHERE p.relname = 'measured'"""
    with database.transaction() as connection:
        return int(connection.scalar(sa.text(query)) or 0)


if __name__ == "__main__":
    sys.exit(main())
