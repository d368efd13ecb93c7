from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import numpy as np

from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray
from bandits.winning import probability_best

# Probabilities to be best are exact to 1e-12 or so: what is less together has no proportions.
_RESOLVED: Final = 1e-12


class TopTwo(Policy, frozen=True, kw_only=True, tag="top_two"):
    """Top-two Thompson sampling: for finding the best arm soon, rather than earning most on the way.

    Idea: Thompson sampling hardly tries the others once one arm leads, and so needs long to be sure. Here an
    arm is drawn as in Thompson sampling and kept with probability β; else it is drawn again until another arm
    comes. The leader gets about β of the decisions, and its likeliest rivals the rest.

    Example:
        {"kind": "top_two", "beta": 0.5, "warm_up": 100}

    Reference:
        Russo, "Simple Bayesian algorithms for best-arm identification" (Operations Research, 2020), section 3.
    """

    beta: Annotated[
        float,
        msgspec.Meta(ge=0, le=1, description="Probability that the first draw is kept, 0 to 1; 1: Thompson sampling."),
    ] = 0.5

    def propensities(
        self,
        arms: Sequence[str],  # noqa: ARG002  # the signature of all policies
        statistics: ArmStatistics,  # noqa: ARG002
        posterior: Posterior,
    ) -> FloatArray:
        """β P_i + (1 − β) Σ_{j≠i} P_j P_i/(1 − P_j), shape (n_arms,); see `Policy.propensities`.

        P_i is the probability that arm i is best. A single arm gets 1.
        """
        best = probability_best(posterior)
        if best.size == 1:
            return best
        leader = int(np.argmax(best))
        odds = best / (1 - np.where(np.arange(best.size) == leader, 0, best))
        odds[leader] = 0
        # The leader's own odds may be endless. All others are at most 1, and so subtract without harm.
        second: FloatArray = best * (odds.sum() - odds) + best[leader] * _rivals(best, leader, posterior)
        return self.beta * best + (1 - self.beta) * second


def _rivals(best: FloatArray, leader: int, posterior: Posterior) -> FloatArray:
    """P_i/(1 − P_leader) of the other arms, 0 for the leader: shape (n_arms,), sum 1.

    1 − P_leader is summed from the others, since the difference would cancel. Where it is below what P_i are
    exact to, its limit takes over: arm i is best about as often as it beats the leader, P(θ_i > θ_leader),
    for which normal tails are taken, by the bound of Birnbaum (1942): Φ(−z) ≈ 2 φ(z) / (z + √(z² + 4)).
    """
    others = best.copy()
    others[leader] = 0
    if others.sum() < _RESOLVED:
        mean, variance = posterior.mean, posterior.standard_deviation**2
        z = np.maximum(mean[leader] - mean, 0) / np.sqrt(variance + variance[leader])
        log_tail = -(z**2) / 2 - np.log(z + np.sqrt(z**2 + 4))
        log_tail[leader] = -np.inf
        others = np.exp(log_tail - log_tail.max())
    shares: FloatArray = others / others.sum()
    return shares
