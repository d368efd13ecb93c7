"""Simulated experiments: what a policy would have lost, in environments whose true rates are known.

Rewards are drawn before anything is dealt: the n-th pull of an arm gives the same reward to every policy, so policies
are compared on the same luck. Statistics are sums, so an arm's are known from how often it was pulled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from bandits.bernoulli import Bernoulli, BetaPrior
from bandits.policy import allocate
from bandits.policy_base import Policy
from bandits.statistics import ArmStatistics, FloatArray

__all__ = ["IntArray", "RewardTables", "deal_by_allocations", "deal_by_draws", "regret", "uniform_regret"]

IntArray = npt.NDArray[np.int64]

_MODEL: Final = Bernoulli()


@dataclass(frozen=True, eq=False)
class RewardTables:
    """Rewards of 0 or 1 by arm and pull, for independent runs of one experiment.

    Attributes:
        sums: reward of the first n pulls of an arm, int32 of shape (n_runs, n_arms, horizon + 1), n = 0 … horizon.
    """

    sums: npt.NDArray[np.int32]

    @classmethod
    def of_rates(cls, rates: FloatArray, *, runs: int, horizon: int, rng: np.random.Generator) -> RewardTables:
        """Rewards that are drawn independently, with these rates, shape (n_arms,)."""
        drawn = rng.random((runs, rates.size, horizon), dtype=np.float32) < rates.astype(np.float32)[:, None]
        return cls(_sums(drawn))

    @classmethod
    def of_counts(
        cls, clicks: Sequence[int], impressions: Sequence[int], *, horizon: int, rng: np.random.Generator
    ) -> RewardTables:
        """One run whose rewards are drawn without replacement from so many clicks in so many impressions of each arm.

        When all of an arm's impressions have been drawn they are shuffled and drawn again.
        """
        arms = [_shuffled(c, n, horizon, rng) for c, n in zip(clicks, impressions, strict=True)]
        return cls(_sums(np.stack(arms)[None]))

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return int(self.sums.shape[0])

    @property
    def n_arms(self) -> int:
        """Number of arms."""
        return int(self.sums.shape[1])

    @property
    def horizon(self) -> int:
        """Number of decisions in a run, at most."""
        return int(self.sums.shape[2]) - 1

    def total(self, pulls: IntArray) -> IntArray:
        """Reward of the first pulls of each arm, shape (n_runs, n_arms), as `pulls`."""
        return np.take_along_axis(self.sums, pulls[:, :, None], axis=2)[:, :, 0].astype(np.int64)

    def statistics(self, run: int, pulls: IntArray) -> ArmStatistics:
        """What is known of a run after the first pulls of each arm, shape (n_arms,)."""
        total = self.sums[run, np.arange(self.n_arms), pulls]
        n, total = pulls.astype(np.float64), total.astype(np.float64)
        return ArmStatistics(n=n, sum=total, sum_of_squares=total)

    def reward(self, run: int, arm: int, pull: int) -> int:
        """Reward of one pull of an arm, counted from 0."""
        return int(self.sums[run, arm, pull + 1] - self.sums[run, arm, pull])


def deal_by_allocations(
    policy: Policy, tables: RewardTables, *, every: int, rng: np.random.Generator, prior: BetaPrior | None = None
) -> IntArray:
    """Deal as the service does: from an allocation that is made anew after every so many decisions.

    Outcomes are known when the next allocation is made.

    Args:
        policy: any of `bandits.policy.POLICIES`, with its floor and warm-up.
        tables: the rewards; their horizon is dealt.
        every: decisions from one allocation to the next, 1 or more.
        rng: deals.
        prior: of each arm's rate; None: Beta(1, 1).

    Returns:
        Pulls of each arm so far, at the end of each allocation, shape (n_runs, n_allocations, n_arms).
    """
    arms = tuple(str(arm) for arm in range(tables.n_arms))
    priors, active = [prior or BetaPrior()] * tables.n_arms, np.ones(tables.n_arms, dtype=bool)
    sizes = [min(every, tables.horizon - start) for start in range(0, tables.horizon, every)]
    course = np.zeros((tables.n_runs, len(sizes), tables.n_arms), dtype=np.int64)
    for run in range(tables.n_runs):
        pulls = np.zeros(tables.n_arms, dtype=np.int64)
        for step, size in enumerate(sizes):
            known = tables.statistics(run, pulls)
            posterior = _MODEL.posterior(known, priors)
            allocation = allocate(
                policy, arms=arms, statistics=known, posterior=posterior, mature=known.n, active=active
            )
            pulls = pulls + rng.multinomial(size, allocation.probabilities)
            course[run, step] = pulls
    return course


def deal_by_draws(tables: RewardTables, *, rng: np.random.Generator) -> IntArray:
    """Thompson sampling as in a textbook: each decision draws a rate per arm and takes the largest, and learns at once.

    All runs proceed together. The prior is Beta(1, 1).

    Returns:
        Pulls of each arm in the end, shape (n_runs, n_arms).

    Reference:
        Chapelle and Li, "An empirical evaluation of Thompson sampling" (2011), algorithm 2.
    """
    runs = np.arange(tables.n_runs)
    pulls = np.zeros((tables.n_runs, tables.n_arms), dtype=np.int64)
    alpha, beta = np.ones(pulls.shape), np.ones(pulls.shape)
    for _ in range(tables.horizon):
        arms = rng.beta(alpha, beta).argmax(axis=1)
        before = pulls[runs, arms]
        rewards = tables.sums[runs, arms, before + 1] - tables.sums[runs, arms, before]
        pulls[runs, arms] += 1
        alpha[runs, arms] += rewards
        beta[runs, arms] += 1 - rewards
    return pulls


def regret(pulls: IntArray, rates: FloatArray) -> FloatArray:
    """Expected reward lost against the best arm, Σ_t (p* − p_{a_t}), from the pulls of each arm.

    It depends on what was dealt, not on what was drawn (pseudo-regret; Bubeck and Cesa-Bianchi, "Regret analysis of
    stochastic and nonstochastic multi-armed bandit problems", 2012, section 1).

    Args:
        pulls: shape (..., n_arms).
        rates: true rates, shape (n_arms,).

    Returns:
        shape (...), in units of the reward.
    """
    lost: FloatArray = pulls @ (rates.max() - rates)
    return lost


def uniform_regret(rates: FloatArray, decisions: int) -> float:
    """Expected regret of dealing all arms equally: T (p* − mean p)."""
    return float(decisions * (rates.max() - rates.mean()))


def _sums(rewards: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Running sums along the last axis, from 0."""
    *shape, horizon = rewards.shape
    sums = np.zeros((*shape, horizon + 1), dtype=np.int32)
    np.cumsum(rewards, axis=-1, dtype=np.int32, out=sums[..., 1:])
    return sums


def _shuffled(clicks: int, impressions: int, length: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The arm's impressions in random order, as often as they are needed."""
    once = np.arange(impressions) < clicks
    rounds = -(-length // impressions)
    return np.concatenate([rng.permutation(once) for _ in range(rounds)])[:length]
