from __future__ import annotations

from collections.abc import Sequence

from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray
from bandits.winning import probability_best


class ThompsonSampling(Policy, frozen=True, kw_only=True, tag="thompson_sampling"):
    """Thompson sampling: each arm is chosen as often as it is the best, according to what is known.

    Idea: drawing one mean per arm from its posterior and taking the arm with the largest draw chooses arm i
    with probability P_i = P(θ_i = max θ). Here P_i is computed, not drawn, so each decision has an exact
    propensity. Uncertain arms keep a share and are explored; with evidence the best arm takes the rest.

    Example:
        {"kind": "thompson_sampling", "min_propensity": 0.01, "warm_up": 100}

    Reference:
        Thompson, "On the likelihood that one unknown probability exceeds another in view of the evidence of
        two samples" (Biometrika, 1933). Russo et al., "A tutorial on Thompson sampling" (2018), section 3.
    """

    def propensities(
        self,
        arms: Sequence[str],  # noqa: ARG002  # the signature of all policies
        statistics: ArmStatistics,  # noqa: ARG002
        posterior: Posterior,
    ) -> FloatArray:
        """P(arm i is best), ndarray of shape (n_arms,); see `Policy.propensities`."""
        return probability_best(posterior)
