"""Token buckets: so much a second, a little at once, and debts are paid."""

import pytest

from app.rates import TokenBucket


def taken(bucket: TokenBucket, start: float, end: float, every: float) -> int:
    """How many get through of those that come at an even pace."""
    moments = [start + i * every for i in range(round((end - start) / every))]
    return sum(bucket.take(moment) == 0 for moment in moments)


@pytest.mark.parametrize("rate", [0.5, 3.0, 100.0])
def test_on_average_the_rate_gets_through(rate: float) -> None:
    """Over a long time, however often it is tried, the rate and one burst of a second."""
    bucket = TokenBucket(rate, 0.0)
    assert taken(bucket, 0, 100, 0.004) == pytest.approx(100 * rate + max(rate, 1), abs=1)


def test_below_the_rate_everything_gets_through() -> None:
    """Who is slower never waits."""
    assert taken(TokenBucket(10, 0.0), 0, 20, 0.11) == 182


def test_who_has_to_wait_is_told_how_long() -> None:
    """After that time, and no earlier, there is one."""
    bucket = TokenBucket(0.5, 100.0)
    assert bucket.take(100.0) == 0
    assert bucket.take(100.0) == pytest.approx(2.0)
    assert bucket.take(101.9) == pytest.approx(0.1)
    assert bucket.take(102.0) == 0


def test_a_debt_is_paid_before_anything_gets_through() -> None:
    """What was taken beyond what there was is waited for."""
    bucket = TokenBucket(10, 0.0)
    assert bucket.take(0.0) == 0
    bucket.owe(99)
    assert bucket.take(0.0) == pytest.approx(9.1)
    assert bucket.take(9.0) > 0
    assert bucket.take(9.2) == 0
