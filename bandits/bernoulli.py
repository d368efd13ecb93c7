from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from bandits.beta import BetaPosterior
from bandits.priors import ROUNDING, Unbounded, logistic_shift, prior_vectors, refuse_deviation, refuse_mean
from bandits.statistics import ArmStatistics

__all__ = ["Bernoulli", "BetaPosterior", "BetaPrior"]


class BetaPrior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Beta prior of an arm's rate: as if `alpha` rewarded and `beta` unrewarded outcomes had been seen."""

    alpha: Annotated[
        float, msgspec.Meta(ge=0.1, le=1e9, description="Rewarded outcomes to start with, 0.1 to 1e9.")
    ] = 1.0
    beta: Annotated[
        float, msgspec.Meta(ge=0.1, le=1e9, description="Unrewarded outcomes to start with, 0.1 to 1e9.")
    ] = 1.0


class Bernoulli(Unbounded):
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
        alpha, beta = prior_vectors(priors, statistics.n_arms)
        failures = statistics.n - statistics.sum
        slack = ROUNDING * statistics.n
        bad = np.flatnonzero((failures < -slack) | (statistics.sum < -slack))
        if bad.size:
            arm = bad[0]
            raise ValueError(f"arm {arm} has {statistics.sum[arm]} rewards in {statistics.n[arm]} outcomes of 0 or 1")
        return BetaPosterior(alpha + np.maximum(statistics.sum, 0), beta + np.maximum(failures, 0))

    def prior_with(self, mean: float, weight: float, deviation: float | None, shift: float) -> BetaPrior:
        """Prior worth `weight` outcomes at the rate whose logit is `shift` above that of `mean`; see `RewardModel`."""
        refuse_mean(mean, 0, 1)
        refuse_deviation(self.kind, deviation)
        rate = logistic_shift(mean, shift)
        return BetaPrior(alpha=weight * rate, beta=weight * (1 - rate))
