"""Starts what is measured: Croupier, its rivals, one PostgreSQL."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import urllib3

from app.embedded import EmbeddedPostgres
from app.store.database import Database
from app.store.migrate import migrate
from benchmarks import wrk
from tests.collecting import collector
from tests.running import ADMIN_KEY, Api, running_service, until

_ROOT = Path(__file__).parents[1]
CROUPIER, BARE, OBVIOUS, SILENT, TELLING = (f"http://127.0.0.1:{port}" for port in range(8310, 8315))
DECISION = {"experiment": "bench", "unit": "user-1", "k": 10, "context": {"device": "ios"}}
_ITEMS = [str(i) for i in range(10)]
EXPERIMENT = {"arms": [{"key": a, "recommender": {"kind": "static", "items": _ITEMS}} for a in "ab"]}


@contextmanager
def croupier(folder: Path) -> Iterator[tuple[str, str]]:
    """Croupier alone, on a PostgreSQL of its own; yields its URL and a key with every scope."""
    postgres = EmbeddedPostgres(folder)
    url = postgres.start()
    database = Database(url)
    migrate(database, datetime.now(UTC))
    database.close()
    try:
        with running_service(url, folder) as service:
            yield service.url, ADMIN_KEY
    finally:
        postgres.stop()


@contextmanager
def servers(folder: Path) -> Iterator[str]:
    """Croupier, the bare view and the obvious service, each with two workers, on one PostgreSQL; yields its URL.

    Of Croupier there are two more web servers: one without any telemetry, and one with every kind.
    """
    postgres = EmbeddedPostgres(folder)
    url = postgres.start().replace("postgresql+psycopg2://", "postgresql://")
    environment = {
        **os.environ,
        "CROUPIER_BOOTSTRAP_KEY": wrk.KEY,
        "CROUPIER_PORT": CROUPIER.rpartition(":")[2],
        "CROUPIER_DATA_DIR": str(folder),
        "CROUPIER_LOG_LEVEL": "warning",
        # Long, so that what is measured is commits, and never the spool.
        "CROUPIER_COMMIT_BUDGET_MS": "10000",
        "DATABASE_URL": url,
        "OPENBLAS_NUM_THREADS": "1",
    }
    commands = [[sys.executable, "-m", "app.cli", "up"], _gunicorn("bare", BARE), _gunicorn("obvious", OBVIOUS)]
    with collector() as receiver, (folder / "requests.log").open("wb") as log:
        telling = {
            "CROUPIER_LOG_LEVEL": "info",
            "CROUPIER_REQUEST_LOG": "on",
            "CROUPIER_METRICS": "on",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_METRIC_EXPORT_INTERVAL": "10000",  # six times as often as by default
        }
        processes = [subprocess.Popen(command, env=environment, cwd=_ROOT) for command in commands]
        try:
            _until_ready(CROUPIER, "/readyz")  # it has migrated the database
            silent = _web(SILENT, folder) | {"CROUPIER_METRICS": "off"}
            command = [sys.executable, "-m", "app.cli", "web"]
            processes.append(subprocess.Popen(command, env=environment | silent, cwd=_ROOT))
            of_telling = environment | _web(TELLING, folder) | telling
            processes.append(subprocess.Popen(command, env=of_telling, cwd=_ROOT, stderr=log))
            _prepare(url)
            yield url
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)
            postgres.stop()


def _web(url: str, folder: Path) -> dict[str, str]:
    port = url.rpartition(":")[2]
    return {"CROUPIER_PORT": port, "CROUPIER_DATA_DIR": str(folder / port)}


def _gunicorn(name: str, url: str) -> list[str]:
    """The same server and kind of worker as Croupier's."""
    options = ["--worker-class", "gevent", "--workers", "2", "--keep-alive", "75", "--no-control-socket"]
    bind = ["--bind", url.removeprefix("http://"), "--log-level", "warning"]
    return [sys.executable, "-m", "gunicorn", *options, *bind, f"benchmarks.rivals:{name}"]


def _prepare(database_url: str) -> None:
    """The experiment, and the obvious service's table."""
    api = Api(CROUPIER, wrk.KEY)
    for url, path in ((SILENT, "/readyz"), (TELLING, "/readyz"), (BARE, "/alive"), (OBVIOUS, "/alive")):
        _until_ready(url, path)
    api.put("/v1/experiments/bench", EXPERIMENT).ok()
    connection = psycopg2.connect(database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE obvious_decisions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, experiment text,"
            " unit text, arm text, propensity float8, at timestamptz DEFAULT now())"
        )
    connection.close()


def _until_ready(url: str, path: str) -> None:
    api = Api(url, None)
    until(lambda: _answers(api, path), f"{url} to be ready")
    api.close()


def some_decisions() -> list[str]:
    """Ids of 20,000 decisions, for feedback."""
    api = Api(CROUPIER, wrk.KEY)
    batches = [api.post("/v1/recommendations/batch", {"requests": [DECISION] * 1000}).ok() for _ in range(20)]
    return [result["decision_id"] for batch in batches for result in batch["results"]]


def _answers(api: Api, path: str) -> bool:
    try:
        return api.get(path).status == 200
    except urllib3.exceptions.HTTPError:
        return False
