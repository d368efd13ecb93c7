"""Confidence sequences for rewards of 0 or 1, and for rewards between two bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.bisection import crossing
from bandits.intervals import Intervals, log_threshold
from bandits.statistics import ArmStatistics, FloatArray
from bandits.stirling import stirling_remainder

_ROUNDING: Final = 1e-9

# Range of the logarithm of the multiplier λ: e^340 squared still is a float64, and a rate's distance from
# 0 or 1 is then below 1e-138.
_LOG_MULTIPLIER: Final = (-40.0, 340.0)


@dataclass(frozen=True, kw_only=True)
class BetaMixture:
    """The Beta(½, ½) mixture: exact, without burn-in, for any allocation.

    With S the sum of an arm's n rewards, the likelihood ratio against a rate μ, mixed over Beta(½, ½), is
    M(μ) = B(½+S, ½+n−S)/B(½, ½) · μ^−S (1−μ)^−(n−S). At the true rate it is a martingale with mean 1: an arm
    that is not chosen does not change it, and its next reward is Bernoulli(μ) whatever led to the choice. By
    Ville's inequality it ever exceeds 1/α with probability α at most. So μ is excluded while M(μ) > 1/α.

    For rewards within [low, high] the same holds for the scaled reward x = (r − low)/(high − low): per outcome,
    (q/μ)^x ((1−q)/(1−μ))^(1−x) is convex in x, so below its chord, whose expectation is 1 if E[x] = μ. M is a
    supermartingale then; the intervals are those of Bernoulli rewards, wider than need be when rewards vary less.

    In logs M(μ) is its value at the sample mean, 0 or less, plus n·KL(sample mean ‖ μ), which is convex: the
    ends of intervals are found along the curve on which a multiplier λ balances the pull against the divergence.

    Attributes:
        low: smallest possible reward.
        high: largest possible reward.

    Reference:
        Robbins, "Statistical methods related to the law of the iterated logarithm" (1970). Howard, Ramdas,
        McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences" (2021), on conjugate
        mixtures. Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024).
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.high - self.low) and self.low < self.high):
            raise ValueError(f"rewards need bounds low < high, got {self.low} and {self.high}")

    def means(self, statistics: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of each arm's mean; see `ConfidenceSequence`.

        Args:
            statistics: n_arms arms, tested up to n = 1e9; all of the arm's outcomes with weight 1, no decay.
            alpha: probability with which an arm's mean may ever be excluded.

        Returns:
            Shape (n_arms,), within [low, high], to 1e-12 of high − low; all of it where n = 0.

        Raises:
            ValueError: when rewards lie outside the bounds, or `alpha` outside (0, 1).
        """
        ones, zeros = self._counts(statistics)
        limit = log_threshold(alpha) - _log_peak(ones, zeros)
        up, down = _pull_apart([np.stack((ones, zeros))], [np.stack((zeros, ones))], limit)[0]
        return self._scaled(down[1], up[0])

    def differences(self, treated: ArmStatistics, control: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of θ_treated − θ_control; see `ConfidenceSequence`.

        The product of two arms' mixtures is a martingale too: each outcome moves one factor. The interval is
        the range of the difference over the region where the product is at most 1/α.

        Args:
            treated: n_arms arms.
            control: n_arms arms, none of them the treated one of its pair.
            alpha: probability with which a difference may ever be excluded.

        Returns:
            Shape (n_arms,), within ±(high − low).

        Raises:
            ValueError: as `means`.
        """
        ones, zeros = self._counts(treated)
        control_ones, control_zeros = self._counts(control)
        limit = log_threshold(alpha) - _log_peak(ones, zeros) - _log_peak(control_ones, control_zeros)
        (up, down), (control_up, control_down) = _pull_apart(
            [np.stack((ones, zeros)), np.stack((control_zeros, control_ones))],
            [np.stack((zeros, ones)), np.stack((control_ones, control_zeros))],
            limit,
        )
        width = self.high - self.low
        # The first row pulls the treated arm up and the control down, the second the other way round.
        return Intervals(lower=width * (down[1] - control_up[1]), upper=width * (up[0] - control_down[0]))

    def relative_differences(self, treated: ArmStatistics, control: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of θ_treated/θ_control − 1 from the same region; arguments and errors as `differences`.

        Returns:
            Shape (n_arms,), −1 or more; the upper end is inf while the control may have a mean of 0.

        Raises:
            ValueError: also when `low` is not 0: then ratios of means depend on the zero of the scale.
        """
        if self.low != 0:
            raise ValueError(f"a relative lift needs rewards with a natural zero, but they start at {self.low}")
        first, second = self._counts(treated), self._counts(control)
        limit = log_threshold(alpha) - _log_peak(*first) - _log_peak(*second)
        upper = _largest_ratio(first, second, limit)
        with np.errstate(divide="ignore"):
            lower = 1 / _largest_ratio(second, first, limit)
        return Intervals(lower=lower - 1, upper=upper - 1)

    def log_mixture(self, statistics: ArmStatistics, mean: FloatArray) -> FloatArray:
        """The logarithm of M(mean) of each arm, ndarray of shape (n_arms,).

        `mean` has the same shape, strictly within the bounds.
        """
        ones, zeros = self._counts(statistics)
        rate = (mean - self.low) / (self.high - self.low)
        sample = ones / _or_one(ones + zeros)
        divergence = _times_log1p(ones, (sample - rate) / rate) + _times_log1p(zeros, (rate - sample) / (1 - rate))
        return _log_peak(ones, zeros) + np.where(ones + zeros > 0, divergence, 0)

    def _counts(self, statistics: ArmStatistics) -> tuple[FloatArray, FloatArray]:
        """S and n − S of the scaled rewards, shape (n_arms,) each."""
        ones = (statistics.sum - statistics.n * self.low) / (self.high - self.low)
        zeros = statistics.n - ones
        bad = np.flatnonzero(np.minimum(ones, zeros) < -_ROUNDING * statistics.n)
        if bad.size:
            arm = bad[0]
            raise ValueError(
                f"arm {arm} has a sum of {statistics.sum[arm]} over {statistics.n[arm]} outcomes: "
                f"its rewards cannot all be within [{self.low}, {self.high}]"
            )
        return np.maximum(ones, 0), np.maximum(zeros, 0)

    def _scaled(self, lower: FloatArray, upper: FloatArray) -> Intervals:
        width = self.high - self.low
        return Intervals(lower=self.low + width * lower, upper=self.low + width * upper)


def _log_peak(ones: FloatArray, zeros: FloatArray) -> FloatArray:
    """Log M at the sample mean, 0 or less: log B(½+S, ½+n−S) − log π, minus the maximal log likelihood.

    By Stirling's formula with remainders, each Γ's logarithm beside its share of the likelihood, so that
    nothing of the order of n is ever subtracted.
    """
    n = ones + zeros
    remainders = stirling_remainder(ones + 0.5) + stirling_remainder(zeros + 0.5) - stirling_remainder(n + 1)
    powers = _half_step(ones) + _half_step(zeros) - _times_log1p(n, 1 / _or_one(n))
    peak: FloatArray = powers - np.log1p(n) / 2 + np.log(2 / np.pi) / 2 + remainders
    return peak


def _half_step(count: FloatArray) -> FloatArray:
    """The product x log((x + ½)/x), 0 at 0."""
    return _times_log1p(count, 0.5 / _or_one(count))


def _or_one(count: FloatArray) -> FloatArray:
    """A denominator: 1 instead of 0, or of what is next to it, where the quotient does not matter."""
    return np.where(count > 1e-100, count, 1)


def _times_log1p(factor: FloatArray, x: FloatArray) -> FloatArray:
    """The product factor · log(1 + x), 0 where the factor is 0."""
    product: FloatArray = np.zeros(np.broadcast_shapes(factor.shape, x.shape))
    with np.errstate(divide="ignore"):
        logarithm = np.log1p(x, where=factor > 0, out=np.zeros_like(product))
    np.multiply(factor, logarithm, where=factor > 0, out=product)
    return product


def _pull_apart(
    ones: list[FloatArray], zeros: list[FloatArray], limit: FloatArray
) -> list[tuple[FloatArray, FloatArray]]:
    """The rates (μ, 1 − μ) of several arms that maximise Σ μ while Σ n·KL ≤ limit.

    Each arm's counts have shape (2, n_arms), `limit` (n_arms,). To pull an arm down, count its zeros as ones.
    """

    def divergence(log_multiplier: FloatArray) -> FloatArray:
        multiplier = np.exp(log_multiplier)
        terms = [_divergence(o, z, multiplier) for o, z in zip(ones, zeros, strict=True)]
        total: FloatArray = np.sum(terms, axis=0)
        return total

    low, high = (np.full(ones[0].shape, end) for end in _LOG_MULTIPLIER)
    multiplier = np.exp(crossing(divergence, limit, low, high))
    return [_pulled(o, z, multiplier) for o, z in zip(ones, zeros, strict=True)]


def _pulled(ones: FloatArray, zeros: FloatArray, multiplier: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The rate μ at which n·KL rises by λ per unit, and 1 − μ: both roots without cancellation.

    With m = S/n, n (μ − m) = λ μ (1 − μ).
    """
    n = ones + zeros
    root = np.sqrt((n - multiplier) ** 2 + 4 * multiplier * ones)
    down = 2 * zeros / (n + multiplier + root)
    near = 2 * ones / np.where(n > multiplier, n - multiplier + root, 1)
    up = np.where(n > multiplier, near, (multiplier - n + root) / (2 * multiplier))
    return up, down


def _divergence(ones: FloatArray, zeros: FloatArray, multiplier: FloatArray) -> FloatArray:
    """n·KL(m ‖ μ) at the rate pulled by λ, from (m − μ)/μ = −λ (1−μ)/n and (μ − m)/(1−μ) = λ μ/n."""
    up, down = _pulled(ones, zeros, multiplier)
    slope = multiplier / _or_one(ones + zeros)
    gap = np.minimum(slope * down, 1 - 1e-16)
    return _times_log1p(ones, -gap) + _times_log1p(zeros, slope * up)


def _largest_ratio(
    raised: tuple[FloatArray, FloatArray], lowered: tuple[FloatArray, FloatArray], limit: FloatArray
) -> FloatArray:
    """The largest ratio of two rates while Σ n·KL ≤ limit, shape (n_arms,).

    In log μ the divergence is convex too, and the pull by λ has the closed form μ = (S ± λ)/(n ± λ).
    """
    (ones, zeros), (other_ones, other_zeros) = raised, lowered
    n, other_n = ones + zeros, other_ones + other_zeros

    def divergence(share: FloatArray) -> FloatArray:
        pull = share * other_ones
        up = _times_log1p(ones, -pull * zeros / _or_one(n * (ones + pull))) + _times_log1p(zeros, pull / _or_one(n))
        rest = _or_one(other_n * (other_ones - pull))
        down = _times_log1p(other_ones, pull * other_zeros / rest) + _times_log1p(other_zeros, -pull / _or_one(other_n))
        return up + down

    share = crossing(divergence, limit, np.zeros_like(n), np.ones_like(n))
    pull = share * other_ones
    # Without zeros the lowered arm's divergence is linear in log μ: it begins to move when all else is pulled.
    rest = np.maximum(limit - divergence(share), 0) / _or_one(other_ones)
    inverse = np.where(other_zeros > 0, (other_n - pull) / _or_one(other_ones - pull), np.exp(rest))
    return np.where(other_ones > 0, (ones + pull) / _or_one(n + pull) * inverse, np.inf)
