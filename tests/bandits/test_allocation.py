from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.bernoulli import BetaPrior
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fixed import Fixed
from bandits.policy import Allocation, AnyPolicy, Policy, allocate, floor
from bandits.posteriors import REWARD_MODELS
from bandits.softmax import Softmax
from bandits.statistics import ArmStatistics
from bandits.thompson import ThompsonSampling
from bandits.top_two import TopTwo
from bandits.ucb import UpperConfidenceBound
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
        Fixed(probabilities=shares).check(ARMS, "bernoulli")


@pytest.mark.parametrize("shares", ['{"a":0.5,"b":0.4}', '{"a":1.5,"b":-0.5}', "{}"])
def test_fixed_shares_must_be_probabilities(shares: str) -> None:
    """Shares outside [0, 1], or with another sum than 1, are refused when they are read."""
    with pytest.raises(msgspec.ValidationError, match=r"probabilities"):
        msgspec.json.decode(f'{{"kind":"fixed","probabilities":{shares}}}', type=AnyPolicy)


# --- warm-up --------------------------------------------------------------------------------------------------------


@st.composite
def experiments(draw: st.DrawFn) -> tuple[ArmStatistics, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Statistics of up to 8 arms; which are active, at least one; and which of the active are cold."""
    size = draw(st.integers(1, 8))
    vector = st.lists(st.integers(0, 300), min_size=size, max_size=size).map(np.array)
    rewarded, others = draw(vector), draw(vector)
    flags = st.lists(st.booleans(), min_size=size, max_size=size).map(np.array)
    active = draw(flags.filter(np.any))
    return ArmStatistics(n=rewarded + others, sum=rewarded, sum_of_squares=rewarded), active, draw(flags) & active


POLICIES = st.sampled_from(
    [
        ThompsonSampling(),
        ThompsonSampling(min_propensity=0),
        ThompsonSampling(min_propensity=0.1),
        TopTwo(),
        EpsilonGreedy(epsilon=0.3),
        UpperConfidenceBound(min_propensity=0.05),
        Softmax(temperature=0.3, min_propensity=0),
    ]
)


def _with_cold(
    policy: Policy,
    statistics: ArmStatistics,
    active: npt.NDArray[np.bool_],
    cold: npt.NDArray[np.bool_],
    start: Sequence[float] | None = None,
) -> Allocation:
    return allocate(
        policy,
        arms=[f"arm-{arm}" for arm in range(active.size)],
        statistics=statistics,
        posterior=REWARD_MODELS["bernoulli"].posterior(statistics, [BetaPrior()] * active.size),
        mature=np.where(cold, policy.warm_up - 1, policy.warm_up),
        active=active,
        start=start,
    )


def test_warm_up_has_equal_shares() -> None:
    """Statistics do not matter before any arm is warm."""
    allocation = _allocate(ThompsonSampling(warm_up=101))
    assert allocation.reason == "warm_up"
    assert allocation.probabilities.tolist() == [1 / 3] * 3


@given(experiment=experiments(), policy=POLICIES)
def test_shares_during_warm_up(
    experiment: tuple[ArmStatistics, npt.NDArray[np.bool_], npt.NDArray[np.bool_]], policy: Policy
) -> None:
    """Sum 1, drained arms exactly 0, cold arms exactly 1/K, none below the floor; and the reason says so."""
    statistics, active, cold = experiment
    allocation = _with_cold(policy, statistics, active, cold)
    shares, n_active = allocation.probabilities, int(active.sum())
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert not shares[~active].any()
    assert (shares[cold] == 1 / n_active).all()
    assert (shares[active] >= floor(policy, n_active)).all()
    assert allocation.reason == ("warm_up" if cold.any() else "learned")


@given(experiment=experiments(), policy=POLICIES)
def test_an_added_arm_leaves_the_proportions_of_the_others(
    experiment: tuple[ArmStatistics, npt.NDArray[np.bool_], npt.NDArray[np.bool_]], policy: Policy
) -> None:
    """Warm arms keep the ratios and the order that they had without the cold ones, save those raised to the floor."""
    statistics, active, cold = experiment
    warm = active & ~cold
    if not warm.any():
        return
    before = _with_cold(policy, statistics, warm, np.zeros_like(cold)).probabilities[warm]
    after = _with_cold(policy, statistics, active, cold).probabilities[warm]
    above = after > floor(policy, int(active.sum()))
    np.testing.assert_allclose(after[above] / after[above].sum(), before[above] / before[above].sum(), rtol=1e-12)
    assert (np.diff(after[np.argsort(before)]) >= 0).all()


def test_an_arm_added_to_a_learned_experiment() -> None:
    """Worked by hand: 0.5 : 0.3 : 0.2 become three quarters of that, and the new arm has the fourth."""
    policy = Fixed(probabilities={"arm-0": 0.5, "arm-1": 0.3, "arm-2": 0.2, "arm-3": 0}, warm_up=10)
    shares = _with_cold(policy, ArmStatistics.zeros(4), np.full(4, fill_value=True), np.arange(4) == 3).probabilities
    np.testing.assert_allclose(shares, [0.375, 0.225, 0.15, 0.25], rtol=1e-15)


def test_what_a_new_arm_would_push_below_the_floor_is_held_there() -> None:
    """Worked by hand: the floor of 0.1 makes 0.49, 0.49, 0.02 of three arms 0.443, 0.443, 0.114.

    Three quarters of 0.114 are too little, so it gets 0.1, and the other two share what is left of 0.75.
    """
    shares = {"arm-0": 0.49, "arm-1": 0.49, "arm-2": 0.02, "arm-3": 0}
    policy = Fixed(probabilities=shares, warm_up=10, min_propensity=0.1)
    found = _with_cold(policy, ArmStatistics.zeros(4), np.full(4, fill_value=True), np.arange(4) == 3).probabilities
    np.testing.assert_allclose(found, [0.325, 0.325, 0.1, 0.25], rtol=1e-12)


@pytest.mark.parametrize(
    ("start", "active", "smallest", "expected"),
    [
        ([0.9, 0.1, 0.0], [True, True, True], 0.0, [0.9, 0.1, 0.0]),
        ([90, 10, 0], [True, True, True], 0.02, [0.882, 0.098, 0.02]),
        ([0.5, 0.3, 0.2], [False, True, True], 0.01, [0.0, 0.6, 0.4]),
        ([1, 0, 0], [False, True, True], 0.01, [0.0, 0.5, 0.5]),
        ([0.97, 0.02, 0.01], [True, True, True], 0.2, [0.6, 0.2, 0.2]),
        ([0.75, 0.24, 0.01], [True, True, True], 0.24, [0.52, 0.24, 0.24]),
        ([0.7, 0.2, 0.1], [True, True, True], 1 / 3, [1 / 3, 1 / 3, 1 / 3]),
        ([1e308, 1e308, 5e307], [True, True, True], 0.0, [0.4, 0.4, 0.2]),
    ],
)
def test_a_split_to_start_with(start: list[float], active: list[bool], smallest: float, expected: list[float]) -> None:
    """While all arms are cold shares are those given, in any unit, over the active arms and not below the floor."""
    policy = ThompsonSampling(min_propensity=smallest)
    allocation = _with_cold(policy, STATISTICS, np.array(active), np.array(active), start)
    np.testing.assert_allclose(allocation.probabilities, expected, rtol=1e-12)
    assert allocation.reason == "warm_up"


def test_a_split_ends_with_the_warm_up() -> None:
    """As soon as an arm is warm the split has done its work: the cold arm has 1/K."""
    active, cold = np.full(3, fill_value=True), np.array([True, False, False])
    shares = [
        _with_cold(ThompsonSampling(), STATISTICS, active, cold, s).probabilities for s in (None, [0.8, 0.1, 0.1])
    ]
    assert shares[0].tolist() == shares[1].tolist()
    assert shares[0][0] == 1 / 3


@pytest.mark.parametrize("start", [[0.5, -0.1, 0.6], [0.5, float("nan"), 0.5], [float("inf"), 0, 0]])
def test_a_split_holds_shares(start: list[float]) -> None:
    """A share below 0, or none at all, is refused."""
    active = np.full(3, fill_value=True)
    with pytest.raises(ValueError, match="start must hold a finite share of each arm, 0 or more"):
        _with_cold(ThompsonSampling(), STATISTICS, active, active, start)


# --- floors and faults ----------------------------------------------------------------------------------------------


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
