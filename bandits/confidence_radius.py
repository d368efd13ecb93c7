"""The asymptotic confidence sequence: an interval that may be looked at as often as one likes."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["confidence_radius"]

# Intervals are narrowest, for their n, at this number of terms.
_TUNED_FOR: Final = 5000


def confidence_radius(n: int, deviation: float, *, alpha: float) -> float:
    """Half the width of a confidence sequence for a running mean.

    σ √( 2(nρ² + 1)/(n²ρ²) · ln(√(nρ² + 1)/α) ), ρ² = (−2 ln α + ln(1 − 2 ln α))/5,000. The intervals around all
    the running means contain the truth at once with probability 1 − α, asymptotically: before some 50 terms
    that are not 0 it promises too much.

    Args:
        n: number of terms so far, 1 or more.
        deviation: σ, the terms' standard deviation, in units of the terms.
        alpha: error probability over all n, within (0, 1).

    Returns:
        the half-width, in units of the terms.

    Reference:
        Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
        confidence sequences" (2024): the Gaussian mixture boundary, and the choice of its ρ.
    """
    rho_squared = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / _TUNED_FOR
    grown = n * rho_squared + 1
    return deviation * math.sqrt(2 * grown / (n * n * rho_squared) * math.log(math.sqrt(grown) / alpha))
