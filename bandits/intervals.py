"""Intervals of the arms' means, and what makes them: confidence sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from bandits.statistics import ArmStatistics, FloatArray, frozen


@dataclass(frozen=True, kw_only=True, eq=False)
class Intervals:
    """One interval per arm, or per pair of arms.

    Attributes:
        lower: lower ends, ndarray of shape (n_arms,), read-only; −inf where nothing is known, nan where the
            figure does not exist (the lift of the control over itself, a figure before its burn-in).
        upper: upper ends, the same with +inf.
    """

    lower: FloatArray
    upper: FloatArray

    def __post_init__(self) -> None:
        for name in ("lower", "upper"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def contains(self, value: float | FloatArray) -> npt.NDArray[np.bool_]:
        """Whether each interval contains `value`, a number or shape (n_arms,)."""
        contained: npt.NDArray[np.bool_] = (self.lower <= value) & (value <= self.upper)
        return contained

    def without(self, arm: int) -> Intervals:
        """The same with nan for `arm`."""
        absent = np.arange(self.lower.size) == arm
        return Intervals(lower=np.where(absent, np.nan, self.lower), upper=np.where(absent, np.nan, self.upper))


class ConfidenceSequence(Protocol):
    """Intervals that hold at all times together, however often one looks and however arms were allocated.

    With probability 1 − alpha no interval that is ever computed, at any number of outcomes, excludes the true
    mean. Needed are an arm's mean that does not change, and allocations made without knowledge of the outcomes
    still to come.
    """

    def means(self, statistics: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of each arm's mean reward, shape (n_arms,)."""

    def differences(self, treated: ArmStatistics, control: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of θ_treated − θ_control for n_arms pairs of different arms, shape (n_arms,)."""


def lifts(sequence: ConfidenceSequence, statistics: ArmStatistics, control: int, *, alpha: float) -> Intervals:
    """Intervals of each arm's lift θ_i − θ_control.

    Args:
        sequence: made for the kind of reward.
        statistics: of n_arms arms, over the decisions for which both compared arms were eligible.
        control: index of the control arm.
        alpha: probability with which an interval may ever exclude its lift, as 0.05; each lift has its own.

    Returns:
        Shape (n_arms,), in units of the reward; nan for the control arm.
    """
    same = np.full(statistics.n_arms, control)
    return sequence.differences(statistics, statistics.select(same), alpha=alpha).without(control)


def separate_differences(
    sequence: ConfidenceSequence, treated: ArmStatistics, control: ArmStatistics, *, alpha: float
) -> Intervals:
    """Differences by the union bound: each arm of a pair gets an interval at alpha/2."""
    first = sequence.means(treated, alpha=alpha / 2)
    second = sequence.means(control, alpha=alpha / 2)
    return Intervals(lower=first.lower - second.upper, upper=first.upper - second.lower)


def log_threshold(alpha: float) -> float:
    """Log 1/α, at which a mixture excludes a value.

    Raises:
        ValueError: when `alpha` is not within (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be within (0, 1), got {alpha}")
    return -float(np.log(alpha))
