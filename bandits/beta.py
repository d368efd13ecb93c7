"""Beta posteriors of a rate, for rewards of 0 or 1 and for whatever is folded into them.

Densities are taken in z = logit x, where log f(z) = α log σ(z) + β log σ(−z) − log B(α, β) is concave with
mode z₀ = log(α/β). All formulas start at the mode, so nothing cancels even with 10⁸ outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from bandits.family import Family
from bandits.statistics import FloatArray
from bandits.stirling import stirling_remainder

# Beyond a drop of 38 from the mode's log density lies less than 1e-14 of the mass, for all α, β ≥ 0.1.
_DROP: Final = 38.0
_NEWTON_STEPS: Final = 8

# In units of the local scale 1/√−(log f)″. Measured: see docs/adr/0002-exact-p-best.md.
_PANEL_IN_SCALES: Final = 2.0

# The logistic function has poles at ±iπ: near 0 no panel may be much wider than their distance.
_PANEL_LIMIT: Final = 5.0
_PANEL_LIMIT_GROWTH: Final = 0.25

# 0.1, with room for rounding.
_SMALLEST_PARAMETER: Final = 0.1 - 1e-9


@dataclass(frozen=True, eq=False)
class BetaPosterior(Family):
    """Independent Beta distributions, one per arm.

    Attributes:
        alpha: first shape parameter, ndarray of shape (n_arms,), 0.1 or more (tested up to 1e9).
        beta: second shape parameter, the same.

    Raises:
        ValueError: when a parameter is not finite or below 0.1; smaller ones would need a wider coordinate.
    """

    alpha: FloatArray
    beta: FloatArray

    def __post_init__(self) -> None:
        super().__post_init__()
        smallest = np.minimum(self.alpha, self.beta)
        bad = np.flatnonzero(~(np.isfinite(self.alpha + self.beta) & (smallest >= _SMALLEST_PARAMETER)))
        if bad.size:
            arm = bad[0]
            raise ValueError(
                f"arm {arm} has Beta({self.alpha[arm]}, {self.beta[arm]}): both must be finite, 0.1 or more"
            )

    @property
    def mean(self) -> FloatArray:
        """E[θ] = α/(α+β) of each arm, ndarray of shape (n_arms,)."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def standard_deviation(self) -> FloatArray:
        """Standard deviation of θ of each arm, ndarray of shape (n_arms,)."""
        total = self.alpha + self.beta
        return np.sqrt(self.alpha / total * (self.beta / total) / (total + 1))

    def sample(self, rng: np.random.Generator, n_draws: int) -> FloatArray:
        """Draws of each θ, ndarray of shape (n_draws, n_arms)."""
        return rng.beta(self.alpha, self.beta, size=(n_draws, self.n_arms))

    # What integration needs: see bandits/densities.py.

    @cached_property
    def support(self) -> tuple[FloatArray, FloatArray]:
        """Ends (lower, upper) in z of each arm, where the log density is 38 below its peak."""
        left, right = self._reach(self.beta, self.alpha), self._reach(self.alpha, self.beta)
        return self._mode - left, self._mode + right

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log density per unit of z, shape (n_arms, n_points); `z` of that shape or (1, n_points)."""
        return self._log_peak[:, None] - _drop(self.alpha[:, None], self.beta[:, None], z - self._mode[:, None])

    def panel_width(self, z: FloatArray) -> FloatArray:
        """Widest panel at `z`, shape (n_arms,), on which 24 Gauss nodes integrate each arm's density."""
        curvature = (self.alpha + self.beta) * _logistic(z) * _logistic(-z)
        limit = _PANEL_LIMIT + _PANEL_LIMIT_GROWTH * np.abs(z)
        width: FloatArray = 1 / np.sqrt(curvature / _PANEL_IN_SCALES**2 + 1 / limit**2)
        return width

    def value(self, z: FloatArray) -> FloatArray:
        """The rate σ(z), elementwise."""
        return _logistic(z)

    @cached_property
    def _mode(self) -> FloatArray:
        return np.log(self.alpha) - np.log(self.beta)

    @cached_property
    def _information(self) -> FloatArray:
        """Minus the second derivative of the log density at the mode."""
        return self.alpha / (self.alpha + self.beta) * self.beta

    @cached_property
    def _log_peak(self) -> FloatArray:
        """Log density at the mode: that of a normal with the same curvature, and Stirling's remainders."""
        remainder = (
            stirling_remainder(self.alpha + self.beta) - stirling_remainder(self.alpha) - stirling_remainder(self.beta)
        )
        return np.log(self._information / (2 * np.pi)) / 2 + remainder

    def _reach(self, alpha: FloatArray, beta: FloatArray) -> FloatArray:
        """Distance δ > 0 right of the mode of Beta(α, β) at which the log density has dropped by 38.

        Newton on a concave function: from the second step on it approaches from outside.
        """
        delta = 2 * np.arcsinh(np.sqrt(_DROP / (2 * self._information)))
        for _ in range(_NEWTON_STEPS):
            share = 1 / (1 + beta / alpha * np.exp(-delta))
            slope = (alpha + beta) * share - alpha
            delta = delta - (_drop(alpha, beta, delta) - _DROP) / slope
        return delta


def _logistic(z: FloatArray) -> FloatArray:
    small = np.exp(-np.abs(z))
    logistic: FloatArray = np.where(z >= 0, 1, small) / (1 + small)
    return logistic


def _drop(alpha: FloatArray, beta: FloatArray, delta: FloatArray) -> FloatArray:
    """Log density at the mode minus that at distance `delta` from it: 0 or more, elementwise."""
    total = alpha + beta
    with np.errstate(over="ignore"):  # an infinite drop is a density of 0
        left = alpha * np.log1p(beta / total * np.expm1(-delta))
        right = beta * np.log1p(alpha / total * np.expm1(delta))
    drop: FloatArray = left + right
    return drop
