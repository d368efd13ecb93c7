"""Who comes when: a Poisson process whose rate may swing, thinned from a faster one."""

from collections.abc import Iterator

import msgspec
import numpy as np

from app.simulation.scenarios import Scenario

__all__ = ["Arrival", "arrivals"]

BOTS = 5


class Arrival(msgspec.Struct, frozen=True):
    """One request to come. All randomness of what follows comes from its seed."""

    at_s: float  # since the start
    user: int
    bot: int | None  # its number, if it is one
    seed: int


def arrivals(
    rng: np.random.Generator, scenario: Scenario, *, n_users: int, rate: float, duration_s: float
) -> Iterator[Arrival]:
    """All requests of a run (Lewis and Shedler, Simulation of nonhomogeneous Poisson processes by thinning, 1979)."""
    fastest = rate * (1 + max(scenario.before.swing, scenario.after.swing))
    at = rng.exponential(1 / fastest)
    while at < duration_s:
        conditions = scenario.at(at / duration_s)
        wave = scenario.wave(at / duration_s)
        if rng.random() * fastest < rate * (1 + conditions.swing * wave):
            bot = int(rng.integers(BOTS)) if rng.random() < conditions.bots else None
            yield Arrival(at, int(rng.integers(n_users)), bot, int(rng.integers(2**53)))
        at += rng.exponential(1 / fastest)
