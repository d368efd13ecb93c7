"""Durable decisions and feedback beside an empty view and the obvious service.

Run with `python -m benchmarks.serving`. Client, servers and database share this machine, so only ratios mean
anything, and only within a round: each round measures everything in turn, and the medians are taken over rounds.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import urllib3

from app.embedded import EmbeddedPostgres
from benchmarks import wrk
from benchmarks.results import save
from benchmarks.wrk import Run
from tests.running import Api, until

_ROOT = Path(__file__).parents[1]
_ROUNDS = int(os.environ.get("ROUNDS", "5"))
_SECONDS = int(os.environ.get("SECONDS_EACH", "4"))
_CROUPIER, _BARE, _OBVIOUS = (f"http://127.0.0.1:{port}" for port in (8310, 8311, 8312))
_DECISION = {"experiment": "bench", "unit": "user-1", "k": 10, "context": {"device": "ios"}}
_ITEMS = [str(i) for i in range(10)]
_EXPERIMENT = {"arms": [{"key": a, "recommender": {"kind": "static", "items": _ITEMS}} for a in "ab"]}

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
        database_url = stack.enter_context(_servers(folder))
        ids = _some_decisions()
        return [_round(folder, database_url, ids) for _ in range(_ROUNDS)]


def _round(folder: Path, database_url: str, ids: list[str]) -> Round:
    def measure(url: str, script: str, connections: int) -> Run:
        return wrk.measure(url, script, folder, connections=connections, seconds=_SECONDS)

    single = wrk.constant(_DECISION)
    batch = wrk.constant({"requests": [_DECISION] * 100}, path="/v1/recommendations/batch")
    r: Round = {}
    for connections in (1, 32, 128):
        r[f"bare {connections}"] = measure(_BARE, single, connections)
        r[f"decide {connections}"] = measure(_CROUPIER, single, connections)
    r["obvious 32"] = measure(_OBVIOUS, single, 32)
    r["insert"] = _insert_and_commit(database_url)
    # 32 connections that each wait between two requests make half of the peak's rate.
    pause_ms = 32 / (r["decide 32"].rate / 2) * 1000 - r["decide 1"].p50 * 1000
    paced = wrk.constant(_DECISION, delay_ms=pause_ms)
    r["half"], r["bare half"] = measure(_CROUPIER, paced, 32), measure(_BARE, paced, 32)
    r["feedback"] = measure(_CROUPIER, wrk.feedback(ids, events=1), 32)
    r["bulk"] = measure(_CROUPIER, wrk.feedback(ids, events=1000), 8)
    r["batch"] = measure(_CROUPIER, batch, 8)
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


@contextmanager
def _servers(folder: Path) -> Iterator[str]:
    """Croupier, the bare view and the obvious service, each with two workers, on one PostgreSQL; yields its URL."""
    postgres = EmbeddedPostgres(folder)
    url = postgres.start().replace("postgresql+psycopg2://", "postgresql://")
    environment = {
        **os.environ,
        "CROUPIER_BOOTSTRAP_KEY": wrk.KEY,
        "CROUPIER_PORT": _CROUPIER.rpartition(":")[2],
        "CROUPIER_DATA_DIR": str(folder),
        "CROUPIER_LOG_LEVEL": "warning",
        "DATABASE_URL": url,
        "OPENBLAS_NUM_THREADS": "1",
    }
    commands = [[sys.executable, "-m", "app.cli", "up"], _gunicorn("bare", _BARE), _gunicorn("obvious", _OBVIOUS)]
    processes = [subprocess.Popen(command, env=environment, cwd=_ROOT) for command in commands]
    try:
        _prepare(url)
        yield url
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
        postgres.stop()


def _gunicorn(name: str, url: str) -> list[str]:
    """The same server and kind of worker as Croupier's."""
    options = ["--worker-class", "gevent", "--workers", "2", "--keep-alive", "75", "--no-control-socket"]
    bind = ["--bind", url.removeprefix("http://"), "--log-level", "warning"]
    return [sys.executable, "-m", "gunicorn", *options, *bind, f"benchmarks.rivals:{name}"]


def _prepare(database_url: str) -> None:
    """The experiment, and the obvious service's table."""
    api = Api(_CROUPIER, wrk.KEY)
    until(lambda: _answers(api, "/readyz"), "Croupier to be ready")
    for url in (_BARE, _OBVIOUS):
        other = Api(url, None)
        until(lambda other=other: _answers(other, "/alive"), f"{url} to answer")  # type: ignore[misc]
    api.put("/v1/experiments/bench", _EXPERIMENT).ok()
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE obvious_decisions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, experiment text,"
            " unit text, arm text, propensity float8, at timestamptz DEFAULT now())"
        )
    connection.close()


def _some_decisions() -> list[str]:
    """Ids of 20,000 decisions, for feedback."""
    api = Api(_CROUPIER, wrk.KEY)
    batches = [api.post("/v1/recommendations/batch", {"requests": [_DECISION] * 1000}).ok() for _ in range(20)]
    return [result["decision_id"] for batch in batches for result in batch["results"]]


def _answers(api: Api, path: str) -> bool:
    try:
        return api.get(path).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _as_json(rounds: list[Round], medians: dict[Claim, float]) -> dict[str, Any]:
    return {
        "figures": {claim.figure: value for claim, value in medians.items()},
        "rounds": [{name: vars(measured) for name, measured in r.items()} for r in rounds],
    }


if __name__ == "__main__":
    sys.exit(main())
