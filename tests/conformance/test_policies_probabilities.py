"""What every policy promises about its probabilities, whatever the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.bernoulli import BetaPrior
from bandits.policy import AnyPolicy, Policy, allocate, floor
from bandits.posteriors import REWARD_MODELS, Posterior
from bandits.selection import cumulative, uniform_choice
from bandits.statistics import ArmStatistics, FloatArray

Example = Callable[[Sequence[str]], Policy]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Arms and what is known about them."""

    arms: tuple[str, ...]
    statistics: ArmStatistics
    posterior: Posterior

    def allocate(self, policy: Policy, active: Sequence[bool] | None = None) -> FloatArray:
        """The probabilities of a policy past its warm-up, or with some arms drained."""
        return allocate(
            policy,
            arms=self.arms,
            statistics=self.statistics,
            posterior=self.posterior,
            mature=np.full(len(self.arms), policy.warm_up),
            active=np.ones(len(self.arms), dtype=bool) if active is None else active,
        ).probabilities

    def permuted(self, order: list[int]) -> Experiment:
        """The same experiment with its arms in another order."""
        return _experiment(self.statistics.n[order], self.statistics.sum[order], [self.arms[arm] for arm in order])


def _experiment(n: FloatArray, rewards: FloatArray, arms: Sequence[str] | None = None) -> Experiment:
    statistics = ArmStatistics(n=n, sum=rewards, sum_of_squares=rewards)
    posterior = REWARD_MODELS["bernoulli"].posterior(statistics, [BetaPrior()] * n.size)
    keys = tuple(arms) if arms is not None else tuple(f"arm-{arm}" for arm in range(n.size))
    return Experiment(arms=keys, statistics=statistics, posterior=posterior)


def _random(n_arms: int, seed: int = 0) -> Experiment:
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 5000, n_arms)
    return _experiment(n.astype(np.float64), rng.binomial(n, rng.uniform(0, 0.2, n_arms)).astype(np.float64))


def _assert_proper(policy: Policy, probabilities: FloatArray) -> None:
    assert np.all(np.isfinite(probabilities))
    assert np.all(probabilities >= floor(policy, probabilities.size))
    assert abs(probabilities.sum() - 1) <= 1e-9


COUNTS = st.integers(0, 10**8)
OUTCOMES = st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=12)

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
    experiment = _experiment(np.array(n), np.array(rewards))
    policy = example(experiment.arms)
    _assert_proper(policy, experiment.allocate(policy))


@given(outcomes=OUTCOMES)
@settings(deadline=None)
def test_any_data(example: Example, outcomes: list[tuple[int, int]]) -> None:
    """Whatever the counts, probabilities are finite, not below the floor, and sum to 1 within 1e-9."""
    n = np.array([float(a + b) for a, b in outcomes])
    experiment = _experiment(n, np.array([float(a) for a, _ in outcomes]))
    policy = example(experiment.arms)
    _assert_proper(policy, experiment.allocate(policy))


def test_1000_arms(example: Example) -> None:
    """A thousand arms are no special case."""
    experiment = _random(1000)
    policy = example(experiment.arms)
    _assert_proper(policy, experiment.allocate(policy))


@given(outcomes=OUTCOMES, data=st.data())
@settings(deadline=None)
def test_permutation(example: Example, outcomes: list[tuple[int, int]], data: st.DataObject) -> None:
    """The order of arms means nothing: permuting arms permutes their probabilities."""
    n = np.array([float(a + b) for a, b in outcomes])
    experiment = _experiment(n, np.array([float(a) for a, _ in outcomes]))
    order = data.draw(st.permutations(range(n.size)))
    policy = example(experiment.arms)
    expected = experiment.allocate(policy)[order]
    np.testing.assert_allclose(experiment.permuted(order).allocate(policy), expected, rtol=1e-12, atol=1e-15)


def test_deterministic(example: Example) -> None:
    """The same statistics give the same bytes, on every replica and after a restart."""
    first, second = (_random(40, seed=5) for _ in range(2))
    policy = example(first.arms)
    same = msgspec.json.decode(msgspec.json.encode(policy), type=AnyPolicy)
    assert first.allocate(policy).tobytes() == second.allocate(same).tobytes()


def test_inputs_are_left_alone(example: Example) -> None:
    """A policy reads; it writes nothing into the arrays it is given."""
    experiment = _random(20)
    policy = example(experiment.arms)
    statistics, posterior = experiment.statistics, experiment.posterior
    arrays = [statistics.n, statistics.sum, statistics.sum_of_squares, *posterior.parameters.values()]
    before = [array.tobytes() for array in arrays]
    mature, active = np.full(20, 10**6), np.arange(20) % 3 > 0
    allocate(policy, arms=experiment.arms, statistics=statistics, posterior=posterior, mature=mature, active=active)
    assert [array.tobytes() for array in arrays] == before
    assert mature.tolist() == [10**6] * 20
    assert active.tolist() == [arm % 3 > 0 for arm in range(20)]


@given(active=st.lists(st.booleans(), min_size=8, max_size=8).filter(any))
@settings(deadline=None)
def test_drained_arms_are_never_chosen(example: Example, active: list[bool]) -> None:
    """A drained arm has probability exactly 0; the others are complete without it."""
    experiment = _random(8)
    policy = example(experiment.arms)
    probabilities = experiment.allocate(policy, active)
    assert not probabilities[~np.array(active)].any()
    _assert_proper(policy, probabilities[active])


def test_drained_arms_do_not_count(example: Example) -> None:
    """The active arms' probabilities are those of an experiment without the drained arms."""
    experiment, keep = _random(8), [0, 2, 3, 6]
    policy = example(experiment.arms)
    active = [arm in keep for arm in range(8)]
    assert np.array_equal(experiment.allocate(policy, active)[keep], experiment.permuted(keep).allocate(policy))


def test_warm_up_shares_are_equal(example: Example) -> None:
    """Until each active arm has `warm_up` mature exposures, all active arms are dealt equally."""
    experiment = _random(5)
    policy = msgspec.structs.replace(example(experiment.arms), warm_up=50)
    active = np.array([True, True, False, True, True])
    for mature, reason in (([50, 49, 0, 50, 50], "warm_up"), ([50, 50, 0, 50, 50], "learned")):
        allocation = allocate(
            policy,
            arms=experiment.arms,
            statistics=experiment.statistics,
            posterior=experiment.posterior,
            mature=mature,
            active=active,
        )
        assert allocation.reason == reason
        if reason == "warm_up":
            assert allocation.probabilities.tolist() == [0.25, 0.25, 0, 0.25, 0.25]


def test_frequencies(example: Example) -> None:
    """A million choices come out as the propensities say; false alarm 1e-7 per example."""
    experiment = _random(7, seed=2)
    probabilities = experiment.allocate(example(experiment.arms))
    sums = cumulative(probabilities)
    numbers = np.random.default_rng(20261124).random(1_000_000).tolist()
    counts = np.bincount([uniform_choice(sums, u) for u in numbers], minlength=7)
    expected = probabilities * 1_000_000
    common = expected >= 10  # χ² needs counts that are nearly normal
    statistic = np.sum((counts - expected)[common] ** 2 / expected[common])
    assert statistic <= scipy.stats.chi2.isf(1e-7, common.sum())
    assert counts[probabilities == 0].sum() == 0
