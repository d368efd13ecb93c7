"""Gamma posteriors of a rate, for rewards that are counts.

Densities are taken in z = log x − log x₀, where log f(z) = a (z − z₀) − a e^(z − z₀) + constant is concave with mode
z₀ = log(a/b) − log x₀. The origin x₀ is the mode of the arm with the most counts, so that z has its digits where they
are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from bandits.family import Family
from bandits.statistics import FloatArray
from bandits.stirling import stirling_remainder

# Beyond a drop of 38 from the mode's log density lies less than 1e-14 of the mass, for all shapes from 0.1.
_DROP: Final = 38.0
_NEWTON_STEPS: Final = 8

# In units of the local scale 1/√−(log f)″, and, where the density is flat, its own distance from the mode.
_PANEL_IN_SCALES: Final = 2.0
_PANEL_LIMIT: Final = 5.0
_PANEL_LIMIT_GROWTH: Final = 0.25

# 0.1, with room for rounding.
_SMALLEST_SHAPE: Final = 0.1 - 1e-9


@dataclass(frozen=True, eq=False)
class GammaPosterior(Family):
    """Independent Gamma distributions, one per arm.

    Attributes:
        shape: a, ndarray of shape (n_arms,), 0.1 or more (tested up to 1e12).
        rate: b, in units of one over the reward, the same; above 0.

    Raises:
        ValueError: when a parameter is not finite, a shape is below 0.1 or a rate is not positive.
    """

    shape: FloatArray
    rate: FloatArray

    def __post_init__(self) -> None:
        super().__post_init__()
        sound = np.isfinite(self.shape + self.rate) & (self.shape >= _SMALLEST_SHAPE) & (self.rate > 0)
        if not sound.all():
            arm = int(np.flatnonzero(~sound)[0])
            raise ValueError(
                f"arm {arm} has Gamma({self.shape[arm]}, {self.rate[arm]}): "
                "the shape must be 0.1 or more, the rate above 0, both finite"
            )

    @property
    def mean(self) -> FloatArray:
        """E[θ] = a/b of each arm, ndarray of shape (n_arms,)."""
        return self.shape / self.rate

    @property
    def standard_deviation(self) -> FloatArray:
        """Standard deviation √a/b of θ of each arm, ndarray of shape (n_arms,)."""
        return np.sqrt(self.shape) / self.rate

    def sample(self, rng: np.random.Generator, n_draws: int) -> FloatArray:
        """Draws of each θ, ndarray of shape (n_draws, n_arms)."""
        return rng.gamma(self.shape, 1 / self.rate, size=(n_draws, self.n_arms))

    # What integration needs: see bandits/densities.py.

    @cached_property
    def support(self) -> tuple[FloatArray, FloatArray]:
        """Ends (lower, upper) in z of each arm, where the log density is 38 below its peak."""
        drop = _DROP / self.shape
        return self._mode + _reach(drop, -1.0), self._mode + _reach(drop, 1.0)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log density per unit of z, shape (n_arms, n_points); `z` of that shape or (1, n_points)."""
        distance = z - self._mode[:, None]
        log_density: FloatArray = self._log_peak[:, None] - self.shape[:, None] * (np.expm1(distance) - distance)
        return log_density

    def panel_width(self, z: FloatArray) -> FloatArray:
        """Widest panel at `z`, shape (n_arms,), on which 24 Gauss nodes integrate each arm's density."""
        distance = z - self._mode
        limit = _PANEL_LIMIT + _PANEL_LIMIT_GROWTH * np.abs(distance)
        width: FloatArray = 1 / np.sqrt(self.shape * np.exp(distance) / _PANEL_IN_SCALES**2 + 1 / limit**2)
        return width

    def value(self, z: FloatArray) -> FloatArray:
        """The rate x₀ eᶻ, elementwise."""
        value: FloatArray = self._origin * np.exp(z)
        return value

    @cached_property
    def _origin(self) -> float:
        surest = np.argmax(self.shape)
        return float(self.shape[surest] / self.rate[surest])

    @cached_property
    def _mode(self) -> FloatArray:
        mode: FloatArray = np.log(self.shape / self.rate / self._origin)
        return mode

    @cached_property
    def _log_peak(self) -> FloatArray:
        """Log density at the mode: that of a normal with the same curvature, and Stirling's remainder."""
        log_peak: FloatArray = np.log(self.shape / (2 * np.pi)) / 2 - stirling_remainder(self.shape)
        return log_peak


def _reach(drop: FloatArray, side: float) -> FloatArray:
    """The δ on one side of 0 with eᵟ − 1 − δ = `drop`, by Newton on a convex function, from outside it."""
    small = np.sqrt(2 * drop)
    delta = -(drop + small) if side < 0 else np.minimum(small, 1 + np.log1p(drop))
    for _ in range(_NEWTON_STEPS):
        slope = np.expm1(delta)
        delta = delta - (slope - delta - drop) / slope
    return delta
