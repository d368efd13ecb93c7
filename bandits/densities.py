"""What an integrator needs to know of a set of posterior densities, whatever their family."""

from __future__ import annotations

from typing import Protocol

from bandits.statistics import FloatArray


class Densities(Protocol):
    """One density per arm, over a coordinate z that is common to all arms and has no bounds.

    The family chooses the coordinate such that every density is smooth in it and falls at least exponentially
    (the logit for Beta, the logarithm for Gamma, asinh for Student-t): then a few Gauss panels integrate it to the
    last digits, and Newton's method finds any of its points.
    """

    @property
    def support(self) -> tuple[FloatArray, FloatArray]:
        """Ends (lower, upper) in z of each arm, shape (n_arms,) each; less than 1e-14 lies outside."""

    def log_density(self, z: FloatArray) -> FloatArray:
        """Log density per unit of z, shape (n_arms, n_points).

        `z` has that shape too, each arm at its own points, or (1, n_points), all arms at the same.
        """

    def panel_width(self, z: FloatArray) -> FloatArray:
        """Widest panel at `z`, shape (n_arms,), on which 24 Gauss nodes integrate each arm's density."""

    def value(self, z: FloatArray) -> FloatArray:
        """The mean reward at coordinate `z`, elementwise, rising in z."""
