"""When the next user comes, and how long to go on trying while the service is away."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from app.replay.client import ServiceAway
from app.replay.scenario import Scenario, Visitor

__all__ = ["Arrival", "Patience", "Schedule", "Stopped"]

_T = TypeVar("_T")

MAX_LAG_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
DELAYED_CLICKS = 0.5  # share of clicks that do not come at once


class Stopped(Exception):
    """The replay was interrupted."""


class Arrival(NamedTuple):
    """A user who comes at a time, and would click so long after the answer."""

    due: float  # on the clock of time.monotonic
    visitor: Visitor
    click_delay_s: float


class Schedule:
    """Users who come at random times (a Poisson process), whether or not earlier ones have been served.

    Threads share one schedule. Users and delays depend on the seed alone. When all threads are busy for long,
    as while the service is away, users of that time are not made up for: lag beyond a second is forgiven.
    """

    def __init__(self, scenario: Scenario, *, rate: float, total: int | None, seed: int) -> None:
        visitors, timing = np.random.SeedSequence(seed).spawn(2)
        self._visitors: Iterator[Visitor] = scenario.visitors(np.random.default_rng(visitors))
        self._timing = np.random.default_rng(timing)
        self._mean_delay_s = scenario.click_delay_s
        self._rate, self._left = rate, total
        self._due = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> Arrival | None:
        """The next arrival; None when all have been taken."""
        with self._lock:
            if self._left == 0:
                return None
            if self._left is not None:
                self._left -= 1
            self._due = max(self._due, time.monotonic() - MAX_LAG_S)
            arrival = Arrival(self._due, next(self._visitors), self._click_delay_s())
            self._due += self._timing.exponential(1 / self._rate)
            return arrival

    def _click_delay_s(self) -> float:
        """Half of the clicks come at once, the others after a random time, at most three times the mean."""
        late, delay = self._timing.random() < DELAYED_CLICKS, self._timing.exponential(self._mean_delay_s)
        return min(float(delay), 3 * self._mean_delay_s) if late else 0.0


class Patience:
    """Repeats a call while the service is away, with growing random pauses, for a limited time.

    Args:
        stop: set when the replay is interrupted.
        limit_s: for how long to go on.
        jitter: gives numbers from 0 to 1.
        on_retry: told of each failure.
    """

    def __init__(
        self,
        stop: threading.Event,
        *,
        limit_s: float,
        jitter: Callable[[], float],
        on_retry: Callable[[ServiceAway], None],
    ) -> None:
        self._stop, self._limit_s, self._jitter, self._on_retry = stop, limit_s, jitter, on_retry

    def __call__(self, call: Callable[[], _T]) -> _T:
        """The call's result.

        Raises:
            ServiceAway: the time is over.
            Stopped: interrupted during a pause.
        """
        give_up, pause = time.monotonic() + self._limit_s, FIRST_PAUSE_S
        while True:
            try:
                return call()
            except ServiceAway as away:
                self._on_retry(away)
                wait = away.retry_after_s + pause * (1 - self._jitter() / 2)
                if time.monotonic() + wait > give_up:
                    raise
            if self._stop.wait(wait):
                raise Stopped
            pause = min(pause * 2, LONGEST_PAUSE_S)
