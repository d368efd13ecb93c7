"""Where readings are taken, and the figures that more than one kind of rule reads."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from sqlalchemy import Connection

from app.store import metric_values
from app.store import readings as store
from app.store.experiments import Experiment

__all__ = ["Place", "Pooled", "Rewards", "pooled", "rewards"]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and when to read."""

    connection: Connection
    experiment: Experiment
    now: datetime

    def window(self, seconds: float) -> tuple[datetime, datetime]:
        """The last seconds."""
        return self.now - timedelta(seconds=seconds), self.now + timedelta(days=1)

    def traffic(self, seconds: float) -> store.Traffic:
        """Decisions of the last seconds."""
        return store.traffic(self.connection, self.experiment.key, self.window(seconds))


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """Outcomes of exposures."""

    n: float = 0.0
    mean: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """A figure over several windows, weighted by what each rests on."""

    windows: int
    n: float
    mean: float
    error: float  # standard error of the mean by sampling alone
    variance: float  # between windows


def pooled(place: Place, metric: str, since: datetime, until: datetime) -> Pooled | None:
    """A figure of closed windows that began from `since` and before `until`; None: none has it."""
    found = metric_values.read(
        place.connection, place.experiment.key, since=since, until=until, levels=["data"], metrics=[metric]
    )
    measured = [each for each in found if each.value is not None]
    n = np.array([each.n for each in measured], dtype=np.float64)
    if not n.sum():
        return None
    values = np.array([each.value for each in measured])
    errors = np.array([each.detail.get("error", 0.0) for each in measured])
    mean = float(np.average(values, weights=n))
    return Pooled(
        windows=len(n),
        n=float(n.sum()),
        mean=mean,
        error=float(np.sqrt(((n * errors) ** 2).sum()) / n.sum()),
        variance=float(np.average((values - mean) ** 2, weights=n)),
    )


def rewards(place: Place, since: datetime, until: datetime) -> Rewards:
    """Those of a window's exposures, of the present epoch."""
    experiment, reward = place.experiment, place.experiment.specification.reward
    sums = store.reward_sums(place.connection, experiment.key, experiment.epoch, reward.metric, (since, until))
    n, total, squares = float(sums.observed), sums.sum, sums.sum_of_squares
    if reward.missing == "default":
        counted = store.traffic(place.connection, experiment.key, (since, until), epoch=experiment.epoch)
        silent = max(counted.exposures - sums.observed, 0)
        n, total, squares = n + silent, total + silent * reward.default, squares + silent * reward.default**2
    if not n:
        return Rewards()
    return Rewards(n=n, mean=total / n, variance=max(squares / n - (total / n) ** 2, 0.0))
