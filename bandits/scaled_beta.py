"""Beta posteriors on [low, high] instead of [0, 1], for rewards with bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandits.beta import BetaPosterior
from bandits.statistics import FloatArray


@dataclass(frozen=True, eq=False)
class ScaledBetaPosterior(BetaPosterior):
    """Independent distributions of low + (high − low) x with x ~ Beta(alpha, beta), one per arm.

    Attributes:
        low: smallest reward, in units of the reward.
        high: largest reward, above `low`.
    """

    low: float
    high: float

    @property
    def mean(self) -> FloatArray:
        """E[θ] of each arm, ndarray of shape (n_arms,)."""
        return self.low + (self.high - self.low) * super().mean

    @property
    def standard_deviation(self) -> FloatArray:
        """Standard deviation of θ of each arm, ndarray of shape (n_arms,)."""
        return (self.high - self.low) * super().standard_deviation

    def sample(self, rng: np.random.Generator, n_draws: int) -> FloatArray:
        """Draws of each θ, ndarray of shape (n_draws, n_arms)."""
        return self.low + (self.high - self.low) * super().sample(rng, n_draws)

    def value(self, z: FloatArray) -> FloatArray:
        """The mean reward at coordinate `z`, elementwise."""
        return self.low + (self.high - self.low) * super().value(z)
