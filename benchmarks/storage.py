"""What a million decisions and events take: on disk, in the write-ahead log, in a dump. And what a worker takes.

Run with `python -m benchmarks.storage`. docs/operations.md calculates with these figures. How busy the machine is
matters to the seconds of dump and restore only.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from app.embedded import EmbeddedPostgres
from app.store.database import Database
from app.store.migrate import migrate
from app.store.tables import PARTITIONED
from benchmarks.results import save
from benchmarks.servers import DECISION, EXPERIMENT
from tests.running import Api, Service, descendants_of, running_service

_DECISIONS = int(os.environ.get("STORED", "200000"))
_BATCH = 1000
_SINGLE = 5000
_MILLION = 1_000_000

# Of a table with all of its partitions: its rows, and its indexes. Without what PostgreSQL keeps free at the end.
_SIZES = """
SELECT sum(pg_table_size(relid)), sum(pg_indexes_size(relid)) FROM pg_partition_tree(CAST(:table AS regclass))
"""


def main() -> int:
    """Prints the table; the exit code."""
    with tempfile.TemporaryDirectory(prefix="croupier-bench-") as name:
        postgres = EmbeddedPostgres(Path(name))
        url = postgres.start()
        database = Database(url)
        try:
            migrate(database, datetime.now(UTC))
            with running_service(url, Path(name)) as service:
                figures = _written(database, service) | _processes(database, service)
            figures |= _dumped(postgres, Path(name) / "croupier.dump")
        finally:
            database.close()
            postgres.stop()
            postgres.reset()
    for figure, value in figures.items():
        print(f"{figure:64} {value:12,.1f}")
    save("storage", figures)
    return 0


def _written(database: Database, service: Service) -> dict[str, float]:
    """Bytes on disk and in the write-ahead log, by million: of decisions of ten items, and of clicks."""
    api = service.api()
    api.put("/v1/experiments/bench", EXPERIMENT).ok()
    empty, wal = _sizes(database), _wal(database)
    ids = _decide(api)
    decided, wal_decided = _sizes(database), _wal(database)
    _feed_back(api, ids)
    fed, wal_fed = _sizes(database), _wal(database)
    for _ in range(_SINGLE):
        api.post("/v1/recommendations", DECISION).ok()
    single = _wal(database) - wal_fed
    api.close()
    scale = _MILLION / len(ids) / 1e6
    figures = {}
    for table in PARTITIONED:
        for part, rest in (("rows", 0), ("indexes", 1)):
            figures[f"MB by million, {table}: {part}"] = (fed[table][rest] - empty[table][rest]) * scale
    figures["MB of WAL by million decisions, 1,000 a commit"] = (wal_decided - wal) * scale
    figures["MB of WAL by million events, 1,000 a commit"] = (wal_fed - wal_decided) * scale
    figures["MB of WAL by million decisions, one a commit"] = single * _MILLION / _SINGLE / 1e6
    figures["MB that feedback added to decisions"] = (sum(fed["decisions"]) - sum(decided["decisions"])) * scale
    return figures


def _decide(api: Api) -> list[str]:
    ids: list[str] = []
    while len(ids) < _DECISIONS:
        asked = [{**DECISION, "unit": f"user-{(len(ids) + i) % 50_000}"} for i in range(_BATCH)]
        answer = api.post("/v1/recommendations/batch", {"requests": asked}).ok()
        ids += [result["decision_id"] for result in answer["results"]]
    return ids


def _feed_back(api: Api, ids: list[str]) -> None:
    for start in range(0, len(ids), _BATCH):
        events = [{"decision_id": i, "value": 1, "item_id": "3", "position": 4} for i in ids[start : start + _BATCH]]
        api.post("/v1/feedback", {"events": events}).ok()


def _processes(database: Database, service: Service) -> dict[str, float]:
    """Memory that each process has for itself, and connections that it holds."""
    found = {role: [p.pid, *descendants_of(p.pid)] for role, p in service.processes.items()}
    figures = {f"MB of memory, {role} (all its processes)": _megabytes(pids) for role, pids in found.items()}
    query = "SELECT application_name, count(*) FROM pg_stat_activity WHERE application_name LIKE 'croupier%' GROUP BY 1"
    with database.transaction() as connection:
        rows = connection.execute(sa.text(query)).all()
    return figures | {f"connections, {name}": float(count) for name, count in rows}


def _megabytes(pids: list[int]) -> float:
    """Shared pages count for the share of each: PSS."""
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids) / 1e6


def _dumped(postgres: EmbeddedPostgres, file: Path) -> dict[str, float]:
    """A dump and its restoring."""
    whole = postgres.url().replace("+psycopg2", "")
    other = postgres.url("restored").replace("+psycopg2", "")
    dump_s = _timed([postgres.binary("pg_dump"), "--format=custom", f"--file={file}", whole])
    _timed([postgres.binary("psql"), "--quiet", "--command=CREATE DATABASE restored", whole])
    options = ["--exit-on-error", "--single-transaction", "--no-owner"]
    restore_s = _timed([postgres.binary("pg_restore"), *options, f"--dbname={other}", file])
    by_million = _MILLION / _DECISIONS
    return {
        "MB of a dump, by million decisions with one event each": file.stat().st_size * by_million / 1e6,
        "seconds to dump, by million": dump_s * by_million,
        "seconds to restore, by million": restore_s * by_million,
    }


def _timed(command: list[str | Path]) -> float:
    begin = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True)
    return time.perf_counter() - begin


def _sizes(database: Database) -> dict[str, tuple[float, float]]:
    with database.transaction() as connection:
        found = {table: connection.execute(sa.text(_SIZES), {"table": table}).one() for table in PARTITIONED}
    return {table: (float(rows), float(indexes)) for table, (rows, indexes) in found.items()}


def _wal(database: Database) -> float:
    with database.transaction() as connection:
        return float(connection.scalar(sa.text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")) or 0)


if __name__ == "__main__":
    sys.exit(main())
