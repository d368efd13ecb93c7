"""Quantiles of log-concave densities, by the same Gauss panels that integrate them."""

from __future__ import annotations

from typing import Final

import numpy as np

from bandits.densities import Densities
from bandits.quadrature import NODES, WEIGHTS
from bandits.statistics import FloatArray

_TAIL: Final = 1e-6

# Bounds on the work that are far from being reached: supports span at most some 150 panels.
_MAX_PANELS: Final = 400
_MAX_STEPS: Final = 60
_TOLERANCE: Final = 1e-13


def quantile(densities: Densities, probability: float) -> FloatArray:
    """The value below which each density has the mass `probability`.

    Panels are added from the nearer end of the support until the mass is reached; then Newton's method, kept
    inside the last panel by bisection, finds the point.

    Args:
        densities: n_arms densities.
        probability: within [1e-6, 1 − 1e-6]; further out it would show that supports have ends.

    Returns:
        ndarray of shape (n_arms,), in units of the reward, to 1e-9 relative or better.

    Raises:
        ValueError: when `probability` is outside its range.
    """
    if not _TAIL <= probability <= 1 - _TAIL:
        raise ValueError(f"a quantile's probability must be within [1e-6, 1 - 1e-6], got {probability}")
    lower, upper = densities.support
    if probability <= 0.5:
        return densities.value(_search(densities, lower, upper, probability))
    return densities.value(_search(densities, upper, lower, 1 - probability))


def _search(densities: Densities, start: FloatArray, end: FloatArray, mass: float) -> FloatArray:
    """The points at which the mass counted from `start` (towards `end`) is `mass`, shape (n_arms,)."""
    sign = 1.0 if end[0] > start[0] else -1.0
    near, missing = start.copy(), np.full(start.shape, mass)
    far = near
    for _ in range(_MAX_PANELS):
        far = near + sign * _safe_width(densities, near, sign)
        covered = _mass(densities, near, far)
        advance = covered < missing
        if not (advance & (sign * (end - near) > 0)).any():
            break
        missing = np.where(advance, missing - covered, missing)
        near = np.where(advance, far, near)
    return _invert(densities, near, far, missing)


def _safe_width(densities: Densities, z: FloatArray, sign: float) -> FloatArray:
    """Panel width that suits both ends of the panel: the density may get tighter on the way."""
    width = densities.panel_width(z)
    return np.minimum(width, densities.panel_width(z + sign * width))


def _mass(densities: Densities, near: FloatArray, far: FloatArray) -> FloatArray:
    half = (far - near) / 2
    density = np.exp(densities.log_density(near[:, None] + half[:, None] * (1 + NODES)))
    mass: FloatArray = np.abs(half) * (density @ WEIGHTS)
    return mass


def _invert(densities: Densities, near: FloatArray, far: FloatArray, missing: FloatArray) -> FloatArray:
    origin = near
    point = (near + far) / 2
    for _ in range(_MAX_STEPS):
        excess = _mass(densities, origin, point) - missing
        near, far = np.where(excess < 0, point, near), np.where(excess < 0, far, point)
        slope = np.exp(densities.log_density(point[:, None])[:, 0]) * np.sign(far - origin)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = point - excess / slope
        inside = (newton - near) * (newton - far) <= 0
        following = np.where(inside, newton, (near + far) / 2)
        moved = np.abs(following - point)
        point = following
        if np.all(moved <= _TOLERANCE * np.maximum(np.abs(far - origin), np.abs(point) * 1e-2)):
            break
    return point
