"""A log seen through a target policy and a reward model, both without contexts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from bandits.estimates import Estimate, Sample
from bandits.interval_methods import IntervalMethod
from bandits.log import PRIOR_WEIGHT, FoldStatistics, Log, arm_means
from bandits.logged_rows import Rows, summarise
from bandits.statistics import FloatArray
from bandits.targets import Target
from bandits.weighting import Weighting

__all__ = ["ModelledLog"]


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelledLog:
    """Logged rows, weighted for a target, with each arm's mean reward as the reward model.

    The log is cut into folds. For the rows of a fold, the model is fitted to the rows outside, and a target that
    learns does so from the rows outside. The model of such a target is fitted to the rows inside instead: it
    must not have seen what the target learned from, or both would take the same luck for merit.

    Attributes:
        rows: the weighted rows, with the model's predictions.
        play: the target's probability of the logged arm, shape (n,).
        mean_play: the target's probability of each arm, averaged over rows, shape (n_arms,).
        action: index of the logged arm, shape (n,).
        unsettled: largest total variation distance, 0 to 1, between the target's probabilities in one fold and
            `mean_play`; 0 for a target that does not learn.
    """

    rows: Rows
    play: FloatArray
    mean_play: FloatArray
    action: npt.NDArray[np.intp]
    unsettled: float

    @classmethod
    def of(cls, log: Log, target: Target, n_folds: int) -> Self:
        """From a log that is cut into `n_folds` folds.

        Raises:
            ValueError: the target does not fit the log.
        """
        statistics = FoldStatistics.of(log, n_folds)
        # Tables of one row a fold: pi and q of every logged row would be n times n_arms numbers.
        pi = target.probabilities(log.arms, statistics.outside)
        q = _means(statistics, inside=target.learns)
        fold, action = log.folds(n_folds), log.action
        rows = Rows.of(log.reward, log.propensity, pi[fold, action])
        mean_play = np.bincount(fold, minlength=n_folds) @ pi / log.n
        return cls(
            rows=replace(rows, base=(pi * q).sum(axis=1)[fold], predicted=q[fold, action]),
            play=pi[fold, action],
            mean_play=mean_play,
            action=action,
            unsettled=float(np.abs(pi - mean_play).sum(axis=1).max() / 2),
        )

    def mean(self, weighting: Weighting | None, interval: IntervalMethod) -> Estimate:
        """The mean of base + w (r − predicted), with the model's error in standard error and interval.

        `weighting` changes the weights first; None is the direct method, which has none.

        Without contexts Σ_a π q̂ hardly differs between rows, and its spread would say that nothing is uncertain.
        By the delta method a row adds (w + π(a) n/n_a − w̄_a)(r − q̂(a)) to n times the error: arm a has n_a of the n
        rows, and their mean weight is w̄_a.
        """
        weight = weighting(self.rows.weight) if weighting else np.zeros(self.play.size)
        count = np.bincount(self.action)[self.action]
        mean_weight = np.bincount(self.action, weights=weight)[self.action] / count
        residual = self.rows.reward - self.rows.predicted
        error = (weight + self.play * residual.size / count - mean_weight) * residual
        value = (self.rows.base + weight * residual).mean()
        return summarise(Sample((value + error - error.mean(),)), interval, weight if weighting else None)


def _means(statistics: FoldStatistics, *, inside: bool) -> FloatArray:
    """q̂ of each arm for the rows of each fold, shape (n_folds, n_arms)."""
    if not inside:
        return np.stack([arm_means(fold) for fold in statistics.outside])
    # A fold's part of the prior weight, so that all folds together are drawn no more than the whole would be.
    prior_weight = PRIOR_WEIGHT / len(statistics.inside)
    return np.stack([arm_means(fold, prior_weight) for fold in statistics.inside])
