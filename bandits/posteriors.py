"""Posteriors of the arms' mean rewards, and the kinds of reward there are.

A new kind of reward is one new file beside bernoulli.py and one line in `REWARD_MODELS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

from bandits.bernoulli import Bernoulli
from bandits.bounded import Bounded
from bandits.densities import Densities
from bandits.gaussian import Gaussian
from bandits.poisson import Poisson
from bandits.statistics import ArmStatistics, FloatArray


class Posterior(Densities, Protocol):
    """What is believed about the mean reward θ of each arm; arms are independent."""

    @property
    def n_arms(self) -> int:
        """Number of arms."""

    @property
    def parameters(self) -> Mapping[str, FloatArray]:
        """The distributions' parameters by name, ndarrays of shape (n_arms,); equal ones mean equal arms."""

    @property
    def mean(self) -> FloatArray:
        """E[θ] of each arm, ndarray of shape (n_arms,)."""

    @property
    def standard_deviation(self) -> FloatArray:
        """Standard deviation of θ of each arm, ndarray of shape (n_arms,)."""

    def as_mapping(self, arm: int) -> dict[str, float]:
        """The parameters of one arm, fit for JSON."""

    def select(self, indices: npt.NDArray[np.intp]) -> Self:
        """The posterior of some arms, in the order of `indices`."""

    def quantile(self, probability: float) -> FloatArray:
        """The value below which each θ lies with `probability`, ndarray of shape (n_arms,)."""

    def interval(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Equal-tailed credible interval (lower, upper), shape (n_arms,) each; `level` as 0.95."""

    def sample(self, rng: np.random.Generator, n_draws: int) -> FloatArray:
        """Draws of each θ, ndarray of shape (n_draws, n_arms)."""


class RewardModel(Protocol):
    """A kind of reward: which values it has, and what they teach."""

    @property
    def kind(self) -> str:
        """Its name in a specification."""

    @property
    def values(self) -> str:
        """The values it accepts, in words, for messages: "0 or 1"."""

    @property
    def adds_up(self) -> bool:
        """Whether the sum of two rewards of this kind is one: else a decision's events cannot be summed."""

    @property
    def prior(self) -> type[msgspec.Struct]:
        """The struct of an arm's prior; without arguments it is the default prior."""

    def within(self, bounds: tuple[float, float] | None) -> Self:
        """This kind of reward between `bounds` (low, high); None where the kind takes none.

        Raises:
            ValueError: when bounds are missing, or not taken, or no interval.
        """

    def accepts(self, value: float) -> bool:
        """Whether `value` is a reward of this kind."""

    def posterior(self, statistics: ArmStatistics, priors: Sequence[Any]) -> Posterior:
        """Posterior of each arm's mean, given one prior (an instance of `prior`) per arm.

        Raises:
            ValueError: when the statistics cannot come from rewards of this kind.
        """

    def prior_with(self, mean: float, weight: float, deviation: float | None, shift: float) -> msgspec.Struct:
        """A prior worth `weight` outcomes, around a mean that is moved from `mean` by `shift`; limits unchecked.

        Args:
            mean: usual mean reward.
            weight: how many outcomes the prior is worth.
            deviation: standard deviation of one outcome, where the mean does not imply it; else None.
            shift: any number, on a scale that keeps the result a possible mean: in logits for rates, logarithms for
                counts, deviations for other numbers.

        Raises:
            ValueError: when the mean is no possible mean, or the deviation is missing or superfluous.
        """


REWARD_MODELS: Final[Mapping[str, RewardModel]] = MappingProxyType(
    {
        "bernoulli": Bernoulli(),
        "gaussian": Gaussian(),
        "poisson": Poisson(),
        "bounded": Bounded(),
    }
)
