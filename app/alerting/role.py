"""The part of the monitor that evaluates alerts and delivers them. One is active, others stand by."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import urllib3

from app.alerting.delivery import announce, deliver, tell_log
from app.alerting.evaluation import evaluate_all
from app.outgoing import Guard
from app.roles import run_as_only_one
from app.store import alerts
from app.store.database import Database
from monitoring.instruments import ALERTS_FIRING
from monitoring.meter import Meter

__all__ = ["FiringGauge", "alert_once", "run"]

_ALERT_LOCK = 0x616C65727473


class FiringGauge:
    """How many alerts fire, for who watches metrics."""

    def __init__(self, database: Database, meter: Meter) -> None:
        self._database = database
        self._meter = meter
        self._noted: set[tuple[str, str, str]] = set()

    def note(self) -> None:
        """Notes what fires, and once more, as 0, what did before."""
        with self._database.transaction() as connection:
            firing = alerts.firing(connection)
        for labels in self._noted | firing.keys():
            self._meter.add(ALERTS_FIRING, labels, firing.get(labels, 0))
        self._noted = set(firing)


def run(
    database: Database,
    *,
    interval_s: float,
    alertmanagers: Sequence[str],
    runbook_url: str | None,
    guard: Guard,
    stop: threading.Event,
    meter: Meter,
) -> None:
    """Evaluates and delivers until `stop` is set; `guard`: where webhooks may be. Alertmanagers are the operator's."""
    pool = urllib3.PoolManager()
    gauge, interval = FiringGauge(database, meter), timedelta(seconds=interval_s)

    def work() -> None:
        now, urls = datetime.now(UTC), alertmanagers
        alert_once(database, pool, now, interval=interval, urls=urls, runbook_url=runbook_url, guard=guard, gauge=gauge)

    run_as_only_one(database, _ALERT_LOCK, work, interval_s=interval_s, stop=stop)


def alert_once(
    database: Database,
    pool: urllib3.PoolManager,
    now: datetime,
    *,
    interval: timedelta,
    urls: Sequence[str],
    runbook_url: str | None,
    guard: Guard,
    gauge: FiringGauge,
) -> None:
    """One pass. What was committed and not delivered, by this pass or one before, is delivered.

    Raises:
        Unavailable: the database is away.
    """
    tell_log(evaluate_all(database, now))
    gauge.note()
    deliver(database, guard, now, runbook_url=runbook_url)
    announce(database, pool, urls, now, interval, runbook_url=runbook_url)
