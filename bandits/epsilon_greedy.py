from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec

from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray

__all__ = ["DecreasingEpsilon", "EpsilonGreedy"]


class DecreasingEpsilon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ε_t = min(1, cK/(d²t)) after t outcomes of K arms: exploration that ends as knowledge grows."""

    c: Annotated[float, msgspec.Meta(ge=1e-3, le=1e6, description="How long to explore, 0.001 to 1e6.")] = 5.0
    d: Annotated[
        float,
        msgspec.Meta(
            ge=1e-6,
            le=1,
            description="Least difference of the best mean reward from the next that is to be found, 1e-6 to 1.",
        ),
    ] = 0.1

    def after(self, outcomes: float, n_arms: int) -> float:
        """ε after so many outcomes of all `n_arms` arms together; 1 before the first."""
        explored = self.c * n_arms / self.d**2
        return explored / max(outcomes, explored)


class EpsilonGreedy(Policy, frozen=True, kw_only=True, tag="epsilon_greedy"):
    """ε-greedy: the arm with the largest mean, except for a share ε that all arms get equally.

    Idea: exploration at a constant rate, whatever has been learned. It is easy to explain and never done: a
    bad arm keeps ε/K of the decisions for ever. Arms whose posterior means tie share the greedy part.

    With `"epsilon": {"c": 5, "d": 0.1}` the share falls as min(1, cK/(d²t)) with the number t of outcomes that
    the statistics count (ε_n-greedy): slowly enough to find the best arm if it is d better than the next, and
    c is more than 5. The floor under each arm stays: `min_propensity` 0 lets exploration end altogether.

    Example:
        {"kind": "epsilon_greedy", "epsilon": 0.1, "warm_up": 100}

    Reference:
        Sutton and Barto, "Reinforcement Learning: An Introduction" (2nd edition, 2018), section 2.2. Auer,
        Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem" (2002), section 2.
    """

    epsilon: (
        Annotated[float, msgspec.Meta(ge=0, le=1, description="Share of decisions dealt equally to all arms, 0 to 1.")]
        | DecreasingEpsilon
    ) = 0.1

    def propensities(
        self,
        arms: Sequence[str],  # noqa: ARG002  # the signature of all policies
        statistics: ArmStatistics,
        posterior: Posterior,
    ) -> FloatArray:
        """(1 − ε)·1{i best}/#best + ε/K, ndarray of shape (n_arms,); see `Policy.propensities`."""
        means = posterior.mean
        best = means == means.max()
        epsilon = self.epsilon
        if isinstance(epsilon, DecreasingEpsilon):
            epsilon = epsilon.after(math.fsum(statistics.n), best.size)
        greedy: FloatArray = (1 - epsilon) * best / best.sum() + epsilon / best.size
        return greedy
