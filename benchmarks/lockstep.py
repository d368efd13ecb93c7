"""Plays experiments against a real service step by step: a batch, its outcomes, and the allocation made from them."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from app.replay.bulk import BulkDealer, batches
from app.replay.client import Client
from bandits.bernoulli import Bernoulli, BetaPrior
from bandits.policy import AnyPolicy, allocate
from bandits.simulation import IntArray, RewardTables
from bandits.statistics import FloatArray
from tests.running import Api, until

# A web worker looks for new allocations every 250 ms.
_ALL_WORKERS_KNOW_S: Final = 0.35


@dataclass(eq=False)
class _Experiment:
    """One experiment: its dealer, and the probabilities of each of its allocations, by number."""

    key: str
    dealer: BulkDealer
    probabilities: dict[int, FloatArray] = field(default_factory=dict)

    @property
    def newest(self) -> int:
        """Number of the allocation that was waited for."""
        return max(self.probabilities)


class Lockstep:
    """Experiments that proceed together, because the learner rests for a second between an experiment's allocations.

    Args:
        url: of the service.
        key: an API key with every scope.
        policy: of all experiments.
        tables: rewards; each of its runs is one experiment's.

    Attributes:
        largest_difference: of any probability of any allocation from that of `allocate` for the same outcomes.
        stale: decisions made from an older allocation than the newest.
        excess: how often each arm was dealt, less its summed probabilities, in standard deviations of a fair deal,
            shape (n_runs, n_arms); a martingale's end, so standard normal but for few decisions.
    """

    def __init__(self, url: str, key: str, policy: AnyPolicy, tables: RewardTables) -> None:
        self._client, self._api, self._policy, self._tables = Client(url, key), Api(url, key), policy, tables
        self._arms = tuple(str(arm) for arm in range(tables.n_arms))
        name = f"lockstep-{secrets.token_hex(4)}"
        self._experiments = [self._experiment(f"{name}-{run}", run) for run in range(tables.n_runs)]
        shape = (tables.n_runs, tables.n_arms)
        self._expected, self._variance = np.zeros(shape), np.zeros(shape)
        self.largest_difference, self.stale = 0.0, 0

    @property
    def pulls(self) -> IntArray:
        """Of each arm so far, shape (n_runs, n_arms)."""
        return np.array([experiment.dealer.pulls for experiment in self._experiments])

    @property
    def excess(self) -> FloatArray:
        """See above."""
        excess: FloatArray = (self.pulls - self._expected) / np.sqrt(self._variance)
        return excess

    def play(self, *, every: int) -> None:
        """Deal the tables' horizon, so many decisions from each allocation; the experiments are stopped in the end."""
        specification = {
            "arms": [{"key": arm} for arm in self._arms],
            "policy": msgspec.to_builtins(self._policy),
            "reward": {"missing": "explicit"},
        }
        for experiment in self._experiments:
            self._client.put_experiment(experiment.key, specification)
        for size in batches(self._tables.horizon, every):
            for experiment in self._experiments:
                until(lambda e=experiment: self._learned(e), "an allocation")  # type: ignore[misc]
            time.sleep(_ALL_WORKERS_KNOW_S)
            for run, experiment in enumerate(self._experiments):
                self._deal(run, experiment, size)
        for experiment in self._experiments:
            self._client.act(experiment.key, "stop")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        self._api.close()

    def _experiment(self, key: str, run: int) -> _Experiment:
        rewards = RewardTables(self._tables.sums[run : run + 1])
        return _Experiment(key, BulkDealer(self._client, key, rewards, explicit=True))

    def _learned(self, experiment: _Experiment) -> bool:
        """Whether the newest allocation was made from all outcomes; then it is compared and kept."""
        page = self._api.get(f"/v1/experiments/{experiment.key}/history?limit=1").ok()
        allocation: dict[str, Any] = page["allocations"][0]
        if sum(arm["n"] for arm in allocation["evidence"].values()) != experiment.dealer.pulls.sum():
            return False
        served = np.array([allocation["probabilities"][arm] for arm in self._arms])
        difference = float(np.abs(served - self._allocated(experiment.dealer)).max())
        self.largest_difference = max(self.largest_difference, difference)
        experiment.probabilities[allocation["number"]] = served
        return True

    def _allocated(self, dealer: BulkDealer) -> FloatArray:
        """The probabilities that the outcomes so far lead to."""
        known = dealer.statistics
        return allocate(
            self._policy,
            arms=self._arms,
            statistics=known,
            posterior=Bernoulli().posterior(known, [BetaPrior()] * known.n_arms),
            mature=known.n,
            active=np.ones(known.n_arms, dtype=bool),
        ).probabilities

    def _deal(self, run: int, experiment: _Experiment, size: int) -> None:
        rewarded, statuses = experiment.dealer.deal(size)
        if statuses != ["accepted"] * size:
            raise RuntimeError(f"of {size} outcomes the service took {statuses.count('accepted')}")
        for decision, _ in rewarded:
            probabilities = experiment.probabilities[decision.allocation or 0]
            self._expected[run] += probabilities
            self._variance[run] += probabilities * (1 - probabilities)
            self.stale += decision.allocation != experiment.newest
