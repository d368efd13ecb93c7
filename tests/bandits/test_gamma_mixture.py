from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.gamma_mixture import GammaMixture
from bandits.statistics import ArmStatistics

ALPHA = 0.05
MIXTURE = GammaMixture()


def _arms(*counts: tuple[float, float]) -> ArmStatistics:
    """Arms with n outcomes that counted S together."""
    n, total = np.array(counts, dtype=np.float64).T
    return ArmStatistics(n=n, sum=total, sum_of_squares=total**2)


def _log_mixture(n: float, total: float, mean: float) -> float:
    """The formula as it stands in the docstring."""
    b = MIXTURE.rate
    value = scipy.special.gammaln(0.5 + total) - scipy.special.gammaln(0.5) + 0.5 * math.log(b)
    return float(value - (0.5 + total) * math.log(b + n) - scipy.special.xlogy(total, mean) + n * mean)


@pytest.mark.parametrize("n", [1, 30, 10**9])
def test_arms_that_counted_nothing_have_a_closed_form(n: int) -> None:
    """With S = 0 the upper end is log(√(1 + n/b)/α)/n, and the lower is 0."""
    intervals = MIXTURE.means(_arms((n, 0)), alpha=ALPHA)
    expected = (math.log(1 + n / MIXTURE.rate) / 2 - math.log(ALPHA)) / n
    assert (intervals.lower[0], intervals.upper[0]) == (0, pytest.approx(expected, rel=1e-12))


@pytest.mark.parametrize(("n", "total"), [(1, 1), (1, 40), (10, 3), (5_000, 20_000), (100_000, 7)])
def test_ends_agree_with_scipy(n: int, total: int) -> None:
    """Both ends are roots of the docstring's formula."""
    intervals = MIXTURE.means(_arms((n, total)), alpha=ALPHA)
    mean = total / n

    def excess(candidate: float) -> float:
        return _log_mixture(n, total, candidate) + math.log(ALPHA)

    lower = scipy.optimize.brentq(excess, mean * 1e-9, mean, xtol=1e-300, rtol=1e-14)
    upper = scipy.optimize.brentq(excess, mean, mean * 1e3, xtol=1e-300, rtol=1e-14)
    assert intervals.lower[0] == pytest.approx(lower, rel=1e-8)
    assert intervals.upper[0] == pytest.approx(upper, rel=1e-8)


@pytest.mark.parametrize("mean", [0.1, 2.0, 30.0])
@pytest.mark.parametrize(("n", "total"), [(0, 0), (3, 5), (1000, 1500)])
def test_next_count_does_not_move_the_mixture(n: int, total: int, mean: float) -> None:
    """At the true mean the mixture is a martingale: its expectation after the next Poisson count is its value."""
    counts = np.arange(400)
    before = MIXTURE.log_mixture(_arms((n, total)), np.array([mean]))[0]
    after = MIXTURE.log_mixture(_arms(*[(n + 1, total + count) for count in counts.tolist()]), np.full(400, mean))
    log_growth = scipy.special.logsumexp(after - before + scipy.stats.poisson.logpmf(counts, mean))
    assert log_growth == pytest.approx(0, abs=1e-9)


@given(n=st.integers(1, 10**9), mean=st.floats(0, 100))
@settings(deadline=None)
def test_intervals_contain_the_sample_mean(n: int, mean: float) -> None:
    """Intervals contain the sample mean, start at 0 or above, and shrink with evidence."""
    total = round(n * mean)
    intervals = MIXTURE.means(_arms((n, total), (4 * n, 4 * total)), alpha=ALPHA)
    assert np.all((intervals.lower >= 0) & (intervals.lower <= total / n * (1 + 1e-12)))
    assert np.all(intervals.upper >= total / n * (1 - 1e-12))
    assert intervals.upper[1] - intervals.lower[1] <= intervals.upper[0] - intervals.lower[0]


def test_an_arm_without_outcomes_may_have_any_mean() -> None:
    """No outcomes: [0, ∞), and so no limit to its lift."""
    intervals = MIXTURE.means(_arms((0, 0)), alpha=ALPHA)
    assert (intervals.lower[0], intervals.upper[0]) == (0, np.inf)
    lift = MIXTURE.differences(_arms((0, 0)), _arms((10, 20)), alpha=ALPHA)
    assert lift.upper[0] == np.inf
    assert lift.lower[0] < 0


def test_lift_gives_each_arm_half_of_alpha() -> None:
    """The ends of a lift are differences of the arms' ends at alpha/2."""
    arm, control = _arms((100, 300)), _arms((90, 100))
    lift = MIXTURE.differences(arm, control, alpha=ALPHA)
    first, second = (MIXTURE.means(a, alpha=ALPHA / 2) for a in (arm, control))
    assert (lift.lower[0], lift.upper[0]) == (first.lower[0] - second.upper[0], first.upper[0] - second.lower[0])
    assert lift.lower[0] > 0


def test_intervals_hold_at_every_look() -> None:
    """Of 400 arms counted 1,000 times, few are ever wrong by any look: P(more than 48 of 400 at 5 %) < 1e-6."""
    rng = np.random.default_rng(20261124)
    runs, outcomes, mean = 400, 1_000, 0.7
    total = np.cumsum(rng.poisson(mean, size=(runs, outcomes)), axis=1).astype(np.float64)
    n = np.broadcast_to(np.arange(1.0, outcomes + 1), total.shape)
    statistics = ArmStatistics(n=n.ravel(), sum=total.ravel(), sum_of_squares=total.ravel())
    wrong = (MIXTURE.log_mixture(statistics, np.full(total.size, mean)) > -math.log(ALPHA)).reshape(total.shape)
    assert scipy.stats.binom.sf(48, runs, ALPHA) < 1e-6
    assert 0 < wrong.any(axis=1).sum() <= 48


@pytest.mark.parametrize("arm", [(3, -1), (0, 2)])
def test_sums_that_are_no_counts_are_refused(arm: tuple[int, int]) -> None:
    """A negative sum, or one without outcomes, is refused, naming the arm."""
    with pytest.raises(ValueError, match="arm 1 has a sum of"):
        MIXTURE.means(_arms((1, 1), arm), alpha=ALPHA)
