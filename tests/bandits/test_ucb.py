from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import rel_entr

from bandits.beta import BetaPosterior
from bandits.statistics import ArmStatistics, FloatArray
from bandits.ucb import UpperConfidenceBound, kl_upper_bound

KL, UCB1 = UpperConfidenceBound(variant="kl_ucb"), UpperConfidenceBound(variant="ucb1")


class _Ranged(BetaPosterior):
    """A posterior of mean rewards within other ends than 0 and 1."""

    ends = (0.0, 1.0)

    def value(self, z: FloatArray) -> FloatArray:
        """From the lower end at −∞ to the upper at ∞."""
        low, high = self.ends
        return np.where(np.isfinite(z), z, np.where(z > 0, high, low))


def _within(low: float, high: float) -> type[_Ranged]:
    return type("_Ranged", (_Ranged,), {"ends": (low, high)})


def _shares(
    policy: UpperConfidenceBound,
    n: list[float],
    rewards: list[float],
    squares: list[float] | None = None,
    *,
    posterior: type[BetaPosterior] = BetaPosterior,
) -> list[float]:
    """The policy's propensities. Of the posterior only the ends of its mean rewards matter, not the numbers."""
    statistics = ArmStatistics(n=np.array(n), sum=np.array(rewards), sum_of_squares=np.array(squares or rewards))
    flat = posterior(np.ones(len(n)), np.ones(len(n)))
    return list(policy.propensities([str(arm) for arm in range(len(n))], statistics, flat))


# --- the bound ------------------------------------------------------------------------------------------------------


@given(
    mean=st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-9, 1 - 1e-9, 1e-320, 0.05]),
    limit=st.floats(1e-12, 40) | st.sampled_from([0.0]),
)
def test_the_bound_is_the_root_of_the_divergence(mean: float, limit: float) -> None:
    """Brent's method, on scipy's relative entropy, finds the same within 1e-10 (or the rounding of that entropy)."""

    def excess(q: float) -> float:
        return float(rel_entr(mean, q) + rel_entr(1 - mean, 1 - q)) - limit

    expected = mean
    if limit > 0 and mean < 1:
        expected = brentq(excess, mean, 1, xtol=1e-15) if excess(1.0) > 0 else 1.0
    # scipy's entropy is a difference of logarithms, wrong by some 1e-16: that moves its root.
    doubt = 1e-15 / math.sqrt(limit) if limit > 0 else 0
    (bound,) = kl_upper_bound(np.array([mean]), np.array([limit]))
    assert abs(bound - expected) <= 1e-10 + doubt
    assert mean <= bound <= 1


def test_the_bound_has_closed_forms_at_the_ends() -> None:
    """d(0, q) = −log(1 − q), so the bound of a mean of 0 is 1 − e^−limit; that of a mean of 1 is 1."""
    limits = np.array([1e-9, 1e-3, 0.5, 3, 30, 800])
    np.testing.assert_allclose(kl_upper_bound(np.zeros(6), limits), -np.expm1(-limits), rtol=1e-12)
    assert kl_upper_bound(np.ones(6), limits).tolist() == [1] * 6


def test_the_bound_of_very_many_outcomes_is_normal() -> None:
    """With a limit of 1e-12 it is p + √(2 limit p(1 − p)), to the next term of the expansion."""
    means = np.array([0.01, 0.3, 0.5])
    expected = np.sqrt(2e-12 * means * (1 - means))
    np.testing.assert_allclose(kl_upper_bound(means, np.full(3, 1e-12)) - means, expected, rtol=1e-4)


# --- the policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [UCB1, KL])
def test_arms_without_outcomes_come_first(policy: UpperConfidenceBound) -> None:
    """They share all, whatever the others have earned."""
    assert _shares(policy, [5, 0, 9, 0], [5, 0, 9, 0]) == [0, 0.5, 0, 0.5]


@pytest.mark.parametrize("policy", [UCB1, KL])
def test_equal_bounds_share(policy: UpperConfidenceBound) -> None:
    """Arms with the same outcomes have the same bound."""
    assert _shares(policy, [50, 70, 50, 50], [9, 1, 9, 9]) == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])


def test_ucb1_prefers_the_unknown_arm() -> None:
    """By hand: 2 log 1,100 = 14.01, so the bounds are 0.3 + √(14.01/1000) = 0.418 and 0.2 + √(14.01/100) = 0.574."""
    assert _shares(UCB1, [1000, 100], [300, 20]) == [0, 1]
    assert _shares(UCB1, [1000, 1000], [300, 200]) == [1, 0]


def test_kl_ucb_gives_small_rates_up_sooner() -> None:
    """After 4,000 outcomes at 4 % and 1,000 at 1 %, UCB1 tries the worse arm again; KL-UCB knows enough."""
    n, rewards = [4000.0, 1000.0], [160.0, 10.0]
    assert _shares(UCB1, n, rewards) == [0, 1]
    assert _shares(KL, n, rewards) == [1, 0]


@pytest.mark.parametrize("policy", [UCB1, KL])
@pytest.mark.parametrize(("low", "high"), [(0, 16), (-4, 4), (3, 3.5)])
def test_rewards_are_rescaled(policy: UpperConfidenceBound, low: float, high: float) -> None:
    """Rewards within other ends are dealt like the same rewards within [0, 1]."""
    rng = np.random.default_rng(11)
    for _ in range(50):
        n = rng.integers(1, 500, 4).astype(float)
        unit = n * rng.uniform(0, 1, 4)
        scaled = (n * low + unit * (high - low)).tolist()
        squares = (n * 16.0**2).tolist()
        found = _shares(policy, n.tolist(), scaled, squares, posterior=_within(low, high))
        assert found == _shares(policy, n.tolist(), unit.tolist())


def test_ucb1_without_ends_takes_the_standard_deviation() -> None:
    """Worked by hand: pooled variance (400·4 + 100·4)/(500 − 2) = 4.016, so half the range is 2.004.

    The bonuses are 4.008 √(2 log 500/n): 0.7065 for 400 outcomes, 1.4130 for 100. The second arm may be 0.7065 worse.
    """
    endless = _within(-np.inf, np.inf)
    for second, expected in ((9.30, [0, 1]), (9.29, [1, 0])):
        n, means = np.array([400.0, 100.0]), np.array([10.0, second])
        squares = n * (means**2 + 4)
        assert _shares(UCB1, n.tolist(), (n * means).tolist(), squares.tolist(), posterior=endless) == expected


def test_ucb1_has_no_bonus_for_rewards_that_never_vary() -> None:
    """A variance of 0 leaves the means to decide."""
    squares = [90.0, 640.0]
    assert _shares(UCB1, [10, 10], [30, 80], squares, posterior=_within(-np.inf, np.inf)) == [0, 1]


def test_kl_ucb_refuses_rewards_without_ends() -> None:
    """Also when nobody checked the experiment."""
    with pytest.raises(ValueError, match="choose the variant ucb1"):
        _shares(KL, [10, 10], [30, 80], posterior=_within(0, np.inf))


@pytest.mark.parametrize("policy", [UCB1, KL])
def test_less_than_one_outcome_counts(policy: UpperConfidenceBound) -> None:
    """Decayed counts may be tiny: then the mean decides, and no logarithm is negative."""
    assert _shares(policy, [0.01, 0.02], [0.001, 0.003]) == [0, 1]


# --- what fits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "reward"),
    [
        (KL, "bernoulli"),
        (KL, "bounded"),
        *((UCB1, reward) for reward in ("bernoulli", "bounded", "gaussian", "poisson")),
    ],
)
def test_rewards_that_fit(policy: UpperConfidenceBound, reward: str) -> None:
    """UCB1 takes all rewards, KL-UCB those that have two ends."""
    policy.check("ab", reward)


@pytest.mark.parametrize("reward", ["gaussian", "poisson"])
def test_rewards_that_do_not_fit(reward: str) -> None:
    """KL-UCB for others is refused, with what to choose instead."""
    with pytest.raises(ValueError, match=f"choose the variant ucb1; {reward} rewards have none"):
        KL.check("ab", reward)
