"""Durable decisions beside an empty view and the obvious service, by wrk.

Run with `python -m benchmarks.serving`. All of it shares this machine: client, servers, database. So only ratios of
one interleaved run mean anything; figures are medians over rounds.
"""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import urllib3

from app.embedded import EmbeddedPostgres
from benchmarks.results import save

_KEY = "benchmark-key-with-every-scope"
_ROOT = Path(__file__).parents[1]
_ROUNDS = int(os.environ.get("ROUNDS", "5"))
_SECONDS = int(os.environ.get("SECONDS_EACH", "4"))
_PORTS = {"croupier": 8310, "bare": 8311, "obvious": 8312}
_BODY = {"experiment": "bench", "unit": "user-1", "k": 10, "context": {"device": "ios"}}
_EXPERIMENT = {
    "arms": [
        {"key": arm, "recommender": {"kind": "static", "items": [f"{arm}{i}" for i in range(10)]}} for arm in "ab"
    ]
}
# (figure, numerator, denominator, connections, bar, goal); a ratio of rates must reach its bar.
_BARS = (
    ("decisions/s ÷ bare, 32 connections", "croupier", "bare", 32, 0.5, 0.75),
    ("decisions/s ÷ bare, 128 connections", "croupier", "bare", 128, 0.7, 0.85),
    ("decisions/s ÷ obvious, 32 connections", "croupier", "obvious", 32, 2.0, 3.0),
)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def main() -> int:
    """Prints the table; the exit code."""
    if shutil.which("wrk") is None:
        print("serving: skipped, wrk is not installed (Debian: apt-get install wrk)")
        return 0
    result = run()
    save("serving", result)
    failed = False
    print(f"{'figure':44} {'measured':>9} {'required':>9} {'goal':>6}")
    for row in result["figures"]:
        failed |= not row["passed"]
        print(f"{row['figure']:44} {row['measured']:9.2f} {row['required']:9.2f} {row['goal']:6.2f}")
    for connections, latencies in result["latency_ms"].items():
        print(f"latency at {connections} connections, p50/p99 ms: {latencies}")
    return int(failed)


def run() -> dict[str, Any]:
    """All figures."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="croupier-bench-")))
        stack.enter_context(_servers(folder))
        measured = {c: _measure(c, folder) for c in (1, 32, 128)}
    figures = []
    for figure, above, below, connections, bar, goal in _BARS:
        ratio = statistics.median(
            a["rate"] / b["rate"]
            for a, b in zip(measured[connections][above], measured[connections][below], strict=True)
        )
        figures.append(
            {"figure": figure, "measured": ratio, "required": bar, "goal": goal, "passed": ratio >= bar}
        )
    latency = {
        c: {
            name: tuple(round(statistics.median(r[q] for r in rounds) * 1e3, 2) for q in ("p50", "p99"))
            for name, rounds in servers.items()
        }
        for c, servers in measured.items()
    }
    rates = {c: {n: [round(r["rate"]) for r in rounds] for n, rounds in s.items()} for c, s in measured.items()}
    return {"figures": figures, "latency_ms": latency, "rates": rates}


def _measure(connections: int, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Rounds of every server, in turn."""
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in _PORTS}
    for _ in range(_ROUNDS):
        for name, port in _PORTS.items():
            rounds[name].append(_wrk(port, connections, folder))
    return rounds


def _wrk(port: int, connections: int, folder: Path) -> dict[str, float]:
    """One run of wrk: requests a second, and latencies in seconds."""
    script = folder / "post.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        f'wrk.headers["Authorization"] = "Bearer {_KEY}"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = {json.dumps(json.dumps(_BODY))}\n"
    )
    url = f"http://127.0.0.1:{port}/v1/recommendations"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{_SECONDS}", "--latency", "-s", str(script), url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        raise RuntimeError(f"port {port} answered errors:\n{out}")
    found = {q: re.search(rf"{q}%\s+([\d.]+)(us|ms|s)", out) for q in ("50", "99")}
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    seconds = {f"p{q}": float(m[1]) * _UNITS[m[2]] for q, m in found.items() if m}
    return {"rate": float(rate[1]) if rate else 0.0, **seconds}


@contextmanager
def _servers(folder: Path) -> Iterator[None]:
    """Croupier, the bare view and the obvious service, each with two workers, and one PostgreSQL."""
    postgres = EmbeddedPostgres(folder)
    url = postgres.start()
    plain_url = url.replace("postgresql+psycopg2://", "postgresql://")
    environment = {
        **os.environ,
        "CROUPIER_BOOTSTRAP_KEY": _KEY,
        "CROUPIER_PORT": str(_PORTS["croupier"]),
        "CROUPIER_DATA_DIR": str(folder),
        "CROUPIER_LOG_LEVEL": "warning",
        "DATABASE_URL": plain_url,
    }
    processes = [_start([sys.executable, "-m", "app.cli", "up"], environment)]
    try:
        _await_ready(f"http://127.0.0.1:{_PORTS['croupier']}/readyz")
        _prepare(plain_url)
        processes += [_start(_gunicorn(name), environment) for name in ("bare", "obvious")]
        for name in ("bare", "obvious"):
            _await_ready(f"http://127.0.0.1:{_PORTS[name]}/")
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)
        postgres.stop()


def _gunicorn(name: str) -> list[str]:
    """The same server and kind of worker as Croupier's."""
    options = ["--worker-class", "gevent", "--workers", "2", "--keep-alive", "75", "--no-control-socket"]
    bind = ["--bind", f"127.0.0.1:{_PORTS[name]}", "--log-level", "warning"]
    return [sys.executable, "-m", "gunicorn", *options, *bind, f"benchmarks.rivals:{name}"]


def _start(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=dict(environment), cwd=_ROOT)


def _prepare(url: str) -> None:
    """The experiment, and the obvious service's table."""
    http = urllib3.PoolManager()
    headers = {"Authorization": f"Bearer {_KEY}"}
    answer = http.request(
        "PUT",
        f"http://127.0.0.1:{_PORTS['croupier']}/v1/experiments/bench",
        body=json.dumps(_EXPERIMENT),
        headers=headers,
    )
    if answer.status not in {200, 201}:
        raise RuntimeError(answer.data.decode())
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE obvious_decisions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, experiment text,"
            " unit text, arm text, propensity float8, at timestamptz DEFAULT now())"
        )
    connection.close()


def _await_ready(url: str) -> None:
    http = urllib3.PoolManager(retries=False)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            if http.request("GET", url).status in {200, 404}:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} is not ready after 30 s")


if __name__ == "__main__":
    sys.exit(main())
