from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.statistics import ArmStatistics
from bandits.t_mixture import TMixture

ALPHA = 0.05
MIXTURE = TMixture()


def _log_mixture(rewards: list[float], mean: float) -> float:
    """The formula as it stands in the docstring."""
    n, c2 = len(rewards), MIXTURE.effect_precision
    around = sum((r - mean) ** 2 for r in rewards)
    shift = sum(rewards) / n - mean
    shrinkage = math.log(c2 / (n + c2)) / 2
    return shrinkage + n / 2 * (math.log(around) - math.log(around - n**2 * shift**2 / (n + c2)))


def test_ends_agree_with_scipy() -> None:
    """Both ends are roots of the docstring's formula, on either side of the sample mean."""
    rewards = np.random.default_rng(1).normal(3, 2, 60).tolist()
    intervals = MIXTURE.means(ArmStatistics.of([rewards]), alpha=ALPHA)
    mean = sum(rewards) / 60
    for end, far in ((intervals.lower[0], -100.0), (intervals.upper[0], 100.0)):
        root = scipy.optimize.brentq(lambda m: _log_mixture(rewards, m) + math.log(ALPHA), mean, far, xtol=1e-14)
        assert end == pytest.approx(root, abs=1e-10)


def test_mixture_is_the_integral_it_stands_for() -> None:
    """The formula is the ratio of likelihoods integrated over dσ/σ and over effect sizes N(0, 1/c²)."""
    rewards, mean, c = [0.5, 1.9, 1.2, 3.1], 0.7, math.sqrt(MIXTURE.effect_precision)

    def likelihood(log_sigma: float, effect: float) -> float:
        sigma = math.exp(log_sigma)
        return math.prod(math.exp(-(((r - mean) / sigma - effect) ** 2) / 2) / sigma for r in rewards)

    null, _ = scipy.integrate.quad(lambda s: likelihood(s, 0), -3, 6, epsabs=0, epsrel=1e-10, limit=200)
    mixed, _ = scipy.integrate.dblquad(
        lambda s, effect: likelihood(s, effect) * scipy.stats.norm.pdf(effect, scale=1 / c),
        -7 / c, 7 / c, -3, 6, epsabs=0, epsrel=1e-5,
    )  # fmt: skip
    assert _log_mixture(rewards, mean) == pytest.approx(math.log(mixed / null), abs=1e-5)


@given(
    rewards=st.lists(st.floats(-100, 100), min_size=30, max_size=80),
    shift=st.floats(-1000, 1000),
    scale=st.floats(0.01, 100),
)
@settings(deadline=None)
def test_intervals_move_with_the_rewards(rewards: list[float], shift: float, scale: float) -> None:
    """Intervals contain the sample mean; shifted and scaled rewards have shifted and scaled intervals."""
    moved = [shift + scale * r for r in rewards]
    intervals = MIXTURE.means(ArmStatistics.of([rewards, moved]), alpha=ALPHA)
    assert intervals.lower[0] <= np.mean(rewards) + 1e-9
    assert intervals.upper[0] >= np.mean(rewards) - 1e-9
    rounding = 1e-4 * (abs(shift) + scale * 100)  # of the sum of squares, at the root of a vanishing variance
    assert intervals.upper[1] == pytest.approx(shift + scale * intervals.upper[0], abs=rounding)


def test_first_outcomes_exclude_nothing() -> None:
    """Up to 26 outcomes any mean is possible; then intervals are finite and shrink."""
    rng = np.random.default_rng(2)
    rewards = rng.normal(size=100_000)
    sizes = [0, 1, 2, 26, 27, 100, 1_000, 100_000]
    intervals = MIXTURE.means(ArmStatistics.of([rewards[:n] for n in sizes]), alpha=ALPHA)
    widths = intervals.upper - intervals.lower
    assert np.all(np.isinf(widths[:4]))
    assert np.all(np.isfinite(widths[4:]))
    assert np.all(np.diff(widths[4:]) < 0)


def test_smaller_alpha_is_wider() -> None:
    """More certainty needs more room."""
    arm = ArmStatistics.of([np.random.default_rng(3).normal(size=500)])
    widths = [MIXTURE.means(arm, alpha=alpha).upper[0] for alpha in (0.2, 0.05, 0.001)]
    assert widths == sorted(widths)


def test_intervals_hold_at_every_look() -> None:
    """Of 2,000 arms with 1,000 rewards few are ever wrong: P(more than 150 of 2,000 at 5 %) < 1e-6."""
    rng = np.random.default_rng(20261124)
    runs, outcomes = 2_000, 1_000
    rewards = rng.normal(5, 3, size=(runs, outcomes))
    statistics = ArmStatistics(
        n=np.tile(np.arange(1.0, outcomes + 1), runs),
        sum=np.cumsum(rewards, axis=1).ravel(),
        sum_of_squares=np.cumsum(rewards**2, axis=1).ravel(),
    )
    wrong = ~MIXTURE.means(statistics, alpha=ALPHA).contains(5).reshape(rewards.shape)
    assert scipy.stats.binom.sf(150, runs, ALPHA) < 1e-6
    assert 20 < wrong.any(axis=1).sum() <= 150


def test_lift_gives_each_arm_half_of_alpha() -> None:
    """The ends of a lift are differences of the arms' ends at alpha/2."""
    rng = np.random.default_rng(4)
    arm, control = (ArmStatistics.of([rng.normal(mean, 1, size=400)]) for mean in (2, 1))
    lift = MIXTURE.differences(arm, control, alpha=ALPHA)
    first, second = (MIXTURE.means(a, alpha=ALPHA / 2) for a in (arm, control))
    assert (lift.lower[0], lift.upper[0]) == (first.lower[0] - second.upper[0], first.upper[0] - second.lower[0])
    assert lift.lower[0] > 0
