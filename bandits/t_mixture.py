"""Confidence sequences for normally distributed rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.intervals import Intervals, log_threshold, separate_differences
from bandits.statistics import ArmStatistics

# Of Σr², what rounding may have taken from Σr² − (Σr)²/n.
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class TMixture:
    """The t mixture for Gaussian rewards of unknown mean and variance: exact, for any allocation.

    The Gaussian likelihood with the effect size (θ − μ)/σ mixed over N(0, 1/c²), and σ over dσ/σ, relative to
    the one with mean μ is √(c²/(n+c²)) · (D / (D − n² d²/(n+c²)))^(n/2), D = Σ(r−μ)², d = mean − μ. Over an arm's own
    outcomes it is a martingale with mean 1, so μ is excluded while it exceeds 1/α; that has a closed form.

    Assumed are independent Gaussian rewards with a variance that does not change; for other rewards intervals are
    approximate, the better the larger n. The martingale lives on an arm's own outcomes, free of their scale, and the
    product of two arms' is none under an allocation that saw the scale: so differences get alpha/2 for each arm.

    Attributes:
        effect_precision: c²; intervals are narrowest, for their n, around n = 8 c².

    Reference:
        Wang and Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown variance"
        (2024), the t mixture; Lai, "On confidence sequences" (1976).
    """

    effect_precision: float = 100.0

    def means(self, statistics: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of each arm's mean; see `ConfidenceSequence`.

        Returns:
            Shape (n_arms,), in units of the reward, centred at the sample mean; (−inf, inf) for the first outcomes,
            27 with the defaults at alpha 0.05, which cannot exclude any mean.

        Raises:
            ValueError: when `alpha` is outside (0, 1).
        """
        n, precision = np.maximum(statistics.n, 1), self.effect_precision
        mean = statistics.sum / n
        variation = np.maximum(statistics.sum_of_squares - n * mean**2, _ROUNDING * statistics.sum_of_squares)
        # M > 1/α is V + n d² > R (V + n d² κ), with V = Σ(r − mean)², κ = c²/(n+c²) and R = (κ α²)^(−1/n).
        log_shrinkage = -np.log1p(n / precision)
        log_ratio = (2 * log_threshold(alpha) - log_shrinkage) / n
        room = -np.expm1(np.minimum(log_ratio + log_shrinkage, 0))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            half = np.sqrt(np.expm1(log_ratio) * variation / (n * room))
        half = np.where((room > 0) & (statistics.n > 0), half, np.inf)
        return Intervals(lower=mean - half, upper=mean + half)

    def differences(self, treated: ArmStatistics, control: ArmStatistics, *, alpha: float) -> Intervals:
        """Intervals of θ_treated − θ_control; see `ConfidenceSequence`; errors as `means`."""
        return separate_differences(self, treated, control, alpha=alpha)
