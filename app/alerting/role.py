"""The part of the monitor that evaluates alerts and delivers them. One is active, others stand by."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import urllib3

from app.alerting.delivery import announce, deliver, tell_log
from app.alerting.evaluation import evaluate_all
from app.outgoing import Guard
from app.roles import run_as_only_one
from app.store.database import Database

__all__ = ["alert_once", "run"]

_ALERT_LOCK = 0x616C65727473


def run(
    database: Database, *, interval_s: float, alertmanagers: Sequence[str], guard: Guard, stop: threading.Event
) -> None:
    """Evaluates and delivers until `stop` is set; `guard`: where webhooks may be. Alertmanagers are the operator's."""
    pool = urllib3.PoolManager()

    def work() -> None:
        now, interval = datetime.now(UTC), timedelta(seconds=interval_s)
        alert_once(database, pool, now, interval=interval, urls=alertmanagers, guard=guard)

    run_as_only_one(database, _ALERT_LOCK, work, interval_s=interval_s, stop=stop)


def alert_once(
    database: Database,
    pool: urllib3.PoolManager,
    now: datetime,
    *,
    interval: timedelta,
    urls: Sequence[str],
    guard: Guard,
) -> None:
    """One pass. What was committed and not delivered, by this pass or one before, is delivered.

    Raises:
        Unavailable: the database is away.
    """
    tell_log(evaluate_all(database, now))
    deliver(database, guard, now)
    announce(database, pool, urls, now, interval)
