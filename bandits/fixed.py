from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import numpy as np

from bandits.policy_base import Policy, WarmUp
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics, FloatArray

_ROUNDING: Final = 1e-9

Share = Annotated[float, msgspec.Meta(ge=0, le=1, description="Share of one arm's decisions, 0 to 1.")]


class Fixed(Policy, frozen=True, kw_only=True, tag="fixed"):
    """Given shares: an A/B/n test, or a gradual roll-out.

    Idea: nothing is learned and every arm keeps its share, which makes plain statistics valid. The share of a
    drained arm is spread over the others in proportion to theirs (equally, when theirs are all 0). By default
    there is neither a floor nor a warm-up: the shares are what was asked for.

    Example:
        {"kind": "fixed", "probabilities": {"control": 0.9, "treatment": 0.1}}

    Reference:
        Kohavi, Tang and Xu, "Trustworthy Online Controlled Experiments" (2020), chapters 2 and 15.
    """

    probabilities: Annotated[
        dict[str, Share],
        msgspec.Meta(min_length=1, description="Share of each arm by its key, 0 to 1; together 1."),
    ]
    warm_up: WarmUp = 0

    def __post_init__(self) -> None:
        total = math.fsum(self.probabilities.values())
        if not abs(total - 1) <= _ROUNDING:
            raise ValueError(f"probabilities must sum to 1, got {total:g}")

    def propensities(
        self,
        arms: Sequence[str],
        statistics: ArmStatistics,  # noqa: ARG002  # the signature of all policies
        posterior: Posterior,  # noqa: ARG002
    ) -> FloatArray:
        """The given shares, rescaled to these arms, shape (n_arms,); see `Policy.propensities`.

        Raises:
            ValueError: when an arm has no share.
        """
        self._refuse_missing(arms)
        shares = np.array([self.probabilities[arm] for arm in arms])
        total = math.fsum(shares)
        return shares / total if total > 0 else np.full(shares.size, 1 / shares.size)

    def default_floor(self, n_arms: int) -> float:  # noqa: ARG002  # the signature of all policies
        """No floor: a share of 0 is meant."""
        return 0.0

    def check(self, arms: Sequence[str], reward: str) -> None:
        """Also refuse shares that are missing, or of arms that do not exist; see `Policy.check`."""
        super().check(arms, reward)
        self._refuse_missing(arms)
        unknown = sorted(self.probabilities.keys() - set(arms))
        if unknown:
            raise ValueError(f"probabilities name arms that do not exist: {', '.join(unknown)}")

    def _refuse_missing(self, arms: Sequence[str]) -> None:
        missing = [arm for arm in arms if arm not in self.probabilities]
        if missing:
            raise ValueError(f"probabilities lack these arms: {', '.join(missing)} (0 is allowed)")
