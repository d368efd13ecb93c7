import pytest

from app.recommenders.breaker import CircuitBreaker, RetryBudget


def call(breaker: CircuitBreaker, now: float, *, ok: bool) -> bool:
    """One call with this outcome; whether it was admitted."""
    period = breaker.admit(now)
    if period is not None:
        breaker.record(period, now, ok=ok)
    return period is not None


def opened() -> CircuitBreaker:
    """A breaker that ten failures at time 0 have opened."""
    breaker = CircuitBreaker()
    assert all(call(breaker, 0.0, ok=False) for _ in range(10))
    assert not call(breaker, 0.0, ok=True)
    return breaker


@pytest.mark.parametrize(("failures", "opens"), [(9, False), (10, True)])
def test_it_opens_when_half_of_the_last_calls_failed(failures: int, opens: bool) -> None:  # noqa: FBT001 - a case
    """Half of twenty calls are enough, fewer are not."""
    breaker = CircuitBreaker()
    for i in range(20):
        call(breaker, 0.0, ok=i >= failures if failures < 10 else i % 2 == 0)
    assert (breaker.admit(0.0) is None) == opens


def test_few_or_old_failures_do_not_open_it() -> None:
    """Nine failures are too few to judge by, and what failed more than ten seconds ago no longer counts."""
    breaker = CircuitBreaker()
    for moment in (0.0, 11.0, 22.0):
        assert all(call(breaker, moment, ok=False) for _ in range(9))
    assert call(breaker, 22.0, ok=True)


def test_one_probe_closes_it() -> None:
    """After a second one call is made; it decides for the others."""
    breaker = opened()
    assert breaker.admit(0.99) is None
    probe = breaker.admit(1.0)
    assert probe is not None
    assert breaker.admit(1.0) is None
    breaker.record(probe, 1.1, ok=True)
    assert all(call(breaker, 1.1, ok=True) for _ in range(20))


def test_each_failed_probe_doubles_the_rest_up_to_eight_seconds() -> None:
    """A server that stays down is asked ever more seldom, yet within eight seconds of its recovery."""
    breaker, now = opened(), 0.0
    for rest in (1.0, 2.0, 4.0, 8.0, 8.0):
        assert not call(breaker, now + rest - 0.01, ok=False)
        now += rest
        assert call(breaker, now, ok=False)


def test_a_lost_probe_is_followed_by_another() -> None:
    """Should a probe never come back, the next one may go after another rest."""
    breaker = opened()
    lost = breaker.admit(1.0)
    assert breaker.admit(1.99) is None
    assert call(breaker, 2.0, ok=True)
    assert lost is not None
    breaker.record(lost, 2.1, ok=False)
    assert call(breaker, 2.1, ok=True)


def test_calls_from_before_it_opened_have_no_say() -> None:
    """A call that was under way when it opened neither closes it nor makes it rest longer."""
    breaker = CircuitBreaker()
    early = [breaker.admit(0.0) for _ in range(2)]
    for _ in range(10):
        call(breaker, 0.0, ok=False)
    for period, ok in zip(early, (True, False), strict=True):
        assert period is not None
        breaker.record(period, 0.5, ok=ok)
    assert breaker.admit(0.9) is None
    assert breaker.admit(1.0) is not None


def test_retries_are_a_tenth_of_the_calls_and_ten() -> None:
    """Of a thousand calls that all want a retry, 110 get one at most."""
    budget = RetryBudget()
    granted = 0
    for _ in range(1000):
        budget.earn()
        granted += budget.spend()
    assert 100 <= granted <= 110
