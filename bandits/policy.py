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
from bandits.statistics import ArmStatistics, FloatArray, frozen
from bandits.thompson import ThompsonSampling

__all__ = ["POLICIES", "Allocation", "AnyPolicy", "Policy", "allocate", "floor"]

# The registry. As a type, so that msgspec reads the right policy by its "kind" in any struct.
AnyPolicy = ThompsonSampling | EpsilonGreedy | Fixed

POLICIES: Final[Mapping[str, type[Policy]]] = MappingProxyType(
    {str(policy.__struct_config__.tag): policy for policy in get_args(AnyPolicy)}
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Allocation:
    """The probabilities with which arms are chosen.

    Attributes:
        arms: keys of all arms, drained ones included.
        probabilities: in the order of `arms`, shape (n_arms,), read-only, 0 for drained arms, sum 1.
        reason: "warm_up" while shares are equal because evidence is missing, "learned" afterwards.
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
) -> Allocation:
    """The allocation that a policy gives, with warm-up, floor and drained arms.

    Drained arms get exactly 0, and everything else is computed as if they were not there. Until each active
    arm has `policy.warm_up` mature exposures, active arms get equal shares. Then p ← f + (1 − K f) p over the
    K active arms, with the floor f, keeps the order of the policy's own propensities.

    Args:
        policy: any of `POLICIES`.
        arms: keys of all n_arms arms.
        statistics: of all arms.
        posterior: of all arms.
        mature: number of mature exposures of each arm, shape (n_arms,).
        active: whether each arm may be chosen, shape (n_arms,).

    Returns:
        The allocation over all arms.

    Raises:
        ValueError: when shapes differ, no arm is active, or the policy does not fit the arms.
    """
    mature, active = np.asarray(mature), np.asarray(active, dtype=bool)
    shapes = {len(arms), statistics.n_arms, posterior.n_arms, mature.size, active.size}
    if len(shapes) > 1:
        raise ValueError(f"arms, statistics, posterior, mature and active differ in length: {sorted(shapes)}")
    chosen = np.flatnonzero(active)
    if not chosen.size:
        raise ValueError("no arm is active: an experiment needs at least one that may be chosen")
    probabilities = np.zeros(len(arms))
    warming_up = bool(mature[chosen].min() < policy.warm_up)
    if warming_up:
        probabilities[chosen] = 1 / chosen.size
    else:
        keys = [arms[arm] for arm in chosen.tolist()]
        raw = policy.propensities(keys, statistics.select(chosen), posterior.select(chosen))
        probabilities[chosen] = _raise_to_floor(raw, policy.floor(chosen.size))
    return Allocation(
        arms=tuple(arms),
        probabilities=frozen(probabilities),
        reason="warm_up" if warming_up else "learned",
    )


def floor(policy: Policy, n_arms: int) -> float:
    """The smallest probability that a policy leaves to each of `n_arms` active arms; see `Policy.floor`."""
    return policy.floor(n_arms)


def _raise_to_floor(raw: FloatArray, smallest: float) -> FloatArray:
    """The map p ← f + (1 − K f) p. Dividing by the sum before, not after, leaves the floor exact."""
    free = max(1 - raw.size * smallest, 0)
    raised: FloatArray = smallest + free * (raw / raw.sum())
    return raised
