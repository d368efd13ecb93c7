"""Many experiments at once under moving allocations: what the simulations of validity stand on.

All arrays have shape (runs, n_arms). Allocations are Thompson sampling's, but from a few draws of the normal
approximation: exact probabilities for a thousand runs at each of two hundred looks would take an hour. For validity
any allocation will do that is made from the past alone, as long as propensities are the ones really used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.statistics import ArmStatistics, FloatArray

BATCH: Final = 100  # decisions under one allocation; then everyone looks
DECISIONS: Final = 20_000
_DRAWS: Final = 50
_SEASON_PERIOD: Final = 7_000  # decisions


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """What the experiments of a simulation have in common.

    Attributes:
        rates: mean rewards, ndarray of shape (runs, n_arms).
        floor: smallest propensity of an arm.
        season: relative amplitude of a sine that all rates follow; 0 for constant rates.
        prior: α and β of the policy's Beta prior.
    """

    rates: FloatArray
    floor: float
    season: float = 0.0
    prior: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """One batch of decisions under one allocation, and what is known after it; shapes (runs, n_arms).

    Attributes:
        propensities: in force during the batch.
        guesses: posterior means from before the batch.
        chosen: decisions of the batch by arm.
        rewarded: rewards of the batch by arm.
        n: outcomes so far.
        ones: rewards so far.
        mean_rates: true rates, averaged over all decisions so far.
    """

    propensities: FloatArray
    guesses: FloatArray
    chosen: FloatArray
    rewarded: FloatArray
    n: FloatArray
    ones: FloatArray
    mean_rates: FloatArray


def looks(world: World, rng: np.random.Generator, decisions: int = DECISIONS) -> Iterator[Look]:
    """The looks at experiments of `decisions` decisions, one after each batch."""
    n, ones = np.zeros(world.rates.shape), np.zeros(world.rates.shape)
    season_so_far = 0.0
    for batch in range(1, decisions // BATCH + 1):
        guesses = posterior_mean(world.prior, n, ones)
        propensities = thompson(world, n, ones, rng)
        season = 1 + world.season * np.sin(2 * np.pi * batch * BATCH / _SEASON_PERIOD)
        season_so_far += season
        chosen = rng.multinomial(BATCH, propensities).astype(np.float64)
        rewarded = rng.binomial(chosen.astype(np.int64), world.rates * season).astype(np.float64)
        n, ones = n + chosen, ones + rewarded
        yield Look(
            propensities=propensities,
            guesses=guesses,
            chosen=chosen,
            rewarded=rewarded,
            n=n,
            ones=ones,
            mean_rates=world.rates * season_so_far / batch,
        )


def posterior_mean(prior: tuple[float, float], n: FloatArray, ones: FloatArray) -> FloatArray:
    """(α + S)/(α + β + n)."""
    return (prior[0] + ones) / (sum(prior) + n)


def posterior_deviation(prior: tuple[float, float], n: FloatArray, ones: FloatArray) -> FloatArray:
    """Standard deviation of Beta(α + S, β + n − S)."""
    mean = posterior_mean(prior, n, ones)
    deviation: FloatArray = np.sqrt(mean * (1 - mean) / (sum(prior) + n + 1))
    return deviation


def thompson(world: World, n: FloatArray, ones: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Each arm's share of wins among a few draws, raised to the floor."""
    mean, deviation = posterior_mean(world.prior, n, ones), posterior_deviation(world.prior, n, ones)
    draws = mean[:, None, :] + deviation[:, None, :] * rng.standard_normal((len(n), _DRAWS, n.shape[1]))
    n_arms = n.shape[1]
    wins = (draws.argmax(axis=2)[:, :, None] == np.arange(n_arms)).mean(axis=1)
    propensities: FloatArray = world.floor + (1 - n_arms * world.floor) * wins
    return propensities


def flat(n: FloatArray, total: FloatArray, sum_of_squares: FloatArray) -> ArmStatistics:
    """The statistics of all arms of all runs in one row."""
    return ArmStatistics(n=n.ravel(), sum=total.ravel(), sum_of_squares=sum_of_squares.ravel())
