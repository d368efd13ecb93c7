from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray

__all__ = ["UpperConfidenceBound", "kl_upper_bound"]

# Each halves an interval no wider than 1: more would not change a double.
_HALVINGS: Final = 60

# Stands for 0 where 0 would be divided by: too small to be seen in any result.
_TINY: Final = 1e-300

# The kinds of reward that lie between known ends.
_WITH_ENDS: Final = ("bernoulli", "bounded")
_NO_ENDS: Final = "kl_ucb is for rewards with a smallest and a largest value: choose the variant ucb1"


class UpperConfidenceBound(Policy, frozen=True, kw_only=True, tag="ucb"):
    """Upper confidence bounds: the arm that could still be the best, judged with optimism.

    Idea: an arm is as good as the upper end of its confidence interval, which is far above the mean while the
    arm has few outcomes. All decisions (but for the floor) go to the largest bound until the next allocation;
    equal bounds share them. Arms without outcomes come first. Bounds use outcomes alone, not the prior.

    Both kinds of bound are for rewards within [0, 1]; others are rescaled. `kl_ucb`, for rewards with two ends,
    is the tighter, above all for small rates as those of clicks. `ucb1` takes all rewards: where they have no
    ends, their standard deviation, pooled over the arms, counts as half their range.

    Example:
        {"kind": "ucb", "variant": "kl_ucb", "warm_up": 100}

    Reference:
        Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit problem" (2002), figure 1.
        Garivier and Cappé, "The KL-UCB algorithm for bounded stochastic bandits and beyond" (COLT, 2011),
        algorithm 1 with c = 0, as they recommend in practice.
    """

    variant: Annotated[Literal["ucb1", "kl_ucb"], msgspec.Meta(description="Kind of bound.")] = "kl_ucb"

    def propensities(
        self,
        arms: Sequence[str],  # noqa: ARG002  # the signature of all policies
        statistics: ArmStatistics,
        posterior: Posterior,
    ) -> FloatArray:
        """1{i has the largest bound}/#largest, ndarray of shape (n_arms,); see `Policy.propensities`.

        Raises:
            ValueError: when KL-UCB is asked about rewards without ends.
        """
        unknown = statistics.n <= 0
        if unknown.any():
            return _shared(unknown)
        # The ends of what mean rewards can be, for the coordinate of posteriors has none.
        low, high = posterior.value(np.array([-np.inf, np.inf])).tolist()
        # Exactly rounded, so that the arms' order does not change it. Decayed outcomes may be less than one.
        limit = math.log(max(math.fsum(statistics.n), 1)) / statistics.n
        if self.variant == "ucb1":
            width = high - low if math.isfinite(high - low) else 2 * _pooled_deviation(statistics)
            bounds = statistics.mean + width * np.sqrt(2 * limit)
        elif math.isfinite(high - low):
            bounds = kl_upper_bound(np.clip((statistics.mean - low) / (high - low), 0, 1), limit)
        else:
            raise ValueError(_NO_ENDS)
        return _shared(bounds == bounds.max())

    def check(self, arms: Sequence[str], reward: str) -> None:
        """Also refuse KL-UCB for rewards without ends; see `Policy.check`."""
        super().check(arms, reward)
        if self.variant == "kl_ucb" and reward not in _WITH_ENDS:
            raise ValueError(f"{_NO_ENDS}; {reward} rewards have none")


def _shared(chosen: npt.NDArray[np.bool_]) -> FloatArray:
    """Equal shares of the chosen arms, shape (n_arms,)."""
    shares: FloatArray = chosen / chosen.sum()
    return shares


def _pooled_deviation(statistics: ArmStatistics) -> float:
    """Standard deviation of rewards around their arm's mean, in units of the reward; every arm has outcomes.

    Normal rewards of this deviation stray no further than rewards in a range twice as wide may (Hoeffding's
    lemma), so that UCB1's bounds hold for them.
    """
    squares = math.fsum(statistics.sum_of_squares - statistics.sum**2 / statistics.n)
    freedom = max(math.fsum(statistics.n) - statistics.n_arms, 1)
    return math.sqrt(max(squares, 0) / freedom)


def kl_upper_bound(mean: FloatArray, limit: FloatArray) -> FloatArray:
    """The largest q with d(mean, q) ≤ limit, where d is the Kullback-Leibler divergence of Bernoulli rewards.

    d(p, q) = p log(p/q) + (1 − p) log((1 − p)/(1 − q)) rises in q from p on. The search is in q − p, in which
    nothing cancels however close they are, and begins with Pinsker's bound, d(p, q) ≥ 2 (q − p)².

    Args:
        mean: p, within [0, 1], shape (n_arms,).
        limit: 0 or more, the same shape.

    Returns:
        ndarray of shape (n_arms,), within [mean, 1]; absolute error 1e-10 or less.
    """
    inside, above = np.zeros_like(mean), np.minimum(1 - mean, np.sqrt(limit / 2))
    for _ in range(_HALVINGS):
        middle = (inside + above) / 2
        allowed = _divergence(mean, middle) <= limit
        inside, above = np.where(allowed, middle, inside), np.where(allowed, above, middle)
    bound: FloatArray = mean + above
    return bound


def _divergence(mean: FloatArray, gain: FloatArray) -> FloatArray:
    """d(mean, mean + gain), elementwise."""
    success, failure = np.maximum(mean, _TINY), np.maximum(1 - mean, _TINY)
    with np.errstate(divide="ignore"):  # nothing is impossible but a mean of 1: infinite
        divergence: FloatArray = -success * np.log1p(gain / success) - failure * np.log1p(-gain / failure)
    return divergence
