"""A log of decisions with propensities, as off-policy evaluation needs it, and the folds that it is cut into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from bandits.logged_rows import Rows
from bandits.statistics import ArmStatistics, FloatArray, frozen

__all__ = ["PRIOR_WEIGHT", "FoldStatistics", "Log", "arm_means"]

PRIOR_WEIGHT: Final = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Log:
    """n decisions in the order in which they were made, without contexts.

    Attributes:
        arms: keys of all n_arms arms, also of those that were never chosen.
        action: index in `arms` of the arm that was chosen, shape (n,).
        reward: shape (n,), finite.
        propensity: probability with which that arm was chosen, shape (n,), within (0, 1].

    Raises:
        ValueError: shapes differ, there is no row, or a value is out of its range.
    """

    arms: tuple[str, ...]
    action: npt.NDArray[np.intp]
    reward: FloatArray
    propensity: FloatArray

    def __post_init__(self) -> None:
        if len(set(self.arms)) < len(self.arms):
            raise ValueError(f"arms must differ, got {', '.join(self.arms)}")
        action = np.array(self.action)
        # The log's own policy as the target: all weights are 1, and everything is checked.
        logged = Rows.of(self.reward, self.propensity, self.propensity)
        if action.shape != logged.reward.shape or not np.issubdtype(action.dtype, np.integer):
            raise ValueError(f"action must hold {logged.reward.size} integers, got {action.dtype} {action.shape}")
        if action.min() < 0 or action.max() >= len(self.arms):
            raise ValueError(f"action must lie within 0 and {len(self.arms) - 1}: there are {len(self.arms)} arms")
        action.setflags(write=False)
        object.__setattr__(self, "action", action)
        object.__setattr__(self, "reward", frozen(self.reward))
        object.__setattr__(self, "propensity", frozen(self.propensity))

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.reward.size

    @property
    def n_arms(self) -> int:
        """Number of arms."""
        return len(self.arms)

    def folds(self, n_folds: int) -> npt.NDArray[np.intp]:
        """Fold of each row, shape (n,): rows take turns, so that each fold sees the whole time."""
        return np.arange(self.n) % n_folds


@dataclass(frozen=True, kw_only=True)
class FoldStatistics:
    """The statistics of the arms by fold.

    Attributes:
        inside: for each fold, those of its rows.
        outside: for each fold, those of all other rows. What is learned from them is not flattered when it is
            evaluated on the rows of the fold.
    """

    inside: tuple[ArmStatistics, ...]
    outside: tuple[ArmStatistics, ...]

    @classmethod
    def of(cls, log: Log, n_folds: int) -> Self:
        """Of a log that is cut into `n_folds` folds."""
        size = n_folds * log.n_arms
        cell = log.folds(n_folds) * log.n_arms + log.action
        powers = [np.bincount(cell, weights=log.reward**power, minlength=size) for power in range(3)]
        inside = np.array(powers, dtype=np.float64).reshape(3, n_folds, log.n_arms)
        outside = inside.sum(axis=1, keepdims=True) - inside
        return cls(inside=_by_fold(inside), outside=_by_fold(outside))


def arm_means(statistics: ArmStatistics, prior_weight: float = PRIOR_WEIGHT) -> FloatArray:
    """A reward model without contexts: each arm's mean, drawn towards the mean of all.

    (S + κ r̄)/(n + κ), where r̄ is the mean reward of all rows: an arm with few rows is not taken at its word.

    Args:
        statistics: of the arms.
        prior_weight: κ, the rows that r̄ is worth, above 0.

    Returns:
        shape (n_arms,), in units of the reward; 0 when there is no row at all.
    """
    mean_of_all = statistics.sum.sum() / max(statistics.n.sum(), 1)
    means: FloatArray = (statistics.sum + prior_weight * mean_of_all) / (statistics.n + prior_weight)
    return means


def _by_fold(sums: FloatArray) -> tuple[ArmStatistics, ...]:
    """From n, Σr and Σr², shape (3, n_folds, n_arms)."""
    n, total, squares = sums
    return tuple(ArmStatistics(n=n[fold], sum=total[fold], sum_of_squares=squares[fold]) for fold in range(len(n)))
