"""Stirling's remainder of the gamma function, which normalises densities without cancellation."""

from __future__ import annotations

from typing import Final

import numpy as np

from bandits.statistics import FloatArray

# Coefficients of the asymptotic series of log Γ (Abramowitz and Stegun 6.1.41), of x^−1, x^−3, …
_SERIES: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_SHIFT: Final = 10


def stirling_remainder(x: FloatArray) -> FloatArray:
    """Log Γ(x) − (x − ½) log x + x − ½ log 2π, elementwise, to 1e-15; `x` of shape (n,), 0.1 or more.

    By the asymptotic series at x + 10, and back by log Γ(x + 1) = log Γ(x) + log x.
    """
    steps = x[:, None] + np.arange(_SHIFT)
    back = ((steps + 0.5) * np.log1p(1 / steps) - 1).sum(axis=1)
    inverse = 1 / (x + _SHIFT)
    powers = inverse[:, None] ** (2 * np.arange(len(_SERIES)) + 1)
    remainder: FloatArray = powers @ np.array(_SERIES) + back
    return remainder
