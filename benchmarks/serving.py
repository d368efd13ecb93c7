"""Durable decisions and feedback beside an empty view and the obvious service.

Run with `python -m benchmarks.serving`. Client, servers and database share this machine, so only ratios mean
anything, and only within a round: each round measures everything in turn, and the medians are taken over rounds.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks import wrk
from benchmarks.results import save
from benchmarks.servers import BARE, CROUPIER, DECISION, OBVIOUS, SILENT, TELLING, servers, some_decisions
from benchmarks.wrk import Run

_ROUNDS = int(os.environ.get("ROUNDS", "5"))
_SECONDS = int(os.environ.get("SECONDS_EACH", "4"))

Round = dict[str, Run]


@dataclass(frozen=True)
class Claim:
    """A ratio within a round, and the bar that its median must meet."""

    figure: str
    ratio: Callable[[Round], float]
    required: float
    goal: float
    at_most: bool = False

    def met_by(self, value: float) -> bool:
        """Whether the requirement is met."""
        return value <= self.required if self.at_most else value >= self.required


def _telling_over_silent(r: Round) -> float:
    """Measured in the order silent, telling, telling, silent: what drifts meanwhile counts for neither."""
    return (r["telling 1"].rate + r["telling 2"].rate) / (r["silent 1"].rate + r["silent 2"].rate)


_CLAIMS = (
    Claim("decisions/s ÷ bare, 32 connections", lambda r: r["decide 32"].rate / r["bare 32"].rate, 0.5, 0.75),
    Claim("decisions/s ÷ bare, 128 connections", lambda r: r["decide 128"].rate / r["bare 128"].rate, 0.7, 0.85),
    Claim("decisions/s ÷ obvious service", lambda r: r["decide 32"].rate / r["obvious 32"].rate, 2.0, 3.0),
    Claim(
        "p50, one client ÷ (INSERT and COMMIT + bare)",
        lambda r: r["decide 1"].p50 / (r["insert"].p50 + r["bare 1"].p50),
        2.0,
        1.3,
        at_most=True,
    ),
    Claim("p99 at half the peak ÷ bare's", lambda r: r["half"].p99 / r["bare half"].p99, 4.0, 2.0, at_most=True),
    Claim("feedback events/s ÷ bare, single", lambda r: r["feedback"].rate / r["bare 32"].rate, 0.4, 0.6),
    Claim("feedback events/s ÷ bare, bulk of 1,000", lambda r: 1000 * r["bulk"].rate / r["bare 32"].rate, 2.0, 4.0),
    Claim("decisions/s with all telemetry ÷ without any", _telling_over_silent, 0.9, 0.97),
    Claim("batch of 100: decisions/s ÷ single", lambda r: 100 * r["batch"].rate / r["decide 32"].rate, 5.0, 9.0),
)


def main() -> int:
    """Prints the table; the exit code."""
    if not wrk.installed():
        print("serving: skipped, wrk is not installed (Debian: apt-get install wrk)")
        return 0
    rounds = run()
    medians = {claim: statistics.median(claim.ratio(r) for r in rounds) for claim in _CLAIMS}
    print(f"{'figure':48} {'measured':>9} {'required':>9} {'goal':>6}")
    for claim, value in medians.items():
        bar = f"{'≤' if claim.at_most else '≥'} {claim.required:g}"
        print(f"{claim.figure:48} {value:9.2f} {bar:>9} {claim.goal:6g}  {'' if claim.met_by(value) else 'FAILED'}")
    save("serving", _as_json(rounds, medians))
    return int(not all(claim.met_by(value) for claim, value in medians.items()))


def run() -> list[Round]:
    """All rounds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croupier-bench-")))
        database_url = stack.enter_context(servers(folder))
        ids = some_decisions()
        return [_round(folder, database_url, ids) for _ in range(_ROUNDS)]


def _round(folder: Path, database_url: str, ids: list[str]) -> Round:
    def measure(url: str, script: str, connections: int) -> Run:
        return wrk.measure(url, script, folder, connections=connections, seconds=_SECONDS)

    single = wrk.constant(DECISION)
    batch = wrk.constant({"requests": [DECISION] * 100}, path="/v1/recommendations/batch")
    r: Round = {}
    for connections in (1, 32, 128):
        r[f"bare {connections}"] = measure(BARE, single, connections)
        r[f"decide {connections}"] = measure(CROUPIER, single, connections)
    for run, url in (("silent 1", SILENT), ("telling 1", TELLING), ("telling 2", TELLING), ("silent 2", SILENT)):
        r[run] = measure(url, single, 32)
    r["obvious 32"] = measure(OBVIOUS, single, 32)
    r["insert"] = _insert_and_commit(database_url)
    # 32 connections that each wait between two requests make half of the peak's rate.
    pause_ms = 32 / (r["decide 32"].rate / 2) * 1000 - r["decide 1"].p50 * 1000
    paced = wrk.constant(DECISION, delay_ms=pause_ms)
    r["half"], r["bare half"] = measure(CROUPIER, paced, 32), measure(BARE, paced, 32)
    r["feedback"] = measure(CROUPIER, wrk.feedback(ids, events=1), 32)
    r["bulk"] = measure(CROUPIER, wrk.feedback(ids, events=1000), 8)
    r["batch"] = measure(CROUPIER, batch, 8)
    return r


def _insert_and_commit(database_url: str) -> Run:
    """One INSERT and COMMIT after the other, by psycopg2, without any service."""
    connection = psycopg2.connect(database_url)
    took = []
    end = time.monotonic() + _SECONDS / 2
    while time.monotonic() < end:
        begin = time.perf_counter()
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO obvious_decisions (experiment, unit, arm, propensity) VALUES ('b', 'u', 'a', 1)"
            )
        took.append(time.perf_counter() - begin)
    connection.close()
    took.sort()
    return Run(len(took) / sum(took), took[len(took) // 2], took[len(took) * 99 // 100])


def _as_json(rounds: list[Round], medians: dict[Claim, float]) -> dict[str, Any]:
    return {
        "figures": {claim.figure: value for claim, value in medians.items()},
        "rounds": [{name: vars(measured) for name, measured in r.items()} for r in rounds],
    }


if __name__ == "__main__":
    sys.exit(main())
