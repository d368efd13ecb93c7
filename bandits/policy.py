"""The policies there are, and how one becomes an allocation.

A new policy is one new file beside thompson.py and its name in `AnyPolicy`; the conformance tests then ask
for an example of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fixed import Fixed
from bandits.policy_base import Policy
from bandits.posteriors import Posterior
from bandits.softmax import Softmax
from bandits.statistics import ArmStatistics, FloatArray, frozen
from bandits.thompson import ThompsonSampling
from bandits.top_two import TopTwo
from bandits.ucb import UpperConfidenceBound

__all__ = ["POLICIES", "Allocation", "AnyPolicy", "Policy", "allocate", "floor"]

# The registry. As a type, so that msgspec reads the right policy by its "kind" in any struct.
AnyPolicy = ThompsonSampling | TopTwo | EpsilonGreedy | UpperConfidenceBound | Softmax | Fixed

POLICIES: Final[Mapping[str, type[Policy]]] = MappingProxyType(
    {str(policy.__struct_config__.tag): policy for policy in get_args(AnyPolicy)}
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Allocation:
    """The probabilities with which arms are chosen.

    Attributes:
        arms: keys of all arms, drained ones included.
        probabilities: in the order of `arms`, shape (n_arms,), read-only, 0 for drained arms, sum 1.
        reason: "warm_up" while evidence about an active arm is missing, "learned" afterwards.
    """

    arms: tuple[str, ...]
    probabilities: FloatArray
    reason: Literal["warm_up", "learned"]

    def as_mapping(self) -> dict[str, float]:
        """The probabilities by arm key, fit for JSON."""
        return dict(zip(self.arms, self.probabilities.tolist(), strict=True))


def allocate(
    policy: Policy,
    *,
    arms: Sequence[str],
    statistics: ArmStatistics,
    posterior: Posterior,
    mature: npt.ArrayLike,
    active: npt.ArrayLike,
    start: npt.ArrayLike | None = None,
) -> Allocation:
    """The allocation that a policy gives, with warm-up, floor and drained arms.

    Drained arms get exactly 0, and everything else is computed as if they were not there. Arms with fewer than
    `policy.warm_up` mature exposures are cold. Of K active arms:

    - None is cold: p ← f + (1 − K f) p, with the floor f, keeps the order of the policy's own propensities.
    - Some are: each cold arm gets 1/K. The warm arms share the rest in the proportions of their allocation
      without the cold ones, so that a new arm warms up at the expense of all others alike.
    - All are: the shares are those of `start`, or equal.

    In the last two cases a share below the floor is raised to it, and the larger ones pay in proportion.

    Args:
        policy: any of `POLICIES`.
        arms: keys of all n_arms arms.
        statistics: of all arms.
        posterior: of all arms.
        mature: number of mature exposures of each arm, shape (n_arms,).
        active: whether each arm may be chosen, shape (n_arms,).
        start: shares to start with, shape (n_arms,), 0 or more, in any unit; equal if those of the active arms
            are all 0.

    Returns:
        The allocation over all arms.

    Raises:
        ValueError: when shapes differ, no arm is active, `start` holds no shares, or the policy does not fit
            the arms.
    """
    mature, active = np.asarray(mature), np.asarray(active, dtype=bool)
    split = _split(np.zeros(len(arms)) if start is None else start)
    lengths = {len(arms), statistics.n_arms, posterior.n_arms, mature.size, active.size, split.size}
    if len(lengths) > 1:
        raise ValueError(f"arms, statistics, posterior, mature, active and start differ in length: {sorted(lengths)}")
    chosen = np.flatnonzero(active)
    if not chosen.size:
        raise ValueError("no arm is active: an experiment needs at least one that may be chosen")
    cold = mature[chosen] < policy.warm_up
    smallest = policy.floor(chosen.size)
    if cold.all():
        shares = _lifted(_proportional(split[chosen]), smallest)
    else:
        warm = chosen[~cold]
        raw = policy.propensities([arms[arm] for arm in warm], statistics.select(warm), posterior.select(warm))
        learned = _raise_to_floor(raw, policy.floor(warm.size))
        shares = np.full(chosen.size, 1 / chosen.size)
        shares[~cold] = _lifted(learned * (warm.size / chosen.size), smallest) if cold.any() else learned
    probabilities = np.zeros(len(arms))
    probabilities[chosen] = shares
    return Allocation(
        arms=tuple(arms),
        probabilities=frozen(probabilities),
        reason="warm_up" if cold.any() else "learned",
    )


def floor(policy: Policy, n_arms: int) -> float:
    """The smallest probability that a policy leaves to each of `n_arms` active arms; see `Policy.floor`."""
    return policy.floor(n_arms)


def _raise_to_floor(raw: FloatArray, smallest: float) -> FloatArray:
    """The map p ← f + (1 − K f) p. Dividing by the sum before, not after, leaves the floor exact."""
    free = max(1 - raw.size * smallest, 0)
    raised: FloatArray = smallest + free * (raw / raw.sum())
    return raised


def _split(start: npt.ArrayLike) -> FloatArray:
    split = np.asarray(start, dtype=np.float64)
    if not (np.isfinite(split) & (split >= 0)).all():
        raise ValueError(f"start must hold a finite share of each arm, 0 or more, got {split.tolist()}")
    return split


def _proportional(split: FloatArray) -> FloatArray:
    """Shares in proportion to `split`, sum 1; equal ones when it is all 0."""
    largest = split.max()
    if not largest > 0:
        return np.full(split.size, 1 / split.size)
    shares: FloatArray = split / largest / (split / largest).sum()
    return shares


def _lifted(shares: FloatArray, smallest: float) -> FloatArray:
    """`smallest` where a share is below it, and the same sum: the other shares pay in proportion.

    Paying may bring another share below: then that one is lifted too.
    """
    lifted, low = shares, np.zeros(shares.size, dtype=bool)
    while (lifted < smallest).any():
        low |= lifted < smallest
        paying = shares[~low].sum()
        left = shares.sum() - smallest * low.sum()
        lifted = np.where(low, smallest, shares * (left / paying if paying > 0 else 0))
    return lifted
