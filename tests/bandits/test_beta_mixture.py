from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.beta_mixture import BetaMixture
from bandits.intervals import lifts
from bandits.statistics import ArmStatistics, FloatArray

ALPHA = 0.05
MIXTURE = BetaMixture()

counts = st.integers(0, 10**9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def _arms(*counts: tuple[float, float]) -> ArmStatistics:
    """Arms with n outcomes of which S were 1."""
    n, ones = np.array(counts, dtype=np.float64).T
    return ArmStatistics(n=n, sum=ones, sum_of_squares=np.abs(ones))


def _log_mixture(n: float, ones: float, rate: float | FloatArray) -> float | FloatArray:
    """The formula as it stands in the docstring."""
    logarithm: float | FloatArray = (
        scipy.special.betaln(0.5 + ones, 0.5 + n - ones)
        - math.log(math.pi)
        - scipy.special.xlogy(ones, rate)
        - scipy.special.xlog1py(n - ones, -rate)
    )
    return logarithm


@pytest.mark.parametrize("n", [1, 2, 10, 10_000, 10**9])
def test_arms_without_reward_have_a_closed_form(n: int) -> None:
    """Without rewards the upper end is 1 − (α B(½, ½+n)/π)^(1/n), and the lower is 0; with rewards only, mirrored."""
    log_ratio = math.log(ALPHA) + scipy.special.betaln(0.5, 0.5 + n) - math.log(math.pi)
    upper = -math.expm1(log_ratio / n)
    intervals = MIXTURE.means(_arms((n, 0), (n, n)), alpha=ALPHA)
    assert intervals.upper.tolist() == [pytest.approx(upper, rel=1e-9, abs=1e-13), 1]
    assert intervals.lower.tolist() == [0, pytest.approx(1 - upper, abs=1e-12)]


@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-6])
@pytest.mark.parametrize(("n", "ones"), [(1, 1), (10, 3), (777, 1), (5_000, 4_321), (10**6, 10**5), (10**6, 3)])
def test_ends_agree_with_scipy(n: int, ones: int, alpha: float) -> None:
    """Both ends are roots of the docstring's formula, to 1e-12."""
    intervals = MIXTURE.means(_arms((n, ones)), alpha=alpha)
    mean = ones / n

    def excess(rate: float) -> float:
        return float(_log_mixture(n, ones, rate)) + math.log(alpha)

    lower = scipy.optimize.brentq(excess, 1e-300, mean, xtol=1e-16, rtol=1e-15)
    upper = scipy.optimize.brentq(excess, mean, 1 - 1e-16, xtol=1e-16, rtol=1e-15) if ones < n else 1
    assert intervals.lower[0] == pytest.approx(lower, rel=0, abs=1e-12)
    assert intervals.upper[0] == pytest.approx(upper, rel=0, abs=1e-12)


@pytest.mark.parametrize("ones", [2, 12_345, 10**8, 5 * 10**8])
def test_nothing_cancels_with_1e9_outcomes(ones: int) -> None:
    """At the ends the mixture is 1/α although its terms are of the order of 1e9."""
    arm = _arms((10**9, ones))
    intervals = MIXTURE.means(arm, alpha=ALPHA)
    for end in (intervals.lower, intervals.upper):
        assert MIXTURE.log_mixture(arm, end)[0] == pytest.approx(-math.log(ALPHA), abs=1e-9)


def test_mixture_is_the_integral_it_stands_for() -> None:
    """M(μ) is the likelihood ratio integrated over Beta(½, ½)."""
    n, ones, rate = 12, 5, 0.3
    integral, _ = scipy.integrate.quad(
        lambda q: q**ones * (1 - q) ** (n - ones) / math.pi, 0, 1, weight="alg", wvar=(-0.5, -0.5)
    )
    value = MIXTURE.log_mixture(_arms((n, ones)), np.array([rate]))[0]
    assert value == pytest.approx(math.log(integral / (rate**ones * (1 - rate) ** (n - ones))), abs=1e-9)


@given(
    n=st.integers(0, 10_000),
    share=st.integers(0, 1000).map(lambda thousandths: thousandths / 1000),
    rewards=st.lists(st.floats(0, 1), min_size=1, max_size=6),
    whole=st.booleans(),
)
@settings(deadline=None)
def test_next_reward_does_not_raise_the_mixture(
    n: int,
    share: float,
    rewards: list[float],
    whole: bool,  # noqa: FBT001
) -> None:
    """At the true mean the expected mixture stays (rewards of 0 or 1), or falls (rewards in between)."""
    rewards = [round(r) for r in rewards] if whole else rewards
    mean = sum(rewards) / len(rewards)
    if not 1e-6 < mean < 1 - 1e-6:
        return
    before = MIXTURE.log_mixture(_arms((n, share * n)), np.array([mean]))[0]
    after = MIXTURE.log_mixture(_arms(*[(n + 1, share * n + r) for r in rewards]), np.full(len(rewards), mean))
    growth = np.exp(after - before).mean()
    assert growth <= 1 + 1e-9
    if whole:
        assert growth == pytest.approx(1, abs=1e-9)


def test_an_arm_without_outcomes_may_have_any_rate() -> None:
    """No outcomes, no knowledge: [0, 1], and any lift that the other arm allows."""
    arms = _arms((0, 0), (100, 50))
    intervals = MIXTURE.means(arms, alpha=ALPHA)
    assert (intervals.lower[0], intervals.upper[0]) == (0, 1)
    lift = MIXTURE.differences(_arms((0, 0)), _arms((100, 50)), alpha=ALPHA)
    assert lift.upper[0] == pytest.approx(1 - intervals.lower[1], abs=1e-12)
    assert lift.lower[0] == pytest.approx(-intervals.upper[1], abs=1e-12)


@given(arm=counts, alpha=st.floats(1e-9, 0.9))
@settings(deadline=None)
def test_intervals_contain_the_sample_mean(arm: tuple[int, int], alpha: float) -> None:
    """No interval is empty, or leaves [0, 1], or excludes its sample mean."""
    n, ones = arm
    intervals = MIXTURE.means(_arms(arm), alpha=alpha)
    mean = ones / n if n else 0.5
    assert 0 <= intervals.lower[0] <= mean * (1 + 1e-15)
    assert mean * (1 - 1e-15) <= intervals.upper[0] <= 1


@given(arm=counts)
@settings(deadline=None)
def test_intervals_shrink_with_evidence_and_alpha(arm: tuple[int, int]) -> None:
    """Four times the outcomes with the same mean, or a larger alpha, give an interval inside."""
    n, ones = arm
    arms = _arms((n, ones), (4 * n, 4 * ones))
    wide, narrow = MIXTURE.means(arms, alpha=0.01), MIXTURE.means(arms, alpha=0.1)
    assert np.all((wide.lower <= narrow.lower) & (narrow.upper <= wide.upper))
    assert wide.upper[1] - wide.lower[1] <= wide.upper[0] - wide.lower[0] + 1e-15


@given(arm=counts)
@settings(deadline=None)
def test_zeros_and_ones_are_symmetric(arm: tuple[int, int]) -> None:
    """Counting zeros instead of ones mirrors the interval."""
    n, ones = arm
    intervals = MIXTURE.means(_arms((n, ones), (n, n - ones)), alpha=ALPHA)
    np.testing.assert_allclose(intervals.lower, 1 - intervals.upper[::-1], rtol=0, atol=1e-12)


def test_ends_rise_with_the_reward() -> None:
    """One more reward raises both ends."""
    intervals = MIXTURE.means(_arms(*[(50, ones) for ones in range(51)]), alpha=ALPHA)
    assert np.all(np.diff(intervals.lower) > 0)
    assert np.all(np.diff(intervals.upper[:-1]) > 0)


_PAIRS = [
    ((40, 10), (60, 9)),
    ((5, 0), (200, 30)),
    ((200, 30), (5, 0)),
    ((6, 6), (9, 9)),
    ((30, 30), (20, 2)),
    ((20, 2), (30, 30)),
    ((0, 0), (10, 4)),
    ((10, 4), (0, 0)),
    ((10, 0), (10, 10)),
    ((1, 1), (0, 0)),
]


def _range_on_grid(
    pair: Sequence[tuple[int, int]], grid: FloatArray, function: Callable[[FloatArray, FloatArray], FloatArray]
) -> tuple[float, float]:
    """Smallest and largest value over the pairs of rates on a grid that the product of mixtures allows."""
    first, second = (_log_mixture(*arm, grid) for arm in pair)
    values = function(grid[:, None], grid[None, :])[np.add.outer(first, second) <= -math.log(ALPHA)]
    return float(values.min()), float(values.max())


@pytest.mark.parametrize("pair", _PAIRS)
def test_lift_is_the_range_over_the_region(pair: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The interval is the range of differences over the region, tried out on a grid of 2,001 × 2,001 rates."""
    lift = MIXTURE.differences(_arms(pair[0]), _arms(pair[1]), alpha=ALPHA)
    smallest, largest = _range_on_grid(pair, np.linspace(1e-9, 1 - 1e-9, 2001), np.subtract)
    assert smallest - 1.1e-3 < lift.lower[0] <= smallest + 1e-12
    assert largest - 1e-12 <= lift.upper[0] < largest + 1.1e-3


@pytest.mark.parametrize("pair", _PAIRS)
def test_relative_lift_is_the_range_over_the_region(pair: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """The same for ratios; infinite where the control may earn nothing."""
    lift = MIXTURE.relative_differences(_arms(pair[0]), _arms(pair[1]), alpha=ALPHA)
    grid = np.geomspace(1e-9, 1 - 1e-9, 2001)
    smallest, largest = _range_on_grid(pair, grid, lambda first, second: first / second)
    assert smallest * 0.97 - 1e-8 < 1 + lift.lower[0] <= smallest * (1 + 1e-12)
    if pair[1][1] == 0:
        assert lift.upper[0] == np.inf
    else:
        assert largest * (1 - 1e-12) <= 1 + lift.upper[0] < largest * 1.03


@given(treated=counts, control=counts)
@settings(deadline=None)
def test_lifts_contain_the_observed_one(treated: tuple[int, int], control: tuple[int, int]) -> None:
    """Lifts contain the difference of sample means, are antisymmetric, and lie within what the arms allow alone."""
    arms = _arms(treated, control)
    lift = MIXTURE.differences(arms, arms.select(np.array([1, 0])), alpha=ALPHA)
    observed = [ones / n if n else 0.5 for n, ones in (treated, control)]
    assert lift.lower[0] <= observed[0] - observed[1] + 1e-15
    assert observed[0] - observed[1] - 1e-15 <= lift.upper[0]
    assert lift.lower[0] == pytest.approx(-lift.upper[1], abs=1e-12)
    assert -1 <= lift.lower[0] <= lift.upper[0] <= 1


def test_lift_is_narrower_than_two_intervals() -> None:
    """The region of the product beats an interval for each arm at alpha/2."""
    arms, control = _arms((10_000, 1_000)), _arms((10_000, 1_100))
    joint = MIXTURE.differences(arms, control, alpha=ALPHA)
    single = [MIXTURE.means(arm, alpha=ALPHA / 2) for arm in (arms, control)]
    assert joint.upper[0] - joint.lower[0] < 0.9 * sum(i.upper[0] - i.lower[0] for i in single)


def test_lifts_of_all_arms_have_none_for_the_control() -> None:
    """Each arm is compared with the control, which has no lift over itself."""
    arms = _arms((100, 10), (200, 30), (0, 0))
    lift = lifts(MIXTURE, arms, 1, alpha=ALPHA)
    pair = MIXTURE.differences(_arms((100, 10)), _arms((200, 30)), alpha=ALPHA)
    assert np.isnan([lift.lower[1], lift.upper[1]]).all()
    assert (lift.lower[0], lift.upper[0]) == (pair.lower[0], pair.upper[0])
    assert lift.contains(0).tolist() == [True, False, True]


def test_bounded_rewards_are_scaled() -> None:
    """Rewards within [−2, 3] have the interval of the scaled rewards, scaled back; lifts are in units of reward."""
    rewards = [-2.0, 3.0, 0.5, 0.5, 1.25]
    scaled = [(r + 2) / 5 for r in rewards]
    bounded = BetaMixture(low=-2, high=3)
    arm, unit = ArmStatistics.of([rewards]), ArmStatistics.of([scaled])
    interval, expected = bounded.means(arm, alpha=ALPHA), MIXTURE.means(unit, alpha=ALPHA)
    assert interval.lower == pytest.approx(5 * expected.lower - 2, abs=1e-12)
    assert interval.upper == pytest.approx(5 * expected.upper - 2, abs=1e-12)
    lift, unit_lift = (m.differences(a, a, alpha=ALPHA) for m, a in ((bounded, arm), (MIXTURE, unit)))
    assert lift.upper == pytest.approx(5 * unit_lift.upper, abs=1e-12)


@pytest.mark.parametrize("arm", [(10, 11), (10, -1), (0, 1)])
def test_impossible_sums_are_refused(arm: tuple[int, int]) -> None:
    """A sum that rewards within the bounds cannot have is refused, naming the arm."""
    with pytest.raises(ValueError, match="arm 1 has a sum of"):
        MIXTURE.means(_arms((1, 1), arm), alpha=ALPHA)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, math.nan])
def test_alpha_is_a_probability(alpha: float) -> None:
    """An alpha outside (0, 1) is refused."""
    with pytest.raises(ValueError, match="alpha must be within"):
        MIXTURE.means(_arms((1, 1)), alpha=alpha)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_bounds_are_two_numbers(low: float, high: float) -> None:
    """Rewards need finite bounds, low below high."""
    with pytest.raises(ValueError, match="low < high"):
        BetaMixture(low=low, high=high)


def test_a_scale_without_zero_has_no_relative_lift() -> None:
    """Ratios of rewards that start at −2 mean nothing."""
    arm = ArmStatistics.of([[1.0]])
    with pytest.raises(ValueError, match="natural zero"):
        BetaMixture(low=-2, high=3).relative_differences(arm, arm, alpha=ALPHA)
