from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from bandits.gamma import GammaPosterior
from bandits.priors import ROUNDING, Unbounded, prior_vectors, refuse_deviation, refuse_mean
from bandits.statistics import ArmStatistics

_LARGEST_COUNT: Final = 1_000_000_000


class GammaPrior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gamma prior of an arm's rate: as if `shape` events had been counted in `rate` outcomes."""

    shape: Annotated[float, msgspec.Meta(ge=0.1, le=1e9, description="Events to start with, 0.1 to 1e9.")] = 1.0
    rate: Annotated[float, msgspec.Meta(ge=1e-9, le=1e9, description="Outcomes to start with, 1e-9 to 1e9.")] = 1.0


class Poisson(Unbounded):
    """Rewards that are counts: pages read, items bought.

    Gamma(a, b) prior, Gamma(a + S, b + n) posterior after S events in n outcomes. The variance of a count is taken to
    be its mean; for counts that vary more, `gaussian` is more honest.

    Reference:
        Gelman et al., "Bayesian Data Analysis" (3rd edition, 2013), section 2.6.
    """

    kind: ClassVar[str] = "poisson"
    values: ClassVar[str] = "a whole number from 0 to 1,000,000,000"
    adds_up: ClassVar[bool] = True
    prior: ClassVar[type[GammaPrior]] = GammaPrior

    def accepts(self, value: float) -> bool:
        """Whether `value` is a reward of this kind."""
        return 0 <= value <= _LARGEST_COUNT and value == math.floor(value)

    def posterior(self, statistics: ArmStatistics, priors: Sequence[GammaPrior]) -> GammaPosterior:
        """Posterior of each arm's rate.

        Raises:
            ValueError: when there is not one prior per arm, or an arm has counted less than nothing: then the
                statistics are broken.
        """
        shape, rate = prior_vectors(priors, statistics.n_arms)
        bad = np.flatnonzero(statistics.sum < -ROUNDING * np.maximum(statistics.n, 1))
        if bad.size:
            arm = bad[0]
            raise ValueError(f"arm {arm} has {statistics.sum[arm]} events in {statistics.n[arm]} outcomes of 0 or more")
        return GammaPosterior(shape + np.maximum(statistics.sum, 0), rate + statistics.n)

    def prior_with(self, mean: float, weight: float, deviation: float | None, shift: float) -> GammaPrior:
        """Prior worth `weight` outcomes at the rate whose logarithm is `shift` above that of `mean`.

        See `RewardModel`.
        """
        refuse_mean(mean, 0, _LARGEST_COUNT)
        refuse_deviation(self.kind, deviation)
        return GammaPrior(shape=weight * mean * math.exp(shift), rate=weight)
