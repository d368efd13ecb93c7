"""The monitor: housekeeping beside serving. One is active, others stand by.

It makes partitions ahead of time and ends old ones, keeps the statistics small, and matches feedback that came before
its decision.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.learning import last_mature_bucket
from app.roles import run_as_only_one
from app.serving.feedback import FeedbackWriter
from app.specification import Specification
from app.store import experiments, feedback, partitions, retention
from app.store.compaction import compact
from app.store.database import Connection, Database, cursor_of
from monitoring.instruments import MONITOR_PASS
from monitoring.meter import Meter

__all__ = ["compact_all", "grow", "match_unmatched", "run"]

log = logging.getLogger(__name__)

_MONITOR_LOCK = 0x6D6F6E69746F72
# The statistics' shard that is the monitor's own: web workers count from 0.
_SHARD = 32_767
_MOST_AT_ONCE = 500
_GROWTH_EVERY = timedelta(hours=1)
_COMPACTION_EVERY = timedelta(minutes=1)


def run(database: Database, *, interval_s: float, retention_days: int, stop: threading.Event, meter: Meter) -> None:
    """Keeps house until `stop` is set."""
    housekeeping = _Housekeeping(database, retention_days)

    def work() -> None:
        with meter.timing(MONITOR_PASS):
            housekeeping.once()

    run_as_only_one(database, _MONITOR_LOCK, work, interval_s=interval_s, stop=stop)


def match_unmatched(database: Database, now: datetime) -> int:
    """Tries events that are due for another match; returns how many were settled.

    Events that a decision has come for are recorded as if they had come now; those that do not fit it stay, with
    their reason in the log, as do those still without one, to be tried later and later.
    """
    with database.transaction() as connection:
        cursor = cursor_of(connection)
        due = feedback.claim_unmatched(cursor, now, _MOST_AT_ONCE)
        known = feedback.resolve(cursor, sorted({event.decision_id for event in due})) if due else {}
        ready = [event for event in due if event.decision_id in known]
        if not ready:
            return 0
        writer = FeedbackWriter(_specifications(connection), shard=_SHARD)
        verdicts = list(zip(ready, writer.write(cursor, ready), strict=True))
        settled = [event for event, verdict in verdicts if verdict.rejection is None]
        feedback.forget_unmatched(cursor, settled)
    for event, verdict in verdicts:
        if verdict.rejection:
            log.warning("feedback %s does not fit its decision: %s", event.key, verdict.rejection.reason)
    return len(settled)


def grow(database: Database, now: datetime, retention_days: int) -> None:
    """What a growing log needs: partitions ahead of time, and the end of those that are too old."""
    with database.transaction() as connection:
        partitions.make_partitions(connection, now)
        known = experiments.all_of(connection)
    kept_since = retention.keep_since(now, retention_days)
    dropped = retention.drop_old_partitions(database, kept_since)
    if dropped:
        log.info("dropped %s", ", ".join(dropped))
    for experiment in known:
        days = experiment.specification.retention_days
        since = kept_since if days is None else max(kept_since, retention.keep_since(now, days))
        if since > kept_since:
            retention.delete_old_events(database, experiment.key, since)
        with database.transaction() as connection:
            retention.delete_old_allocations(connection, experiment.key, since)


def compact_all(database: Database, now: datetime) -> int:
    """Compacts the statistics of every experiment; returns how many coarse rows were written."""
    with database.transaction() as connection:
        known = experiments.all_of(connection)
    written = 0
    for experiment in known:
        mature = last_mature_bucket(experiment.specification, now)
        with database.autocommit() as connection:
            written += compact(connection, experiment.key, mature, now)
    return written


class _Housekeeping:
    """What the monitor does, and when it did it last."""

    def __init__(self, database: Database, retention_days: int) -> None:
        self._database = database
        self._retention_days = retention_days
        self._done_at: dict[str, datetime] = {}

    def once(self) -> None:
        """Everything that is due."""
        now = datetime.now(UTC)
        if self._is_due("growth", _GROWTH_EVERY, now):
            grow(self._database, now, self._retention_days)
        if self._is_due("compaction", _COMPACTION_EVERY, now):
            compact_all(self._database, now)
        while match_unmatched(self._database, now):
            pass

    def _is_due(self, job: str, every: timedelta, now: datetime) -> bool:
        due = job not in self._done_at or now - self._done_at[job] >= every
        if due:
            self._done_at[job] = now
        return due


def _specifications(connection: Connection) -> Callable[[str], Specification]:
    def specification_of(key: str) -> Specification:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise LookupError(f"decisions name experiment {key!r}, which does not exist")
        return experiment.specification

    return specification_of
