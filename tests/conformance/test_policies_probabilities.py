"""What every policy promises about its probabilities, whatever the data."""

from __future__ import annotations

import timeit

import msgspec
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.policy import AnyPolicy, Policy, allocate, floor
from bandits.selection import cumulative, uniform_choice
from bandits.statistics import ArmStatistics, FloatArray
from tests.conformance.experiments import Example, Experiment, experiment


def _experiment(n: FloatArray, rewards: FloatArray) -> Experiment:
    return experiment("bernoulli", ArmStatistics(n=n, sum=rewards, sum_of_squares=rewards))


def _random(n_arms: int, seed: int = 0) -> Experiment:
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 5000, n_arms)
    return _experiment(n.astype(np.float64), rng.binomial(n, rng.uniform(0, 0.2, n_arms)).astype(np.float64))


def _assert_proper(policy: Policy, probabilities: FloatArray) -> None:
    assert np.all(np.isfinite(probabilities))
    assert np.all(probabilities >= floor(policy, probabilities.size))
    assert abs(probabilities.sum() - 1) <= 1e-12


EXTREMES = {
    "no data": ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
    "one arm": ([70.0], [3.0]),
    "one arm without data": ([0.0], [0.0]),
    "all 0": ([1e8, 1e8, 1e8], [0.0, 0.0, 0.0]),
    "all 1": ([1e8, 1e8, 1e8], [1e8, 1e8, 1e8]),
    "0 beside 1": ([1e8, 1e8], [0.0, 1e8]),
    "much beside nothing": ([1e8, 0.0, 1e8], [5e7, 0.0, 5e7]),
    "close race": ([1e8, 1e8], [5e7, 5e7 + 3000]),
}


@pytest.mark.parametrize(("n", "rewards"), EXTREMES.values(), ids=EXTREMES.keys())
def test_extreme_data(example: Example, n: list[float], rewards: list[float]) -> None:
    """No data, one arm, and 1e8 outcomes that are all 0 or all 1 give finite, complete probabilities."""
    some = _experiment(np.array(n), np.array(rewards))
    policy = example(some.arms)
    _assert_proper(policy, some.allocate(policy))


def test_1000_arms(example: Example) -> None:
    """A thousand arms are no special case, and take less than 100 ms (the best of five tries: others compute too)."""
    some = _random(1000)
    policy = example(some.arms)
    _assert_proper(policy, some.allocate(policy))
    assert min(timeit.repeat(lambda: some.allocate(policy), number=1, repeat=5)) < 0.1


def test_deterministic(example: Example) -> None:
    """The same statistics give the same bytes, on every replica and after a restart."""
    first, second = (_random(40, seed=5) for _ in range(2))
    policy = example(first.arms)
    same = msgspec.json.decode(msgspec.json.encode(policy), type=AnyPolicy)
    assert first.allocate(policy).tobytes() == second.allocate(same).tobytes()


def test_inputs_are_left_alone(example: Example) -> None:
    """A policy reads; it writes nothing into the arrays it is given."""
    some = _random(20)
    policy = example(some.arms)
    statistics, posterior = some.statistics, some.posterior
    arrays = [statistics.n, statistics.sum, statistics.sum_of_squares, *posterior.parameters.values()]
    before = [array.tobytes() for array in arrays]
    mature, active = np.full(20, 10**6), np.arange(20) % 3 > 0
    allocate(policy, arms=some.arms, statistics=statistics, posterior=posterior, mature=mature, active=active)
    assert [array.tobytes() for array in arrays] == before
    assert mature.tolist() == [10**6] * 20
    assert active.tolist() == [arm % 3 > 0 for arm in range(20)]


@given(active=st.lists(st.booleans(), min_size=8, max_size=8).filter(any))
@settings(deadline=None)
def test_drained_arms_are_never_chosen(example: Example, active: list[bool]) -> None:
    """A drained arm has probability exactly 0; the others are complete without it."""
    some = _random(8)
    policy = example(some.arms)
    probabilities = some.allocate(policy, active)
    assert not probabilities[~np.array(active)].any()
    _assert_proper(policy, probabilities[active])


def test_drained_arms_do_not_count(example: Example) -> None:
    """The active arms' probabilities are those of an experiment without the drained arms."""
    some, keep = _random(8), [0, 2, 3, 6]
    policy = example(some.arms)
    active = [arm in keep for arm in range(8)]
    assert np.array_equal(some.allocate(policy, active)[keep], some.permuted(keep).allocate(policy))


def test_warm_up(example: Example) -> None:
    """Until each active arm has `warm_up` mature exposures, those that lack them have equal shares, all if none has."""
    some = _random(5)
    policy = msgspec.structs.replace(example(some.arms), warm_up=50)
    active = np.array([True, True, False, True, True])
    for mature, reason in (([49, 0, 0, 49, 9], "warm_up"), ([50, 49, 0, 50, 50], "warm_up"), ([50] * 5, "learned")):
        allocation = allocate(
            policy,
            arms=some.arms,
            statistics=some.statistics,
            posterior=some.posterior,
            mature=mature,
            active=active,
        )
        assert allocation.reason == reason
        cold = active & (np.array(mature) < 50)
        assert allocation.probabilities[cold].tolist() == [0.25] * int(cold.sum())
        _assert_proper(policy, allocation.probabilities[active])


def test_frequencies(example: Example) -> None:
    """A million choices come out as the propensities say; false alarm 1e-7 per example."""
    some = _random(7, seed=2)
    probabilities = some.allocate(example(some.arms))
    sums = cumulative(probabilities)
    numbers = np.random.default_rng(20261124).random(1_000_000).tolist()
    counts = np.bincount([uniform_choice(sums, u) for u in numbers], minlength=7)
    expected = probabilities * 1_000_000
    common = expected >= 10  # χ² needs counts that are nearly normal
    statistic = np.sum((counts - expected)[common] ** 2 / expected[common])
    assert statistic <= scipy.stats.chi2.isf(1e-7, common.sum())
    assert counts[probabilities == 0].sum() == 0
