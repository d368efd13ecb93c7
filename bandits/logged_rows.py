"""Logged rows as off-policy estimators see them: reward, importance weight, and what a reward model says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from bandits.estimates import Estimate, Sample, effective_sample_size
from bandits.interval_methods import IntervalMethod
from bandits.statistics import FloatArray, frozen
from bandits.weighting import Weighting

__all__ = ["Rows", "expected_reward", "summarise"]

_ROUNDING: Final = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """n logged decisions, checked.

    Attributes:
        reward: r, shape (n,).
        weight: w = π(a|x)/p, the target's probability of the logged arm over the logging policy's, shape (n,).
        base: Σ_a π(a|x) q̂(x, a), the target's expected reward by the reward model, shape (n,); 0 without one.
        predicted: q̂(x, a) of the logged arm, shape (n,); 0 without a reward model.
    """

    reward: FloatArray
    weight: FloatArray
    base: FloatArray
    predicted: FloatArray

    @classmethod
    def of(cls, reward: npt.ArrayLike, propensity: npt.ArrayLike, target: npt.ArrayLike) -> Self:
        """Rows without a reward model.

        Args:
            reward: shape (n,), finite.
            propensity: probability with which the logging policy chose the logged arm, shape (n,), within (0, 1].
            target: the target policy's probability of the same arm, shape (n,), within [0, 1].

        Raises:
            ValueError: shapes differ, there is no row, or a value is out of its range.
        """
        reward = _vector("reward", reward)
        propensity, target = _probability("propensity", propensity), _probability("target", target)
        _same_length(reward=reward, propensity=propensity, target=target)
        _refuse("propensity", propensity, propensity <= 0, "a logged arm had a probability above 0")
        with np.errstate(over="ignore"):
            weight = target / propensity
        _refuse("propensity", propensity, ~np.isfinite(weight), "too small to divide by")
        none = frozen(np.zeros(reward.size))
        return cls(reward=reward, weight=weight, base=none, predicted=none)

    def modelled(self, action: npt.ArrayLike, q: npt.ArrayLike, pi: npt.ArrayLike, target: npt.ArrayLike) -> Rows:
        """The same rows with a reward model.

        Args:
            action: index of the logged arm, shape (n,), integers within [0, n_arms).
            q: q̂(x, a), predicted reward of each arm, shape (n, n_arms), finite.
            pi: π(a|x), the target's probability of each arm, shape (n, n_arms), rows sum to 1.
            target: `pi` at the logged arms, shape (n,): what the weights were made of.

        Raises:
            ValueError: shapes differ, a value is out of its range, or `pi` and `target` contradict each other.
        """
        base = expected_reward(q, pi)
        q, pi, target = np.asarray(q, np.float64), np.asarray(pi, np.float64), np.asarray(target, np.float64)
        action = _actions(action, q.shape[1])
        _same_length(reward=self.reward, action=action, q=base)
        each = np.arange(action.size)
        off = np.abs(pi[each, action] - target) > _ROUNDING
        _refuse("target", target, off, "it must equal pi at the logged arm")
        return replace(self, base=base, predicted=q[each, action])

    def without_model(self) -> Rows:
        """The same rows without the reward model."""
        none = frozen(np.zeros(self.reward.size))
        return replace(self, base=none, predicted=none)

    def mean(self, interval: IntervalMethod, weighting: Weighting | None = None) -> Estimate:
        """The mean of base + w (r − predicted); `weighting` changes the weights first."""
        weight = self.weight if weighting is None else weighting(self.weight)
        sample = Sample((self.base + weight * (self.reward - self.predicted),))
        return summarise(sample, interval, weight)

    def self_normalised(self, interval: IntervalMethod) -> Estimate:
        """The mean of base, plus Σ w (r − predicted) / Σ w.

        Raises:
            ValueError: every weight is 0.
        """
        if not self.weight.any():
            raise ValueError("every weight is 0: the target never plays what was logged, so nothing can be normalised")
        gain = self.weight * (self.reward - self.predicted)
        return summarise(Sample((self.base, gain, self.weight)), interval, self.weight)

    def direct(self, interval: IntervalMethod) -> Estimate:
        """The mean of base: the reward model's word alone."""
        return summarise(Sample((self.base,)), interval)


def expected_reward(q: npt.ArrayLike, pi: npt.ArrayLike) -> FloatArray:
    """Σ_a π(a|x) q̂(x, a), shape (n,).

    Raises:
        ValueError: `q` or `pi` is not of shape (n, n_arms), not finite, or `pi` holds no distributions.
    """
    q, pi = _matrix("q", q), _matrix("pi", pi)
    if q.shape != pi.shape:
        raise ValueError(f"q and pi must both have shape (n, n_arms), got {q.shape} and {pi.shape}")
    totals = pi.sum(axis=1)
    if pi.min() < 0:
        raise ValueError(f"pi holds {pi.min():g}; probabilities are not negative")
    _refuse("the sum of pi", totals, np.abs(totals - 1) > _ROUNDING, "each row is a distribution over the arms")
    expected: FloatArray = np.einsum("ij,ij->i", q, pi)
    return expected


def summarise(sample: Sample, interval: IntervalMethod, weight: FloatArray | None = None) -> Estimate:
    """The estimate from a sample, with the weights that were used, if any."""
    return Estimate(
        value=sample.value,
        standard_error=sample.standard_error,
        interval=interval.interval(sample),
        level=interval.level,
        effective_sample_size=None if weight is None else effective_sample_size(weight),
        max_weight=None if weight is None else float(weight.max()),
        zero_weight_share=None if weight is None else float(np.mean(weight == 0)),
    )


def _vector(name: str, values: npt.ArrayLike) -> FloatArray:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"{name} must have shape (n,) with n at least 1, got {vector.shape}")
    _refuse(name, vector, ~np.isfinite(vector), "it must be a finite number")
    return vector


def _probability(name: str, values: npt.ArrayLike) -> FloatArray:
    vector = _vector(name, values)
    _refuse(name, vector, (vector < 0) | (vector > 1 + _ROUNDING), "a probability lies between 0 and 1")
    return vector


def _matrix(name: str, values: npt.ArrayLike) -> FloatArray:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{name} must have shape (n, n_arms), got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} holds a value that is not a finite number")
    return matrix


def _actions(values: npt.ArrayLike, n_arms: int) -> npt.NDArray[np.intp]:
    actions = np.asarray(values)
    if actions.ndim != 1 or not np.issubdtype(actions.dtype, np.integer):
        raise ValueError(f"action must hold integers, shape (n,), got {actions.dtype} of shape {actions.shape}")
    _refuse("action", actions, (actions < 0) | (actions >= n_arms), f"arms are numbered 0 to {n_arms - 1}")
    return actions.astype(np.intp)


def _same_length(**arrays: npt.NDArray[np.generic]) -> None:
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"one entry per row is needed, got lengths {lengths}")


def _refuse(name: str, values: npt.NDArray[np.generic], bad: npt.NDArray[np.bool_], rule: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise ValueError(f"{name} of row {rows[0]} is {values[rows[0]]:g}: {rule}")
