"""Target policies without contexts: what off-policy evaluation asks about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from bandits.policy import Policy, allocate
from bandits.posteriors import REWARD_MODELS, RewardModel
from bandits.statistics import ArmStatistics, FloatArray

__all__ = ["Learned", "OneArm", "Shares", "Target", "Uniform"]

_ROUNDING: Final = 1e-6


class Target(Protocol):
    """A policy whose value is asked for."""

    @property
    def label(self) -> str:
        """What it is called in a report."""

    @property
    def learns(self) -> bool:
        """Whether its probabilities depend on rewards of the log."""

    def probabilities(self, arms: Sequence[str], outside: Sequence[ArmStatistics]) -> FloatArray:
        """Its probability of each arm, for the rows of each fold.

        Args:
            arms: keys of the arms, n_arms of them.
            outside: for each fold, the statistics of the rows outside it: what a policy may learn from.

        Returns:
            shape (n_folds, n_arms), rows sum to 1.

        Raises:
            ValueError: the target does not fit these arms.
        """


@dataclass(frozen=True)
class Uniform:
    """Each arm alike."""

    @property
    def label(self) -> str:
        """See `Target.label`."""
        return "uniform"

    @property
    def learns(self) -> bool:
        """See `Target.learns`."""
        return False

    def probabilities(self, arms: Sequence[str], outside: Sequence[ArmStatistics]) -> FloatArray:
        """See `Target.probabilities`."""
        return np.full((len(outside), len(arms)), 1 / len(arms))


@dataclass(frozen=True)
class OneArm:
    """One arm for everybody: what if it were shipped?"""

    arm: str

    @property
    def label(self) -> str:
        """See `Target.label`."""
        return f"arm {self.arm}"

    @property
    def learns(self) -> bool:
        """See `Target.learns`."""
        return False

    def probabilities(self, arms: Sequence[str], outside: Sequence[ArmStatistics]) -> FloatArray:
        """See `Target.probabilities`."""
        return Shares({self.arm: 1.0}).probabilities(arms, outside)


@dataclass(frozen=True)
class Shares:
    """Given probabilities by arm key; an arm that is not named has 0.

    Raises:
        ValueError: one is negative or not a number, or they do not sum to 1.
    """

    by_arm: Mapping[str, float]

    def __post_init__(self) -> None:
        total = math.fsum(self.by_arm.values())
        bad = [arm for arm, share in self.by_arm.items() if not 0 <= share <= 1]
        if bad:
            raise ValueError(f"the probability of {bad[0]!r} is {self.by_arm[bad[0]]:g}; it lies between 0 and 1")
        if not abs(total - 1) <= _ROUNDING:
            raise ValueError(f"probabilities must sum to 1, got {total:g}")

    @property
    def label(self) -> str:
        """See `Target.label`."""
        return "given probabilities"

    @property
    def learns(self) -> bool:
        """See `Target.learns`."""
        return False

    def probabilities(self, arms: Sequence[str], outside: Sequence[ArmStatistics]) -> FloatArray:
        """See `Target.probabilities`."""
        unknown = sorted(self.by_arm.keys() - set(arms))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no arm of the log; the arms are {_listed(arms)}")
        shares = np.array([self.by_arm.get(arm, 0.0) for arm in arms])
        return np.tile(shares / shares.sum(), (len(outside), 1))


@dataclass(frozen=True)
class Learned:
    """A bandit policy after it has learned from the log: for each fold, from the rows outside it.

    So what is evaluated is the allocation that the policy would give now, not how it would have come there.

    Attributes:
        policy: any of `bandits.policy.POLICIES`.
        reward_model: kind of reward, one of `bandits.posteriors.REWARD_MODELS`.
        bounds: of the rewards, where the kind has them.
        priors: prior of each arm that the policy knows, by key; None: it knows all of the log, with the default prior.
        inactive: keys of arms that it knows and must not play.

    Raises:
        ValueError: there is no such reward model, or it does not have these bounds.
    """

    policy: Policy
    reward_model: str = "bernoulli"
    bounds: tuple[float, float] | None = None
    priors: Mapping[str, Any] | None = None
    inactive: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.reward_model not in REWARD_MODELS:
            raise ValueError(f"reward model {self.reward_model!r} is unknown; there are {', '.join(REWARD_MODELS)}")
        if self.bounds is not None:
            REWARD_MODELS[self.reward_model].within(self.bounds)

    @property
    def label(self) -> str:
        """See `Target.label`."""
        return f"policy {self.policy.kind}, learned from the log"

    @property
    def learns(self) -> bool:
        """See `Target.learns`."""
        return True

    def probabilities(self, arms: Sequence[str], outside: Sequence[ArmStatistics]) -> FloatArray:
        """See `Target.probabilities`."""
        known = tuple(arms if self.priors is None else self.priors)
        self.policy.check(known, self.reward_model)
        lacking = sorted(set(known) - set(arms))
        if lacking:
            raise ValueError(f"{lacking[0]!r} is no arm of the log; the arms are {_listed(arms)}")
        places = np.array([arms.index(arm) for arm in known])
        found = np.zeros((len(outside), len(arms)))
        found[:, places] = [self._allocation(known, statistics.select(places)) for statistics in outside]
        return found

    @property
    def _model(self) -> RewardModel:
        model = REWARD_MODELS[self.reward_model]
        return model if self.bounds is None else model.within(self.bounds)

    def _allocation(self, arms: Sequence[str], statistics: ArmStatistics) -> FloatArray:
        model = self._model
        default = msgspec.convert({}, model.prior)
        return allocate(
            self.policy,
            arms=arms,
            statistics=statistics,
            posterior=model.posterior(statistics, [(self.priors or {}).get(arm, default) for arm in arms]),
            mature=statistics.n,
            active=[arm not in self.inactive for arm in arms],
        ).probabilities


def _listed(arms: Sequence[str], most: int = 10) -> str:
    more = f" and {len(arms) - most} more" if len(arms) > most else ""
    return ", ".join(arms[:most]) + more
