from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from bandits.beta import BetaPosterior
from bandits.statistics import ArmStatistics

__all__ = ["Bernoulli", "BetaPosterior", "BetaPrior"]

# Decayed sums are rounded: this much more reward than outcomes, relative, is not a fault.
_ROUNDING: Final = 1e-9


class BetaPrior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beta prior of an arm's rate: as if `alpha` rewarded and `beta` unrewarded outcomes had been seen."""

    alpha: Annotated[
        float, msgspec.Meta(ge=0.1, le=1e9, description="Rewarded outcomes to start with, 0.1 to 1e9.")
    ] = 1.0
    beta: Annotated[
        float, msgspec.Meta(ge=0.1, le=1e9, description="Unrewarded outcomes to start with, 0.1 to 1e9.")
    ] = 1.0


class Bernoulli:
    """Rewards of 0 or 1: a click, a conversion.

    Beta(α, β) prior, Beta(α + S, β + n − S) posterior after n outcomes of which S were 1.

    Reference:
        Chapelle and Li, "An empirical evaluation of Thompson sampling" (2011), algorithm 2.
    """

    kind: ClassVar[str] = "bernoulli"
    values: ClassVar[str] = "0 or 1"
    adds_up: ClassVar[bool] = False
    prior: ClassVar[type[BetaPrior]] = BetaPrior

    def accepts(self, value: float) -> bool:
        """Whether `value` is a reward of this kind."""
        return value in (0, 1)

    def posterior(self, statistics: ArmStatistics, priors: Sequence[BetaPrior]) -> BetaPosterior:
        """Posterior of each arm's rate.

        Raises:
            ValueError: when there is not one prior per arm, or an arm has more reward than outcomes, or less
                than none: then the statistics are broken.
        """
        if len(priors) != statistics.n_arms:
            raise ValueError(f"{statistics.n_arms} arms need one prior each, got {len(priors)}")
        failures = statistics.n - statistics.sum
        slack = _ROUNDING * statistics.n
        bad = np.flatnonzero((failures < -slack) | (statistics.sum < -slack))
        if bad.size:
            arm = bad[0]
            raise ValueError(f"arm {arm} has {statistics.sum[arm]} rewards in {statistics.n[arm]} outcomes of 0 or 1")
        return BetaPosterior(
            np.array([prior.alpha for prior in priors]) + np.maximum(statistics.sum, 0),
            np.array([prior.beta for prior in priors]) + np.maximum(failures, 0),
        )
