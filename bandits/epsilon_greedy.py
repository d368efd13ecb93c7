from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray


class EpsilonGreedy(Policy, frozen=True, kw_only=True, tag="epsilon_greedy"):
    """ε-greedy: the arm with the largest mean, except for a share ε that all arms get equally.

    Idea: exploration at a constant rate, whatever has been learned. It is easy to explain and never done: a
    bad arm keeps ε/K of the decisions for ever. Arms whose posterior means tie share the greedy part.

    Example:
        {"kind": "epsilon_greedy", "epsilon": 0.1, "warm_up": 100}

    Reference:
        Sutton and Barto, "Reinforcement Learning: An Introduction" (2nd edition, 2018), section 2.2. Auer,
        Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem" (2002), section 2.
    """

    epsilon: Annotated[
        float, msgspec.Meta(ge=0, le=1, description="Share of decisions dealt equally to all arms, 0 to 1.")
    ] = 0.1

    def propensities(
        self,
        arms: Sequence[str],  # noqa: ARG002  # the signature of all policies
        statistics: ArmStatistics,  # noqa: ARG002
        posterior: Posterior,
    ) -> FloatArray:
        """(1 − ε)·1{i best}/#best + ε/K, ndarray of shape (n_arms,); see `Policy.propensities`."""
        means = posterior.mean
        best = means == means.max()
        greedy: FloatArray = (1 - self.epsilon) * best / best.sum() + self.epsilon / best.size
        return greedy
