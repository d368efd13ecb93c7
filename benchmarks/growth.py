"""Whether anything slows down as the log grows, and whether workers keep their size.

Run with `python -m benchmarks.growth`. The same service is measured with 10⁴ stored decisions, then with 5·10⁶ of the
last 30 days, filled in by SQL as traffic would have left them; then under load for ten minutes.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import sqlalchemy as sa

from app.learner import learn_once
from app.monitor import compact_all
from app.store.database import Database
from app.store.partitions import make_partitions
from benchmarks import wrk
from benchmarks.results import save
from benchmarks.servers import CROUPIER, DECISION, servers, some_decisions
from tests.running import Api

_STORED = int(os.environ.get("STORED", "5000000"))
_SOAK_S = int(os.environ.get("SOAK_SECONDS", "600"))
_DAYS = 30
_ROUNDS = 5

# A decision every so often, over 30 days, in the shape that traffic leaves.
_FILL_DECISIONS = """
INSERT INTO decisions
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8'
        || substr(md5(n::text), 4, 15))::uuid,
       'bench', 1, 1, arm, arm, 'user-' || n % 100000, 0.5, 'policy', true, date_trunc('minute', at), at,
       '{"device": "ios"}', ARRAY['0','1','2','3','4','5','6','7','8','9'], array_fill(NULL::float8, ARRAY[10]),
       NULL, 0.2
FROM (SELECT n, CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END AS arm, :start + n * :step * interval '1 second' AS at
      FROM generate_series(:first, :last) n) made
"""
_FILL_COUNTS = """
INSERT INTO decision_counts (experiment, epoch, allocation, arm, bucket, shard, decisions, exposures, chosen)
SELECT experiment, epoch, allocation, arm, bucket, 0, count(*), count(*), count(*) FROM decisions
WHERE experiment = 'bench' AND bucket < :until GROUP BY 1, 2, 3, 4, 5 ON CONFLICT DO NOTHING
"""
_FILL_REWARDS = """
INSERT INTO arm_statistics (experiment, epoch, allocation, arm, metric, bucket, shard, n, sum, sum_of_squares)
SELECT experiment, epoch, allocation, arm, 'click', bucket, 0, count(*), count(*), count(*) FROM decisions
WHERE experiment = 'bench' AND bucket < :until AND unit LIKE '%7' GROUP BY 1, 2, 3, 4, 5, 6 ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class State:
    """How fast things are: decisions a second, and seconds for a learner's pass and the arms page."""

    rate: float
    learner_s: float
    arms_s: float


def main() -> int:
    """Prints the table; the exit code."""
    if not wrk.installed():
        print("growth: skipped, wrk is not installed (Debian: apt-get install wrk)")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croupier-bench-")))
        url = stack.enter_context(servers(folder))
        some_decisions()
        database = Database(url)
        small = _measure(database, folder)
        _fill(database)
        large = _measure(database, folder)
        grown = _soak(folder)
    figures = {
        f"decisions/s with {_STORED:,} stored ÷ with 2·10⁴": (large.rate / small.rate, 0.9, False),
        "learner's pass": (large.learner_s / small.learner_s, 1.3, True),
        "arms page": (large.arms_s / small.arms_s, 1.3, True),
        f"memory of a worker after {_SOAK_S} s of load ÷ after a tenth": (grown, 1.1, True),
    }
    print(f"{'figure':64} {'measured':>9} {'required':>9}")
    for figure, (value, bar, at_most) in figures.items():
        failed = value > bar if at_most else value < bar
        print(f"{figure:64} {value:9.2f} {'≤' if at_most else '≥'} {bar:7g}  {'FAILED' if failed else ''}")
    save("growth", {figure: value for figure, (value, _, _) in figures.items()})
    return int(any(v > bar if at_most else v < bar for v, bar, at_most in figures.values()))


def _measure(database: Database, folder: Path) -> State:
    script = wrk.constant(DECISION)
    rates = [wrk.measure(CROUPIER, script, folder, connections=32, seconds=4).rate for _ in range(_ROUNDS)]
    api = Api(CROUPIER, wrk.KEY)
    return State(
        rate=statistics.median(rates),
        learner_s=_seconds(lambda: learn_once(database, "bench", datetime.now(UTC))),
        arms_s=_seconds(lambda: api.get("/v1/experiments/bench/arms").ok()),
    )


def _seconds(action: Callable[[], object]) -> float:
    """The median of 21 calls."""
    took = []
    for _ in range(21):
        begin = time.perf_counter()
        action()
        took.append(time.perf_counter() - begin)
    return statistics.median(took)


def _fill(database: Database) -> None:
    """Stores decisions of the last 30 days, with their counts and rewards; then the monitor's compaction runs."""
    now = datetime.now(UTC)
    start, step = now - timedelta(days=_DAYS), timedelta(days=_DAYS, hours=-1).total_seconds() / _STORED
    with database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for day in range(_DAYS + 1):
            make_partitions(connection, now - timedelta(days=day))
    for first in range(0, _STORED, 250_000):
        with database.transaction() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            last = min(first + 250_000, _STORED) - 1
            values = {"start": start, "step": step, "first": first, "last": last}
            connection.execute(sa.text(_FILL_DECISIONS), values)
    with database.transaction() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for statement in (_FILL_COUNTS, _FILL_REWARDS):
            connection.execute(sa.text(statement), {"until": now - timedelta(minutes=30)})
    compact_all(database, now)
    with database.autocommit() as connection:
        connection.execute(sa.text("SET statement_timeout = 0"))
        connection.execute(sa.text("VACUUM ANALYZE"))


def _soak(folder: Path) -> float:
    """How much the largest worker has grown between a tenth of the soak and its end."""
    script = wrk.constant(DECISION)
    sizes = []
    for seconds in (max(_SOAK_S // 10, 1), _SOAK_S - _SOAK_S // 10):
        wrk.measure(CROUPIER, script, folder, connections=32, seconds=seconds)
        sizes.append(max(process.memory_info().rss for process in _workers()))
    return sizes[1] / sizes[0]


def _workers() -> list[psutil.Process]:
    """Croupier's web workers: the children of the process that loaded app.web.wsgi."""
    servers = [p for p in psutil.process_iter(["cmdline"]) if "app.web.wsgi:build()" in (p.info["cmdline"] or [])]
    return [p for p in servers if p.parent() in servers]


if __name__ == "__main__":
    sys.exit(main())
