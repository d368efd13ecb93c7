"""Weights made smaller, at the price of some bias: cut, dropped or shrunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from bandits.statistics import FloatArray

__all__ = [
    "CLIP",
    "SHRINKAGE",
    "THRESHOLD",
    "Weighting",
    "clip_weights",
    "drop_weights",
    "shrink_weights",
]

CLIP: Final = 10.0
THRESHOLD: Final = 10.0
SHRINKAGE: Final = 100.0

Weighting = Callable[[FloatArray], FloatArray]


def clip_weights(limit: float) -> Weighting:
    """min(w, limit).

    Raises:
        ValueError: `limit` is not above 0.
    """
    _check_positive("clip", limit)
    return lambda weight: np.minimum(weight, limit)


def drop_weights(threshold: float) -> Weighting:
    """The weights themselves up to `threshold`, and 0 above it.

    Raises:
        ValueError: `threshold` is not above 0.
    """
    _check_positive("threshold", threshold)
    return lambda weight: np.where(weight <= threshold, weight, 0.0)


def shrink_weights(shrinkage: float) -> Weighting:
    """λ w/(w² + λ) with λ = shrinkage: as w for small weights, falling to 0 for large ones.

    Raises:
        ValueError: `shrinkage` is not above 0.
    """
    _check_positive("shrinkage", shrinkage)
    return lambda weight: shrinkage * weight / (weight**2 + shrinkage)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value:g}")
