from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np

from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray


class Softmax(Policy, frozen=True, kw_only=True, tag="softmax"):
    """Softmax (Boltzmann exploration): shares that grow exponentially with the mean.

    Idea: better arms get more, and how much more is set once, by a temperature τ in units of the reward: an
    arm that is τ better gets e times the share. Near 0 it is greedy, far above the arms' differences equal.
    Uncertainty does not count, so that τ has to suit the size of the differences that matter.

    Example:
        {"kind": "softmax", "temperature": 0.02, "warm_up": 500}

    Reference:
        Sutton and Barto, "Reinforcement Learning: An Introduction" (2nd edition, 2018), section 2.8.
        Cesa-Bianchi, Gentile, Lugosi and Neu, "Boltzmann exploration done right" (NeurIPS, 2017).
    """

    temperature: Annotated[
        float,
        msgspec.Meta(ge=1e-6, le=1e6, description="Difference in mean reward that divides shares by e, 1e-6 to 1e6."),
    ] = 0.1

    def propensities(
        self,
        arms: Sequence[str],  # noqa: ARG002  # the signature of all policies
        statistics: ArmStatistics,  # noqa: ARG002
        posterior: Posterior,
    ) -> FloatArray:
        """exp(mean_i/τ) / Σ exp(mean_j/τ), ndarray of shape (n_arms,); see `Policy.propensities`."""
        means = posterior.mean
        # Relative to the largest: then no exponential overflows, and the sum is at least 1.
        weights = np.exp((means - means.max()) / self.temperature)
        shares: FloatArray = weights / weights.sum()
        return shares
