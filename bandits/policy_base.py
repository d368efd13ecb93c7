"""What all policies have in common: a floor under each probability, and a warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray

_ROUNDING: Final = 1e-12  # 3 × 1/3 is not always 1

MinPropensity = Annotated[
    float,
    msgspec.Meta(
        ge=0,
        le=1,
        description="Smallest probability of an active arm, 0 to 1; times the number of arms at most 1.",
    ),
]
WarmUp = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=1_000_000,
        description="Mature exposures that an active arm gets, at an equal share, before the policy decides.",
    ),
]


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A pure function from what is known about the arms to the probability of choosing each.

    A policy is its parameters and nothing else: frozen, comparable, and read from JSON as `AnyPolicy`.
    Subclasses implement `propensities`; floor and warm-up are put around it by `bandits.policy.allocate`.
    """

    min_propensity: MinPropensity | None = None
    warm_up: WarmUp = 100

    @property
    def kind(self) -> str:
        """The word that stands for this policy in an experiment's specification."""
        return str(self.__struct_config__.tag)

    def propensities(self, arms: Sequence[str], statistics: ArmStatistics, posterior: Posterior) -> FloatArray:
        """The policy's own probability of each arm, without floor and warm-up.

        Args:
            arms: keys of the active arms, n_arms of them.
            statistics: of the same arms.
            posterior: of the same arms.

        Returns:
            ndarray of shape (n_arms,), each within [0, 1], sum 1. A permutation of the arms permutes it.
        """
        raise NotImplementedError

    def default_floor(self, n_arms: int) -> float:
        """The floor when `min_propensity` is not given: 1 %, or a tenth of an equal share if less."""
        return min(0.01, 0.1 / n_arms)

    def floor(self, n_arms: int) -> float:
        """The smallest probability of each of `n_arms` active arms.

        Raises:
            ValueError: when `n_arms` times `min_propensity` exceeds 1.
        """
        if self.min_propensity is None:
            return self.default_floor(n_arms)
        if self.min_propensity * n_arms > 1 + _ROUNDING:
            raise ValueError(
                f"min_propensity {self.min_propensity} × {n_arms} arms exceeds 1: choose at most {1 / n_arms:g}"
            )
        return min(self.min_propensity, 1 / n_arms)

    def check(self, arms: Sequence[str], reward: str) -> None:  # noqa: ARG002  # for policies that need it
        """Refuse a policy that does not fit an experiment.

        Args:
            arms: keys of all its arms, drained ones included.
            reward: the kind of its rewards, one of `REWARD_MODELS`.

        Raises:
            ValueError: says which parameter does not fit, and what to do.
        """
        self.floor(len(arms))
