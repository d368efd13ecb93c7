from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bandits.bernoulli import BetaPrior
from bandits.priors import ROUNDING, logistic_shift, prior_vectors, refuse_deviation, refuse_mean
from bandits.scaled_beta import ScaledBetaPosterior
from bandits.statistics import ArmStatistics


@dataclass(frozen=True)
class Bounded:
    """Rewards between two bounds: a rating, a share of a video watched.

    Fractional Bernoulli: an outcome r counts as (r − low)/(high − low) of a success and the rest of a failure.
    Beta(α, β) prior, Beta(α + S, β + n − S) posterior, rescaled to [low, high]. As no reward within the bounds varies
    more than one that is always low or high, the posterior is at least as wide as it should be.

    Attributes:
        low: smallest reward.
        high: largest reward, above `low`.

    Reference:
        Agrawal and Goyal, "Analysis of Thompson sampling for the multi-armed bandit problem" (2012), section 1.1,
        whose randomised rounding is replaced by its expectation.
    """

    low: float = 0.0
    high: float = 1.0

    kind: ClassVar[str] = "bounded"
    adds_up: ClassVar[bool] = False
    prior: ClassVar[type[BetaPrior]] = BetaPrior

    @property
    def values(self) -> str:
        """The values it accepts, in words."""
        return f"a number from {self.low:g} to {self.high:g}"

    def within(self, bounds: tuple[float, float] | None) -> Bounded:
        """This kind of reward with other bounds.

        Raises:
            ValueError: when there are none, or the first is not below the second.
        """
        if bounds is None:
            raise ValueError("bounded rewards need their bounds: [low, high]")
        low, high = bounds
        if not low < high:
            raise ValueError(f"the lower bound must be below the upper one, got [{low:g}, {high:g}]")
        return Bounded(low, high)

    def accepts(self, value: float) -> bool:
        """Whether `value` is a reward of this kind."""
        return self.low <= value <= self.high

    def posterior(self, statistics: ArmStatistics, priors: Sequence[BetaPrior]) -> ScaledBetaPosterior:
        """Posterior of each arm's mean reward.

        Raises:
            ValueError: when there is not one prior per arm, or the mean reward of an arm is outside the bounds: then
                the statistics are broken.
        """
        alpha, beta = prior_vectors(priors, statistics.n_arms)
        width = self.high - self.low
        successes = (statistics.sum - self.low * statistics.n) / width
        failures = (self.high * statistics.n - statistics.sum) / width
        # Where the bounds are far from 0 beside their distance, so is rounding.
        slack = ROUNDING * statistics.n * max(1, abs(self.low) / width, abs(self.high) / width)
        bad = np.flatnonzero((failures < -slack) | (successes < -slack))
        if bad.size:
            arm = bad[0]
            total, n = statistics.sum[arm], statistics.n[arm]
            raise ValueError(f"arm {arm} has a reward of {total} in {n} outcomes that must be {self.values}")
        return ScaledBetaPosterior(
            alpha + np.maximum(successes, 0), beta + np.maximum(failures, 0), self.low, self.high
        )

    def prior_with(self, mean: float, weight: float, deviation: float | None, shift: float) -> BetaPrior:
        """Prior worth `weight` outcomes, `shift` above `mean` in the logit of the scaled mean; see `RewardModel`."""
        refuse_mean(mean, self.low, self.high)
        refuse_deviation(self.kind, deviation)
        share = logistic_shift((mean - self.low) / (self.high - self.low), shift)
        return BetaPrior(alpha=weight * share, beta=weight * (1 - share))
