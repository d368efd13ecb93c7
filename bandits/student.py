"""Student-t posteriors of a mean, for rewards that are normally distributed with unknown variance.

Densities are taken in z = asinh((x − c)/s), in which tails fall exponentially: with c and s an arm's own location and
d = scale · √(degrees of freedom), its density is cosh⁻ᵛ z. The coordinate is common to all arms, so c is the location
of the tightest and s the smallest d; around any other arm panels shrink with the distance from the poles of its
density, at x = location ± i d.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from bandits.family import Family
from bandits.quantiles import quantile
from bandits.statistics import FloatArray
from bandits.stirling import stirling_remainder

# Beyond it lies less than 1e-14 of the mass, and, with hardly more than 2 degrees of freedom, too little of the mean.
_DROP: Final = 38.0
_DROP_OF_MOMENT: Final = 30.0

# In units of the local scale 1/√−(log f)″.
_PANEL_IN_SCALES: Final = 2.0

# Of a pole's distance beside and along the panel.
_PANEL_BESIDE_POLE: Final = 1.6
_PANEL_ALONG_POLE: Final = 0.4


@dataclass(frozen=True, eq=False)
class StudentPosterior(Family):
    """Independent Student-t distributions, one per arm, with 2·shape degrees of freedom.

    They are what normal-inverse-gamma distributions say of the mean: θ | v ~ N(mean, v/strength), with the variance
    v ~ inverse gamma(shape, rate). The scale is √(rate / (shape · strength)).

    Attributes:
        mean: location, ndarray of shape (n_arms,), in units of the reward.
        strength: how many outcomes the location is worth, the same shape, above 0.
        shape: half the degrees of freedom, above 1, so that a variance exists.
        rate: half the sum of squared deviations, above 0.

    Raises:
        ValueError: when a parameter is not finite or not within these limits.
    """

    mean: FloatArray
    strength: FloatArray
    shape: FloatArray
    rate: FloatArray

    def __post_init__(self) -> None:
        super().__post_init__()
        finite = np.isfinite(self.mean + self.strength + self.shape + self.rate)
        sound = finite & (self.strength > 0) & (self.shape > 1) & (self.rate > 0)
        if not sound.all():
            arm = int(np.flatnonzero(~sound)[0])
            raise ValueError(
                f"arm {arm} has {self.as_mapping(arm)}: all must be finite, strength and rate above 0, shape above 1"
            )

    @property
    def standard_deviation(self) -> FloatArray:
        """Standard deviation of θ of each arm, ndarray of shape (n_arms,)."""
        return np.sqrt(self.rate / self.strength / (self.shape - 1))

    def quantile(self, probability: float) -> FloatArray:
        """The mean reward below which each θ lies with `probability` (1e-6 to 1 − 1e-6), shape (n_arms,).

        Each in its own coordinate: the quantile of the standard distribution, scaled and moved.
        """
        return self.mean + self._scale * quantile(self._standard, probability)

    def sample(self, rng: np.random.Generator, n_draws: int) -> FloatArray:
        """Draws of each θ, ndarray of shape (n_draws, n_arms)."""
        draws = rng.standard_t(2 * self.shape, size=(n_draws, self.n_arms))
        return self.mean + self._scale * draws

    # What integration needs: see bandits/densities.py.

    @cached_property
    def support(self) -> tuple[FloatArray, FloatArray]:
        """Ends (lower, upper) in z of each arm, where its density is negligible for mass and mean."""
        degrees = 2 * self.shape
        drop = np.maximum(_DROP, _DROP_OF_MOMENT * degrees / (degrees - 1))
        reach = self._pole * np.sqrt(np.expm1(2 * drop / degrees))
        return np.arcsinh((self._offset - reach) / self._unit), np.arcsinh((self._offset + reach) / self._unit)

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log density per unit of z, shape (n_arms, n_points); `z` of that shape or (1, n_points)."""
        distance = (self._unit * np.sinh(z) - self._offset[:, None]) / self._pole[:, None]
        fall = (self.shape[:, None] + 0.5) * np.log1p(distance * distance)
        log_density: FloatArray = (self._log_peak[:, None] + np.log(self._unit * np.cosh(z))) - fall
        return log_density

    def panel_width(self, z: FloatArray) -> FloatArray:
        """Widest panel at `z`, shape (n_arms,), on which 24 Gauss nodes integrate each arm's density."""
        distance = self._unit * np.sinh(z) - self._offset
        steepness = self._pole * self._unit * np.cosh(z) / (self._pole**2 + distance**2)
        curvature = (2 * self.shape + 1) * steepness**2
        # sinh has period 2πi, so each pole z has an image at iπ − z, and both have conjugates.
        along, beside = self._pole_in_z.real, self._pole_in_z.imag
        of_pole = _PANEL_BESIDE_POLE * beside + _PANEL_ALONG_POLE * np.abs(z - along)
        of_image = _PANEL_BESIDE_POLE * (np.pi - beside) + _PANEL_ALONG_POLE * np.abs(z + along)
        limit = np.minimum(of_pole, of_image)
        width: FloatArray = 1 / np.sqrt(curvature / _PANEL_IN_SCALES**2 + 1 / limit**2)
        return width

    def value(self, z: FloatArray) -> FloatArray:
        """The mean reward c + s sinh z, elementwise."""
        value: FloatArray = self._centre + self._unit * np.sinh(z)
        return value

    @cached_property
    def _scale(self) -> FloatArray:
        return np.sqrt(self.rate / self.shape / self.strength)

    @cached_property
    def _pole(self) -> FloatArray:
        """Distance of each density's poles from the real axis, in units of the reward: scale · √(2 shape)."""
        return np.sqrt(2 * self.rate / self.strength)

    @cached_property
    def _centre(self) -> float:
        return float(self.mean[np.argmin(self._scale)])

    @cached_property
    def _unit(self) -> float:
        return float(self._pole.min())

    @cached_property
    def _offset(self) -> FloatArray:
        return self.mean - self._centre

    @cached_property
    def _pole_in_z(self) -> np.ndarray[tuple[int], np.dtype[np.complex128]]:
        poles: np.ndarray[tuple[int], np.dtype[np.complex128]] = np.arcsinh(
            (self._offset + 1j * self._pole) / self._unit
        )
        return poles

    @cached_property
    def _log_peak(self) -> FloatArray:
        """Log density at the location per unit of the reward, by Stirling's remainders."""
        a = self.shape
        remainder = stirling_remainder(a + 0.5) - stirling_remainder(a)
        log_peak: FloatArray = a * np.log1p(0.5 / a) - 0.5 + remainder - np.log(2 * np.pi) / 2 - np.log(self._scale)
        return log_peak

    @cached_property
    def _standard(self) -> StudentPosterior:
        zeros, ones = np.zeros(self.n_arms), np.ones(self.n_arms)
        return StudentPosterior(zeros, ones, self.shape, self.shape)
