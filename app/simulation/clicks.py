"""What a user does with a list: a position-based click model, purchases, revenue and delays.

A click needs examination and attraction, P(click at r) = r^−η · a(user, item): Craswell, Zoeter, Taylor and Ramsey, An
experimental comparison of click position-bias models, WSDM 2008 (examination hypothesis); η as in Joachims, Swaminathan
and Schnabel, Unbiased learning-to-rank with biased feedback, WSDM 2017, section 6.1.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from app.simulation.world import Floats, World

__all__ = ["Action", "actions", "bot_actions", "reward_probability"]

EXAMINATION_EXPONENT = 1.0
PURCHASE = 0.3  # probability, given a click
REVENUE_LOG_MEAN, REVENUE_LOG_DEVIATION = 3.0, 0.5


class Action(msgspec.Struct, frozen=True):
    """One thing that a user does."""

    metric: str
    value: float
    delay_s: float  # after the answer
    row: int  # which item of the list, from 0


def click_probabilities(world: World, user: int, rows: Sequence[int], appeal: float) -> Floats:
    """Probability of a click at each position of a list of item numbers, −1 for foreign ones; shape (len(rows),)."""
    numbers = np.array(rows, dtype=np.int64)
    examined = np.arange(1, len(rows) + 1) ** -EXAMINATION_EXPONENT
    attraction = np.where(numbers >= 0, world.attraction[user, numbers], 0.0)
    return np.asarray(examined * np.minimum(appeal * attraction, 1))


def reward_probability(world: World, user: int, rows: Sequence[int], appeal: float) -> float:
    """Probability of at least one click: 1 − Π(1 − p_r), as positions are independent."""
    return float(1 - np.prod(1 - click_probabilities(world, user, rows, appeal)))


def actions(
    rng: np.random.Generator, world: World, user: int, rows: Sequence[int], *, appeal: float, mean_delay_s: float
) -> list[Action]:
    """Clicks, and purchases that follow from them; delays are exponential."""
    clicked = np.flatnonzero(rng.random(len(rows)) < click_probabilities(world, user, rows, appeal))
    done: list[Action] = []
    for row in clicked.tolist():
        delay = rng.exponential(mean_delay_s)
        done.append(Action("click", 1, delay, row))
        if rng.random() < PURCHASE:
            revenue = round(rng.lognormal(REVENUE_LOG_MEAN, REVENUE_LOG_DEVIATION), 2)
            done.append(Action("revenue", revenue, delay + rng.exponential(mean_delay_s), row))
    return done


def bot_actions(n_items: int) -> list[Action]:
    """A bot clicks everything at once and buys nothing."""
    return [Action("click", 1, 0.0, row) for row in range(n_items)]
