"""Asymptotic confidence sequences: of means of any scores with a finite variance.

Reference:
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
    sequences" (2024): the Gaussian mixture boundary, and the choice of its ρ.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from bandits.intervals import log_threshold
from bandits.statistics import FloatArray

# Intervals are narrowest, for their N, at this number of decisions.
TUNED_FOR: Final = 5_000


def boundary(n: FloatArray, *, alpha: float) -> FloatArray:
    """Half-width of the sequence after n scores, in units of their standard deviation, ndarray of shape of `n`.

    √( 2 (nρ² + 1)/(n²ρ²) · ln(√(nρ² + 1)/α) ) with ρ² = (−2 ln α + ln(1 − 2 ln α))/5,000; inf where n = 0.

    Raises:
        ValueError: when `alpha` is not within (0, 1).
    """
    twice = 2 * log_threshold(alpha)
    spread = n * (twice + np.log1p(twice)) / TUNED_FOR  # nρ²
    with np.errstate(divide="ignore", invalid="ignore"):
        width: FloatArray = np.sqrt((spread + 1) / (n * spread) * (np.log1p(spread) + twice))
    return np.where(n > 0, width, np.inf)
