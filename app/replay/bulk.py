"""Deals an experiment over HTTP many decisions at a time, and rewards them from a table drawn beforehand."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from app.ids import new_id
from app.replay.client import Client, Decision, FeedbackEvent
from bandits.simulation import IntArray, RewardTables
from bandits.statistics import ArmStatistics

__all__ = ["Attempt", "BulkDealer", "batches", "once"]

_T = TypeVar("_T")


class Attempt(Protocol):
    """Makes a call, and repeats it as it sees fit; every call here may be repeated."""

    def __call__(self, call: Callable[[], _T]) -> _T:
        """The call's result."""


def once(call: Callable[[], _T]) -> _T:
    """Makes a call once."""
    return call()


class BulkDealer:
    """One experiment whose arms have the keys "0", "1", …, and a table of their rewards.

    Args:
        client: of the service.
        experiment: its key.
        tables: rewards; those of run 0 are given, the n-th pull of an arm its n-th one.
        explicit: whether a reward of 0 is told too; else its absence says so.
        attempt: how calls are made.
    """

    def __init__(
        self,
        client: Client,
        experiment: str,
        tables: RewardTables,
        *,
        explicit: bool = False,
        attempt: Attempt = once,
    ) -> None:
        self._client, self._experiment, self._tables = client, experiment, tables
        self._explicit, self._attempt = explicit, attempt
        self.pulls: IntArray = np.zeros(tables.n_arms, dtype=np.int64)

    @property
    def statistics(self) -> ArmStatistics:
        """Of all outcomes so far."""
        return self._tables.statistics(0, self.pulls)

    def deal(self, size: int) -> tuple[list[tuple[Decision, int]], list[str]]:
        """Have so many decisions made and send their rewards; decisions with rewards, and the events' statuses.

        Raises:
            ServiceAway: the service does not answer, and `attempt` gave up.
            RequestRefused: it refused a decision or the events.
        """
        requests = [self._request(number) for number in range(size)]
        decisions = self._attempt(lambda: self._client.recommend_batch(requests))
        rewarded = [(decision, self._reward(decision)) for decision in decisions]
        events = [_event(decision, reward) for decision, reward in rewarded if reward or self._explicit]
        statuses = self._attempt(lambda: self._client.feedback_batch(events)) if events else []
        return rewarded, statuses

    def _request(self, number: int) -> dict[str, Any]:
        unit = f"viewer-{int(self.pulls.sum()) + number}"
        return {"experiment": self._experiment, "unit": unit, "k": 1, "decision_id": str(new_id())}

    def _reward(self, decision: Decision) -> int:
        """The next reward of the arm that was dealt."""
        arm = int(decision.arm)
        pull = int(self.pulls[arm])
        self.pulls[arm] += 1
        return self._tables.reward(0, arm, pull)


def _event(decision: Decision, reward: int) -> FeedbackEvent:
    return FeedbackEvent(decision_id=decision.decision_id, metric="click", value=reward, event_id="outcome-1")


def batches(total: int, size: int) -> Sequence[int]:
    """Sizes of the batches that make up a total."""
    return [min(size, total - start) for start in range(0, total, size)]
