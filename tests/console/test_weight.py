"""Pages stay usable when there is much to show."""

import gzip
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from flask.testing import FlaskClient

from app import create_app, experiments, operators
from app.operators import Role
from app.services import Services
from app.settings import Settings
from app.store.database import Database
from tests.console import watching
from tests.console.conftest import PASSWORD
from tests.console.populating import History, alert, fill, reject
from tests.console.test_log_in import enter

log = logging.getLogger(__name__)

_LARGEST = 150_000  # bytes, compressed
# On a quiet machine 150 ms are the aim, and README says what was measured; tests run on busy ones.
_LONGEST_S = 1.5
PATHS = [
    "/",
    "/experiments/wide?range=90d",
    "/experiments/wide/charts/rate?range=90d",
    "/experiments/wide/metrics",
    "/quality?experiment=wide&range=90d",
    "/quality/charts/offline/ndcg.json?experiment=wide&range=90d",
    "/data?experiment=wide",
    "/data/charts/drift.json?experiment=wide&range=30d",
    "/data/quarantine?experiment=wide",
    "/users?unit=reader-0",
    "/preview?experiment=lists&unit=reader-0",
    "/evaluate?experiment=wide",
    "/alerts?range=30d",
    "/alerts/rules?experiment=wide",
    "/service",
    "/service/charts/throughput.json?range=30d",
]
_HTTPS = "https://croupier.example"


@pytest.fixture(scope="module")
def client(new_database: Callable[[], str]) -> Iterator[FlaskClient]:
    """200 experiments, and one with 50 arms and 90 days."""
    url, now = new_database(), datetime.now(UTC)
    database = Database(url)
    operators.create(database, "ana", PASSWORD, Role.OPERATOR, actor="tests")
    for number in range(200):
        rates = {"a": 0.05, "b": 0.051, "c": 0.049}
        fill(database, f"experiment-{number:03}", History(rates=rates, days=3, per_day=3000, seed=number), now)
    draws = np.random.default_rng(1).uniform(0.03, 0.06, 50)
    wide = {f"arm-{number:02}": float(rate) for number, rate in enumerate(draws)}
    fill(database, "wide", History(rates=wide, days=90, per_day=50_000), now)
    _watched(database, [*wide], now)
    database.close()
    services = Services.build(Settings(), url)
    services.allocations.refresh()
    client = create_app(services).test_client()
    assert enter(client, "ana").status_code == 303
    yield client
    services.close()


def _watched(database: Database, arms: Sequence[str], now: datetime) -> None:
    """All that there can be about the wide experiment, alerts everywhere, and a unit that comes often."""
    watching.days(database, "wide", arms, now, count=90, whole=1)
    watching.data_quality(database, "wide", now, windows=48)
    watching.drift(database, "wide", arms, now, windows=4)
    reject(database, "wide", "arm-00", 200)
    for number in range(60):
        alert(database, f"experiment-{number:03}", "fallbacks", now, severity="ticket")
    experiments.put(database, "lists", watching.LISTS, state="running", if_match=None, actor="ana")
    watching.log(database, "lists", now, units=4, rounds=100)


@pytest.mark.parametrize("path", PATHS)
def test_large_pages_are_light(path: str, client: FlaskClient) -> None:
    """Less than 150 kB compressed, and answered before anybody wonders; the time ÷ an empty page's goes to the log."""
    answer = client.get(f"/console{path}", base_url=_HTTPS)
    assert answer.status_code == 200
    text = answer.data
    took, empty = _median(client, path), _median(client, "/nothing")
    log.info(
        "%s: %.0f ms, %.1f × an empty page, %.1f kB", path, took * 1e3, took / empty, len(gzip.compress(text)) / 1e3
    )
    assert len(gzip.compress(text)) < _LARGEST
    assert took < _LONGEST_S


def _median(client: FlaskClient, path: str) -> float:
    took = []
    for _ in range(5):
        began = time.perf_counter()
        client.get(f"/console{path}", base_url=_HTTPS)
        took.append(time.perf_counter() - began)
    return statistics.median(took)
