"""Model quality as metrics: what the learner believes of each experiment, noted for whoever watches it."""

import logging
from datetime import datetime

from app.errors import Unavailable
from app.reports import ArmsReport, arms_report
from app.store import allocations, experiments
from app.store.database import Database
from monitoring.instruments import (
    ALLOCATION_DATA_AGE,
    ARM_PROBABILITY_BEST,
    ARM_PROPENSITY,
    ARM_REWARD_MEAN,
    ARM_SHARE,
    REGRET,
)
from monitoring.meter import Meter

__all__ = ["note_quality", "regret_of"]

log = logging.getLogger(__name__)


def note_quality(database: Database, meter: Meter, now: datetime) -> None:
    """Notes the figures of every running experiment.

    Raises:
        Unavailable: the database is away.
    """
    with database.transaction() as connection:
        keys = experiments.running(connection)
    for key in keys:
        try:
            _note_arms(meter, arms_report(database, key, now))
            _note_age(database, meter, key, now)
        except Unavailable:
            raise
        except Exception:  # one experiment without figures must not cost the others theirs
            log.exception("cannot measure", extra={"experiment": key})


def regret_of(report: ArmsReport) -> float | None:
    """The reward that exposures so far have missed, Σ n_a (max_b μ_b − μ_a), by the posterior means; None: no belief.

    An estimate for watching a trend: the largest of several means is biased upwards while little is known.
    """
    known = [(arm.exposures, arm.mean) for arm in report.arms if arm.mean is not None]
    best = max((mean for _, mean in known), default=None)
    return None if best is None else sum(exposures * (best - mean) for exposures, mean in known)


def _note_arms(meter: Meter, report: ArmsReport) -> None:
    for arm in report.arms:
        figures = {
            ARM_PROPENSITY: arm.propensity,
            ARM_SHARE: arm.share,
            ARM_REWARD_MEAN: arm.mean,
            ARM_PROBABILITY_BEST: arm.probability_best,
        }
        for instrument, value in figures.items():
            if value is not None:
                meter.add(instrument, (report.experiment, arm.arm), value)
    regret = regret_of(report)
    if regret is not None:
        meter.add(REGRET, (report.experiment,), regret)


def _note_age(database: Database, meter: Meter, key: str, now: datetime) -> None:
    with database.transaction() as connection:
        experiment = experiments.find(connection, key)
        current = experiment and allocations.find(connection, key, experiment.allocation)
    if current:
        meter.add(ALLOCATION_DATA_AGE, (key,), (now - current.data_as_of).total_seconds())
