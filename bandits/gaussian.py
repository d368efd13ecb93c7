from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

import msgspec
import numpy as np

from bandits.priors import ROUNDING, Unbounded, prior_vectors, refuse_mean
from bandits.statistics import ArmStatistics, FloatArray
from bandits.student import StudentPosterior

_LARGEST_REWARD: Final = 1e12

# What rounding may have swallowed of the squared deviations, relative to Σr²: it counts as spread.
_SWALLOWED: Final = 1e-14


class NormalInverseGammaPrior(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Prior of an arm's mean and variance: the mean is worth `strength` outcomes, the variance 2·`shape`.

    The variance is inverse gamma with `shape` and `rate`; before any outcome it is rate/(shape − 1) on average. The
    default says next to nothing about the mean, and little about the variance: about 1.
    """

    mean: Annotated[float, msgspec.Meta(ge=-1e12, le=1e12, description="Mean to start with, -1e12 to 1e12.")] = 0.0
    strength: Annotated[
        float, msgspec.Meta(ge=1e-6, le=1e9, description="Outcomes that the mean is worth, 1e-6 to 1e9.")
    ] = 0.01
    shape: Annotated[
        float, msgspec.Meta(gt=1, le=1e9, description="Half the outcomes that the variance is worth, above 1 to 1e9.")
    ] = 2.0
    rate: Annotated[
        float, msgspec.Meta(ge=1e-9, le=1e18, description="Half the sum of squared deviations, 1e-9 to 1e18.")
    ] = 1.0


class Gaussian(Unbounded):
    """Rewards that are any number, about normally distributed: revenue, minutes watched.

    Mean and variance are unknown. Normal-inverse-gamma prior (μ₀, κ₀, a₀, b₀); after n outcomes with sum S and sum of
    squares Q: κ = κ₀ + n, μ = (κ₀μ₀ + S)/κ, a = a₀ + n/2, b = b₀ + ½(Q − S²/n) + κ₀n(S/n − μ₀)²/(2κ). The mean is
    Student-t with 2a degrees of freedom, location μ and scale √(b/(aκ)).

    Reference:
        Murphy, "Conjugate Bayesian analysis of the Gaussian distribution" (2007), section 6.
    """

    kind: ClassVar[str] = "gaussian"
    values: ClassVar[str] = "a number from -1e12 to 1e12"
    adds_up: ClassVar[bool] = True
    prior: ClassVar[type[NormalInverseGammaPrior]] = NormalInverseGammaPrior

    def accepts(self, value: float) -> bool:
        """Whether `value` is a reward of this kind."""
        return abs(value) <= _LARGEST_REWARD

    def posterior(self, statistics: ArmStatistics, priors: Sequence[NormalInverseGammaPrior]) -> StudentPosterior:
        """Posterior of each arm's mean.

        Raises:
            ValueError: when there is not one prior per arm, or Σr² is less than (Σr)²/n: then the statistics are
                broken.
        """
        location, strength, shape, rate = prior_vectors(priors, statistics.n_arms)
        n, total = statistics.n, statistics.sum
        mean = np.divide(total, n, out=location.copy(), where=n > 0)
        return StudentPosterior(
            # As a step from the sample's mean, or the prior's, it keeps its digits with much and with little data.
            mean + (location - mean) * (strength / (strength + n)),
            strength + n,
            shape + n / 2,
            rate + _squared_deviations(statistics) / 2 + strength * (n / (strength + n)) * (mean - location) ** 2 / 2,
        )

    def prior_with(self, mean: float, weight: float, deviation: float | None, shift: float) -> NormalInverseGammaPrior:
        """Prior worth `weight` outcomes whose mean is `shift` deviations above `mean`; see `RewardModel`."""
        refuse_mean(mean, -_LARGEST_REWARD, _LARGEST_REWARD)
        if deviation is None:
            raise ValueError("gaussian rewards need the standard deviation of one outcome: deviation")
        return NormalInverseGammaPrior(
            mean=mean + shift * deviation,
            strength=weight,
            shape=1 + weight / 2,
            rate=weight / 2 * deviation**2,
        )


def _squared_deviations(statistics: ArmStatistics) -> FloatArray:
    """Q − S²/n of each arm, shape (n_arms,): 0 or more, and not less than its rounding.

    Of rewards whose mean is 10⁶ or more of their standard deviations, float64 sums keep next to nothing of the
    deviations. Then their spread is overstated, and what is believed of the mean is too wide, not too narrow.
    """
    squares = statistics.sum_of_squares
    centre = np.divide(statistics.sum**2, statistics.n, out=np.zeros_like(squares), where=statistics.n > 0)
    bad = np.flatnonzero(squares - centre < -ROUNDING * squares)
    if bad.size:
        arm = bad[0]
        n, total = statistics.n[arm], statistics.sum[arm]
        raise ValueError(f"arm {arm} has a sum of squares of {squares[arm]} with a sum of {total} in {n} outcomes")
    deviations: FloatArray = np.maximum(squares - centre, 0) + _SWALLOWED * squares
    return deviations
