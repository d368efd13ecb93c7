"""Confidence sequences for counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.bisection import crossing
from bandits.intervals import Intervals, log_threshold, separate_differences
from bandits.statistics import ArmStatistics, FloatArray
from bandits.stirling import stirling_remainder

_TINY: Final = 1e-100
_SMALLEST_LOG: Final = -50.0


@dataclass(frozen=True, kw_only=True)
class GammaMixture:
    """The Gamma(½, rate) mixture for Poisson counts: exact, without burn-in, for any allocation.

    The likelihood ratio of S counted in n outcomes against a mean μ, mixed over Gamma(½, b), is
    M(μ) = b^½/Γ(½) · Γ(½+S)/(b+n)^(½+S) · μ^−S e^(nμ), a martingale with mean 1 at the true mean. Assumed are
    Poisson counts: for counts that vary more, intervals are too narrow. Differences get alpha/2 for each arm.

    Attributes:
        rate: b of the mixture. It costs about b·μ + ½ log(1 + n/b) in log M: small for large counts.

    Reference:
        Robbins (1970); Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic
        confidence sequences" (2021), on conjugate mixtures.
    """

    rate: float = 0.1

    def means(self, statistics: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of each arm's mean; see `ConfidenceSequence`.

        Returns:
            Shape (n_arms,), 0 or more; [0, inf] where n = 0.

        Raises:
            ValueError: when a sum is negative, or `alpha` outside (0, 1).
        """
        limit = log_threshold(alpha) - self._log_peak(statistics)
        n, total = np.maximum(statistics.n, _TINY), np.maximum(statistics.sum, _TINY)
        mean = statistics.sum / n
        above, below = _distances(limit / total)
        with np.errstate(over="ignore", divide="ignore"):
            upper = np.where(statistics.sum > 0, mean * np.exp(above), limit / statistics.n)
        return Intervals(lower=mean * np.exp(-below), upper=np.where(statistics.n > 0, upper, np.inf))

    def differences(self, treated: ArmStatistics, control: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of θ_treated − θ_control; see `ConfidenceSequence`; errors as `means`."""
        return separate_differences(self, treated, control, alpha=alpha)

    def log_mixture(self, statistics: ArmStatistics, mean: FloatArray) -> FloatArray:
        """Log M(mean) of each arm, ndarray of shape (n_arms,); `mean` of that shape, above 0."""
        sample = statistics.sum / np.maximum(statistics.n, _TINY)
        ratio = np.log(np.maximum(sample, _TINY) / mean)
        return self._log_peak(statistics) + statistics.sum * ratio - statistics.sum + statistics.n * mean

    def _log_peak(self, statistics: ArmStatistics) -> FloatArray:
        """Log M at the sample mean, 0 or less; see `bandits.beta_mixture` on its form."""
        n, total = statistics.n, statistics.sum
        bad = np.flatnonzero((total < 0) | ((n == 0) & (total > 0)))
        if bad.size:
            raise ValueError(f"arm {bad[0]} has a sum of {total[bad[0]]} over {n[bad[0]]} outcomes: not counts")
        powers = total * (np.log1p(0.5 / np.maximum(total, _TINY)) - np.log1p(self.rate / np.maximum(n, _TINY)))
        peak: FloatArray = (
            np.where(total > 0, powers, 0)
            + stirling_remainder(total + 0.5)
            + (np.log(2) - 1 - np.log1p(n / self.rate)) / 2
        )
        return peak


def _distances(excess: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The x > 0 at which e^x − 1 − x, and at which e^−x − 1 + x, is `excess`, shape (n,) each.

    With μ = m e^±x that is the divergence of μ from the sample mean m, in units of S.
    """
    low, high = np.full(excess.shape, _SMALLEST_LOG), np.log(excess + 2)
    with np.errstate(over="ignore"):
        above = crossing(lambda t: np.expm1(np.exp(t)) - np.exp(t), excess, low, high)
        below = crossing(lambda t: np.expm1(-np.exp(t)) + np.exp(t), excess, low, high)
        return np.exp(above), np.exp(below)
