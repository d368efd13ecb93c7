"""The learner: turns new statistics into new allocations. One is active, others stand by."""

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from app.errors import Unavailable
from app.learning import Evidence, allocation_of, publish_allocation, read_evidence, shadow_of
from app.quality import note_quality
from app.roles import run_as_only_one
from app.store import allocations, experiments
from app.store.allocations import AllocationRecord
from app.store.database import Database
from app.store.experiments import Experiment
from bandits.policy import Allocation
from monitoring.instruments import LEARNER_PASS
from monitoring.meter import Meter

__all__ = ["learn_once", "run"]

log = logging.getLogger(__name__)

_LEARNER_LOCK = 0x6C6561726E6572
# Between two learned allocations of one experiment: more would fill the history with changes in the sixth digit.
_REST = timedelta(seconds=1)
# Under steady traffic each pass has new statistics, but a policy that has learned hardly moves any more. After so many
# allocations in so long, one that moves no probability by this much waits for its turn: one in ten seconds.
_MANY, _LATELY = 60, timedelta(minutes=10)
_MATTERS = 0.001
# P(best) of a thousand arms takes a tenth of a second; who watches it looks every 15 seconds or so.
_MEASURE_EVERY = timedelta(seconds=10)


def run(database: Database, *, interval_s: float, stop: threading.Event, meter: Meter) -> None:
    """Learns until `stop` is set."""
    work = _Learning(database, meter).once
    run_as_only_one(database, _LEARNER_LOCK, work, interval_s=interval_s, stop=stop)


def learn_pass(database: Database) -> int:
    """One look at every experiment; returns how many new allocations it made.

    Raises:
        Unavailable: the database is away.
    """
    with database.transaction() as connection:
        keys = experiments.running(connection)
    made = 0
    for key in keys:
        try:
            made += learn_once(database, key, datetime.now(UTC))
        except Unavailable:
            raise
        except Exception:  # one experiment that cannot be learned from must not stop the others
            log.exception("cannot learn", extra={"experiment": key})
    return made


def learn_once(database: Database, key: str, now: datetime) -> bool:
    """Makes a new allocation for one experiment if its statistics have changed; says whether it did."""
    with database.transaction() as connection:
        if not _news(connection, experiments.find(connection, key), now):
            return False
        # Looked at again under the lock: another learner or a change of configuration may have come in between.
        experiment = experiments.find(connection, key, lock=True)
        evidence = _news(connection, experiment, now)
        if experiment is None or evidence is None:
            return False
        publish_allocation(connection, experiment, evidence, data_as_of=now, cause="learned")
        return True


class _Learning:
    """What the learner does, and when it measured what came of it last."""

    def __init__(self, database: Database, meter: Meter) -> None:
        self._database = database
        self._meter = meter
        self._measured_at: datetime | None = None

    def once(self) -> None:
        """A look at every experiment; now and then their figures."""
        with self._meter.timing(LEARNER_PASS):
            learn_pass(self._database)
        now = datetime.now(UTC)
        if self._measured_at is None or now - self._measured_at >= _MEASURE_EVERY:
            self._measured_at = now
            note_quality(self._database, self._meter, now)


def _news(connection: sa.Connection, experiment: Experiment | None, now: datetime) -> Evidence | None:
    """The evidence, if it differs from that which the allocation in force was made from, and is worth another one.

    A memory that fades changes the evidence by time alone: that is worth one when it moves a probability.
    """
    current = experiment and allocations.find(connection, experiment.key, experiment.allocation)
    if not experiment or not current or now - current.created_at < _REST:
        return None
    evidence = read_evidence(connection, experiment, now)
    if evidence.as_mapping() == current.evidence:
        return None
    if _moves(experiment, evidence, current):
        return evidence
    if evidence.counted_as_in(current.evidence) or _is_busy(connection, current, now):
        return None
    return evidence


def _moves(experiment: Experiment, evidence: Evidence, current: AllocationRecord) -> bool:
    """Whether the evidence changes an arm's probability, live or of the shadow, by enough to matter."""
    specification = experiment.specification
    if _differ(allocation_of(specification, evidence), current.probabilities):
        return True
    shadow = shadow_of(specification, evidence)
    return shadow is not None and (current.shadow is None or _differ(shadow, current.shadow["probabilities"]))


def _differ(proposed: Allocation, current: Mapping[str, float]) -> bool:
    return any(abs(p - current.get(arm, 0.0)) >= _MATTERS for arm, p in proposed.as_mapping().items())


def _is_busy(connection: sa.Connection, current: AllocationRecord, now: datetime) -> bool:
    """Whether there were many allocations lately: then those that change next to nothing can wait."""
    earlier = allocations.find(connection, current.experiment, current.number - _MANY)
    rested = now - current.created_at >= _LATELY / _MANY
    return not rested and earlier is not None and now - earlier.created_at < _LATELY
