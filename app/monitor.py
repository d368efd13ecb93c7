"""The monitor: housekeeping beside serving. One is active, others stand by.

It makes partitions ahead of time and ends old ones, keeps the statistics small, matches events that came before their
decision, counts how long decisions took, and works out figures of closed windows.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from app import integrity
from app.latency import LatencyCount
from app.learning import last_mature_bucket
from app.roles import run_as_only_one
from app.serving.apart import write_apart
from app.serving.events import EventWriter, entry_of
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.serving.verdicts import Rejection, Verdict
from app.store import (
    alerts,
    avatars,
    drift_results,
    erasure,
    experiments,
    exposures,
    feedback,
    metric_values,
    partitions,
    quarantine,
    retention,
)
from app.store.compaction import compact
from app.store.database import Connection, Database, cursor_of
from app.store.events import Event
from app.store.indexes import build_next
from app.store.targets import resolve
from monitoring.instruments import MONITOR_PASS
from monitoring.meter import Meter

__all__ = ["Housekeeping", "compact_all", "expire_unmatched", "grow", "match_unmatched", "run"]

Sent = TypeVar("Sent", bound=Event)

log = logging.getLogger(__name__)

_MONITOR_LOCK = 0x6D6F6E69746F72
# The statistics' shard that is the monitor's own: web workers count from 0.
_SHARD = 32_767
_MOST_AT_ONCE = 500
_GROWTH_EVERY = timedelta(hours=1)
_COMPACTION_EVERY = timedelta(minutes=1)
_LATENCIES_EVERY = timedelta(seconds=20)
# Figures of closed windows are few: they are kept for a year and a month, whenever the log goes.
_FIGURES_KEPT = timedelta(days=400)


def run(database: Database, *, interval_s: float, retention_days: int, stop: threading.Event, meter: Meter) -> None:
    """Keeps house until `stop` is set."""
    housekeeping = Housekeeping(database, retention_days)

    def work() -> None:
        with meter.timing(MONITOR_PASS):
            housekeeping.once(datetime.now(UTC))

    run_as_only_one(database, _MONITOR_LOCK, work, interval_s=interval_s, stop=stop)


def match_unmatched(database: Database, now: datetime) -> int:
    """Tries events that are due for another match; returns how many were settled.

    Events that a decision has come for are recorded, or put in quarantine, as if they had come now; those still without
    one are tried later and later.
    """
    return _match(database, now, FeedbackWriter(shard=_SHARD)) + _match(database, now, ExposureWriter(shard=_SHARD))


def expire_unmatched(database: Database, before: datetime) -> int:
    """Puts events about decisions of before a moment, which never came, in quarantine; returns how many."""
    detail = "its decision never came"
    count = 0
    for waiting in (feedback.UNMATCHED, exposures.UNMATCHED):
        while True:
            with database.transaction() as connection:
                cursor = cursor_of(connection)
                expired = waiting.expire(cursor, before, _MOST_AT_ONCE)
                if not expired:
                    break
                rejection = Rejection(reason="no_decision", detail=detail)
                quarantine.keep(cursor, [entry_of(event, rejection) for event in expired])
            count += len(expired)
    return count


def grow(database: Database, now: datetime, retention_days: int) -> None:
    """What a growing log needs: partitions ahead of time, and the end of all that is too old."""
    with database.transaction() as connection:
        partitions.make_partitions(connection, now)
        known = experiments.all_of(connection)
    kept_since = retention.keep_since(now, retention_days)
    dropped = retention.drop_old_partitions(database, kept_since)
    if dropped:
        log.info("dropped %s", ", ".join(dropped))
    late_until = max((timedelta(seconds=e.specification.reward.late_until_s) for e in known), default=timedelta.max)
    expire_unmatched(database, now - min(late_until, timedelta(days=retention_days)))
    with database.transaction() as connection:
        quarantine.delete_old(connection, None, kept_since)
        alerts.delete_old_flips(connection, kept_since)
        erasure.delete_old(connection, kept_since)
    for experiment in known:
        days = experiment.specification.retention_days
        since = kept_since if days is None else max(kept_since, retention.keep_since(now, days))
        if since > kept_since:
            retention.delete_old_events(database, experiment.key, since)
        with database.transaction() as connection:
            retention.delete_old_allocations(connection, experiment.key, since)
            retention.delete_old_units(connection, experiment.key, since)
            drift_results.delete_old(connection, experiment.key, since)
            quarantine.delete_old(connection, experiment.key, since)
            avatars.delete_old_looks(connection, experiment.key, since)
            metric_values.delete_old(connection, experiment.key, since, narrower_than_s=3600)
            metric_values.delete_old(connection, experiment.key, min(kept_since, now - _FIGURES_KEPT))


def compact_all(database: Database, now: datetime) -> int:
    """Compacts the statistics of every experiment; returns how many coarse rows were written."""
    with database.transaction() as connection:
        known = experiments.all_of(connection)
    written = 0
    for experiment in known:
        mature = last_mature_bucket(experiment.specification, now)
        with database.autocommit() as connection:
            written += compact(connection, experiment.key, mature, now, experiment.specification.memory)
    return written


class Housekeeping:
    """What the monitor does, and when it did it last."""

    def __init__(self, database: Database, retention_days: int) -> None:
        self._database = database
        self._retention_days = retention_days
        self._done_at: dict[str, datetime] = {}
        self._measured_until: datetime | None = None
        self._latencies = LatencyCount(database)

    def once(self, now: datetime) -> None:
        """Everything that is due."""
        if self._is_due("growth", _GROWTH_EVERY, now):
            grow(self._database, now, self._retention_days)
        if self._is_due("compaction", _COMPACTION_EVERY, now):
            compact_all(self._database, now)
            build_next(self._database)
        closed = integrity.last_closed(now)
        if closed != self._measured_until:
            integrity.measure(self._database, closed)
            self._measured_until = closed
        while match_unmatched(self._database, now):
            pass
        if self._is_due("latencies", _LATENCIES_EVERY, now):
            self._latencies.go_on(now)

    def _is_due(self, job: str, every: timedelta, now: datetime) -> bool:
        due = job not in self._done_at or now - self._done_at[job] >= every
        if due:
            self._done_at[job] = now
        return due


def _match(database: Database, now: datetime, writer: EventWriter[Sent, Any]) -> int:
    """Tries what waits for its decision. Claims are committed first: whatever fails later, they are put off."""
    with database.transaction() as connection:
        cursor = cursor_of(connection)
        due = writer.waiting.claim(cursor, now, _MOST_AT_ONCE)
        known = resolve(cursor, sorted({event.decision_id for event in due})) if due else {}

    def forget(connection: Connection, verdicts: Sequence[tuple[Sent, Verdict]]) -> None:
        settled = [event for event, verdict in verdicts if verdict.status != "unmatched"]
        writer.waiting.forget(cursor_of(connection), settled)

    ready = [event for event in due if event.decision_id in known]
    verdicts = write_apart(database, writer, ready, forget)
    return sum(verdict is not None and verdict.status != "unmatched" for verdict in verdicts)
