"""The monitor: housekeeping beside serving. One is active, others stand by.

It makes partitions ahead of time, and matches feedback that came before its decision.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from app.roles import run_as_only_one
from app.serving.feedback import FeedbackWriter
from app.specification import Specification
from app.store import experiments, feedback, partitions
from app.store.database import Connection, Database, cursor_of

__all__ = ["match_unmatched", "run"]

log = logging.getLogger(__name__)

_MONITOR_LOCK = 0x6D6F6E69746F72
# The statistics' shard that is the monitor's own: web workers count from 0.
_SHARD = 32_767
_MOST_AT_ONCE = 500
_PARTITIONS_EVERY = timedelta(hours=1)


def run(database: Database, *, interval_s: float, stop: threading.Event) -> None:
    """Keeps house until `stop` is set."""
    work = _Housekeeping(database).once
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


class _Housekeeping:
    """What the monitor does, and when it did it last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitions_made_at: datetime | None = None

    def once(self) -> None:
        """Everything that is due."""
        now = datetime.now(UTC)
        if self._partitions_made_at is None or now - self._partitions_made_at >= _PARTITIONS_EVERY:
            with self._database.transaction() as connection:
                partitions.make_partitions(connection, now)
            self._partitions_made_at = now
        while match_unmatched(self._database, now):
            pass


def _specifications(connection: Connection) -> Callable[[str], Specification]:
    def specification_of(key: str) -> Specification:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise LookupError(f"decisions name experiment {key!r}, which does not exist")
        return experiment.specification

    return specification_of
