"""What the policy believes of the arms, as reports say it."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from msgspec import Struct

from app.learning import Evidence
from app.reports.shapes import Interval
from app.specification import Specification
from bandits.posteriors import Posterior
from bandits.remaining import value_remaining
from bandits.winning import maximum

__all__ = ["Belief", "Beliefs", "beliefs_of"]

# Draws for the value remaining, arms × draws: the quantile is then known to 0.2 % with 200 arms, to 0.5 % with 1,000.
_MOST_DRAWS: Final = 10_000
_DRAWS_OF_ALL_ARMS: Final = 2_000_000


class Belief(Struct, frozen=True, kw_only=True):
    """What is believed of one arm."""

    mean: float
    interval: Interval
    probability_best: float | None  # of arms that may be chosen
    expected_loss: float | None
    n: float


class Beliefs(Struct, frozen=True, kw_only=True):
    """What is believed of all arms; by key, and of those that may be chosen together."""

    arms: Mapping[str, Belief]
    value_remaining: float | None  # None: the best arm's mean may be 0 or less

    @property
    def have_data(self) -> bool:
        """Whether there is anything but the prior."""
        return any(belief.n > 0 for belief in self.arms.values())


def beliefs_of(specification: Specification, evidence: Evidence, *, level: float, seed: int) -> Beliefs:
    """Belief about the arms of the specification. `seed` is of the draws for the value remaining."""
    posterior = evidence.posterior
    lower, upper = posterior.interval(level)
    active = np.flatnonzero([arm.state == "active" for arm in specification.arms])
    contenders = posterior.select(active)
    winner = maximum(contenders)
    best = dict(zip(active.tolist(), winner.probability_best.tolist(), strict=True))
    loss = dict(zip(active.tolist(), np.maximum(winner.expected_maximum - contenders.mean, 0).tolist(), strict=True))
    arms = {
        key: Belief(
            mean=float(posterior.mean[i]),
            interval=(float(lower[i]), float(upper[i])),
            probability_best=best.get(i),
            expected_loss=loss.get(i),
            n=float(evidence.statistics.n[i]),
        )
        for i, key in enumerate(evidence.arms)
    }
    return Beliefs(arms=arms, value_remaining=_remaining(contenders, seed))


def _remaining(contenders: Posterior, seed: int) -> float | None:
    """By 95 %, what part of its mean may be gained over the best arm; the same at each look at one allocation."""
    n_draws = min(_MOST_DRAWS, _DRAWS_OF_ALL_ARMS // contenders.n_arms)
    return value_remaining(contenders, np.random.default_rng(seed), n_draws=n_draws).relative
