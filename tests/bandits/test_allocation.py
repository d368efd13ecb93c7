from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from bandits.bernoulli import BetaPrior
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fixed import Fixed
from bandits.policy import Allocation, AnyPolicy, Policy, allocate, floor
from bandits.posteriors import REWARD_MODELS
from bandits.statistics import ArmStatistics
from bandits.thompson import ThompsonSampling
from bandits.winning import probability_best

ARMS = ("a", "b", "c")
STATISTICS = ArmStatistics(n=np.array([100, 100, 100]), sum=np.array([3, 5, 5]), sum_of_squares=np.array([3, 5, 5]))
POSTERIOR = REWARD_MODELS["bernoulli"].posterior(STATISTICS, [BetaPrior()] * 3)


def _allocate(policy: Policy, active: Sequence[bool] = (True, True, True)) -> Allocation:
    return allocate(policy, arms=ARMS, statistics=STATISTICS, posterior=POSTERIOR, mature=STATISTICS.n, active=active)


def test_thompson_sampling_gives_the_probability_to_be_best() -> None:
    """Without a floor the propensities are P(best) itself."""
    allocation = _allocate(ThompsonSampling(min_propensity=0))
    np.testing.assert_allclose(allocation.probabilities, probability_best(POSTERIOR), rtol=1e-14)


def test_floor_keeps_order_and_sum() -> None:
    """The default floor is p ← f + (1 − K f) p with f = 1 % for three arms."""
    allocation = _allocate(ThompsonSampling())
    np.testing.assert_allclose(allocation.probabilities, 0.01 + 0.97 * probability_best(POSTERIOR), rtol=1e-14)


def test_epsilon_greedy_shares_ties() -> None:
    """Two arms with the best mean share the greedy part; each arm has ε/K."""
    allocation = _allocate(EpsilonGreedy(epsilon=0.3, min_propensity=0))
    assert allocation.as_mapping() == pytest.approx({"a": 0.1, "b": 0.45, "c": 0.45})


def test_fixed_spreads_the_share_of_a_drained_arm() -> None:
    """The others get it in proportion to their own shares."""
    policy = Fixed(probabilities={"a": 0.5, "b": 0.3, "c": 0.2})
    assert _allocate(policy).as_mapping() == pytest.approx({"a": 0.5, "b": 0.3, "c": 0.2}, rel=1e-15)
    drained = _allocate(policy, (False, True, True))
    assert drained.as_mapping() == pytest.approx({"a": 0, "b": 0.6, "c": 0.4})


def test_fixed_goes_on_when_only_arms_of_share_0_are_left() -> None:
    """Draining the only arm with a share leaves equal shares rather than nothing."""
    policy = Fixed(probabilities={"a": 1, "b": 0, "c": 0})
    assert _allocate(policy, (False, True, True)).as_mapping() == {"a": 0, "b": 0.5, "c": 0.5}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"a": 0.5, "b": 0.5}, "lack these arms: c"),
        ({"a": 0.5, "b": 0.2, "c": 0.2, "d": 0.1}, "do not exist: d"),
    ],
)
def test_fixed_needs_exactly_the_arms_of_the_experiment(shares: dict[str, float], message: str) -> None:
    """A share that is missing, or of an unknown arm, is refused by name."""
    with pytest.raises(ValueError, match=message):
        Fixed(probabilities=shares).check(ARMS)


@pytest.mark.parametrize("shares", ['{"a":0.5,"b":0.4}', '{"a":1.5,"b":-0.5}', "{}"])
def test_fixed_shares_must_be_probabilities(shares: str) -> None:
    """Shares outside [0, 1], or with another sum than 1, are refused when they are read."""
    with pytest.raises(msgspec.ValidationError, match=r"probabilities"):
        msgspec.json.decode(f'{{"kind":"fixed","probabilities":{shares}}}', type=AnyPolicy)


def test_warm_up_has_equal_shares() -> None:
    """Statistics do not matter before the warm-up is over."""
    allocation = _allocate(ThompsonSampling(warm_up=101))
    assert allocation.reason == "warm_up"
    assert allocation.probabilities.tolist() == [1 / 3] * 3


@pytest.mark.parametrize(("n_arms", "expected"), [(1, 0.01), (2, 0.01), (10, 0.01), (20, 0.005), (1000, 1e-4)])
def test_default_floor(n_arms: int, expected: float) -> None:
    """The floor is 1 %, or a tenth of an equal share when that is less; fixed shares have none."""
    assert floor(ThompsonSampling(), n_arms) == pytest.approx(expected)
    assert floor(Fixed(probabilities={"a": 1}), n_arms) == 0


def test_a_floor_too_high_for_the_arms_is_refused() -> None:
    """Three arms cannot have 40 % each."""
    with pytest.raises(ValueError, match=r"min_propensity 0\.4 × 3 arms exceeds 1"):
        _allocate(ThompsonSampling(min_propensity=0.4))


def test_an_experiment_without_active_arms_is_refused() -> None:
    """When every arm is drained there is nothing to allocate, and the message says so."""
    with pytest.raises(ValueError, match="no arm is active"):
        _allocate(ThompsonSampling(), (False, False, False))


def test_vectors_of_different_lengths_are_refused() -> None:
    """One entry too few anywhere is a fault of the caller."""
    with pytest.raises(ValueError, match="differ in length"):
        _allocate(ThompsonSampling(), (True, True))


def test_allocations_cannot_be_changed() -> None:
    """An allocation in force is immutable."""
    with pytest.raises(ValueError, match="read-only"):
        _allocate(ThompsonSampling()).probabilities[0] = 1
