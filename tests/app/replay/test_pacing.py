import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from app.replay.client import ServiceAway
from app.replay.msweb import SiteVisit
from app.replay.pacing import Arrival, Patience, Schedule, Stopped
from app.replay.scenario import Scenario, Visitor


def numbered(rng: np.random.Generator) -> Iterator[Visitor]:
    """Visitors with random names."""
    while True:
        yield SiteVisit(str(rng.integers(10**9)), (), "7")


SCENARIO = Scenario(experiment="x", specification={}, items=[], visitors=numbered, expected={}, k=1, click_delay_s=1.0)


def arrivals(n: int, *, rate: float = 1000.0, seed: int = 1) -> list[Arrival]:
    """All arrivals of a schedule."""
    schedule = Schedule(SCENARIO, rate=rate, total=n, seed=seed)
    taken = list(iter(schedule.take, None))
    assert len(taken) == n
    return taken


def test_arrivals_come_at_the_rate() -> None:
    """2,000 users at 1,000 a second take 2 seconds, within 6 standard errors; later ones are due later."""
    due = [arrival.due for arrival in arrivals(2000)]
    assert due == sorted(due)
    assert due[-1] - due[0] == pytest.approx(2.0, abs=6 * 2.0 / np.sqrt(2000))


def test_users_and_delays_follow_the_seed() -> None:
    """The same seed gives the same users and click delays, at whatever rate."""
    first, again, other = arrivals(50), arrivals(50, rate=500), arrivals(50, seed=2)

    def essence(taken: list[Arrival]) -> list[tuple[str, float]]:
        return [(arrival.visitor.unit, arrival.click_delay_s) for arrival in taken]

    assert essence(first) == essence(again) != essence(other)


def test_half_of_the_clicks_come_at_once() -> None:
    """The other half is late, but never by more than three times the mean; false alarm below 1e-9."""
    delays = np.array([arrival.click_delay_s for arrival in arrivals(2000)])
    assert np.mean(delays == 0) == pytest.approx(0.5, abs=0.07)
    assert delays.max() <= 3.0


def test_lag_is_forgiven() -> None:
    """After a long pause the next user is due at most a second ago: no flood of those who were missed."""
    schedule = Schedule(SCENARIO, rate=10, total=None, seed=1)
    schedule._due -= 3600
    arrival = schedule.take()
    assert arrival
    assert time.monotonic() - arrival.due < 1.5


class Flaky:
    """A call that fails some times before it succeeds."""

    def __init__(self, failures: int, retry_after_s: float = 0.0) -> None:
        self.left, self.retry_after_s = failures, retry_after_s

    def __call__(self) -> str:
        """The result, or the failure."""
        if self.left == 0:
            return "done"
        self.left -= 1
        raise ServiceAway("away", retry_after_s=self.retry_after_s)


def patient(limit_s: float, stop: threading.Event | None = None) -> tuple[Patience, list[ServiceAway]]:
    """A patience with the shortest pauses, and the failures that it was told of."""
    failures: list[ServiceAway] = []
    stop = stop or threading.Event()
    return Patience(stop, limit_s=limit_s, jitter=lambda: 1.0, on_retry=failures.append), failures


def test_repeats_until_it_succeeds() -> None:
    """A call that fails twice is made three times."""
    patience, failures = patient(5)
    assert patience(Flaky(2)) == "done"
    assert len(failures) == 2


def test_gives_up_when_the_time_is_over() -> None:
    """It does not start a pause that would end after the limit."""
    patience, failures = patient(5)
    with pytest.raises(ServiceAway):
        patience(Flaky(1, retry_after_s=10))
    assert len(failures) == 1


def test_waits_as_long_as_the_service_asks() -> None:
    """`Retry-After` is the least pause."""
    started = time.monotonic()
    patient(5)[0](Flaky(1, retry_after_s=0.2))
    assert time.monotonic() - started >= 0.2


def test_an_interrupt_ends_a_pause() -> None:
    """Whoever stops the replay does not wait for a service that is away."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        patient(60, stop)[0](Flaky(1, retry_after_s=30))
