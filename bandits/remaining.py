"""How much there may still be to gain by going on: the value remaining in an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.posteriors import Posterior
from bandits.statistics import FloatArray
from bandits.winning import probability_best

# A ratio to the best arm's mean has a meaning when that is positive with all but this probability.
_PERHAPS_NOT_POSITIVE: Final = 1e-3

# Arms × draws that are held at once.
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ValueRemaining:
    """What a better arm than the best so far may bring, at most, with the probability asked for.

    Attributes:
        best: index of the arm with the largest P(best); of equal ones the first.
        absolute: quantile of max_j θ_j − θ_best, in units of the reward, 0 or more.
        relative: quantile of (max_j θ_j − θ_best)/θ_best; None where θ_best is 0 or less with a probability of 0.001
            or more, as gaussian rewards and bounded ones with a negative bound may be: then a ratio means nothing.
    """

    best: int
    absolute: float
    relative: float | None


def value_remaining(
    posterior: Posterior, rng: np.random.Generator, *, level: float = 0.95, n_draws: int = 10_000
) -> ValueRemaining:
    """The value remaining, from draws of all means.

    Args:
        posterior: of n_arms arms, 1 or more.
        rng: where the draws come from.
        level: of the quantile, between 0 and 1.
        n_draws: how many; the level is then known to √(level (1 − level)/n_draws), 0.2 % by default.

    Source: Scott, "Multi-armed bandit experiments in the online service economy" (2015), section 4.
    """
    best = int(np.argmax(probability_best(posterior)))
    per_block = max(1, _BLOCK // posterior.n_arms)
    gains, means = np.empty(n_draws), np.empty(n_draws)
    for start in range(0, n_draws, per_block):
        block = slice(start, min(start + per_block, n_draws))
        draws = posterior.sample(rng, block.stop - block.start)
        means[block] = draws[:, best]
        gains[block] = draws.max(axis=1) - means[block]
    return ValueRemaining(
        best=best,
        absolute=float(np.quantile(gains, level)),
        relative=_relative(gains, means, level) if _is_positive(posterior, best) else None,
    )


def _is_positive(posterior: Posterior, arm: int) -> bool:
    return bool(posterior.select(np.array([arm])).quantile(_PERHAPS_NOT_POSITIVE)[0] > 0)


def _relative(gains: FloatArray, means: FloatArray, level: float) -> float:
    """The quantile of gains/means; a draw of a mean that is not positive is beyond every quantile."""
    ratios = np.full_like(gains, np.inf)
    np.divide(gains, means, out=ratios, where=means > 0)
    return float(np.quantile(ratios, level, method="higher"))
