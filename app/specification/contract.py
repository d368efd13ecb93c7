"""What feedback is judged by: as agreed on when its decision was made."""

from datetime import datetime, timedelta
from functools import cache

from msgspec import Struct

from app.specification.buckets import bucket_width
from app.specification.memory import AnyMemory, Everything
from app.specification.shape import Aggregation, Reward, Specification
from bandits.posteriors import RewardModel

__all__ = ["Contract", "contract_of"]


class Contract(Struct, frozen=True, kw_only=True):
    """What the feedback about one epoch's decisions is judged by, whatever the specification says by now."""

    reward: Reward
    metrics: dict[str, Aggregation]  # all that were declared during the epoch, the reward's among them
    memory: AnyMemory = Everything()

    @property
    def reward_model(self) -> RewardModel:
        """The kind of reward."""
        return self.reward.reward_model

    @property
    def bucket_s(self) -> float:
        """Width of the statistics' time buckets, seconds."""
        return bucket_width(self.reward, self.memory)

    def late_at(self, exposed_at: datetime) -> datetime:
        """End of the attribution window: what comes after it is late."""
        return exposed_at + _seconds(self.reward.window_s)

    def closed_at(self, decided_at: datetime) -> datetime:
        """Until when events are taken. Not from the exposure, so that it does not matter which event comes first."""
        return decided_at + _seconds(self.reward.late_until_s)


@cache
def _seconds(number: float) -> timedelta:
    """Of the few numbers that experiments have; each event asks."""
    return timedelta(seconds=number)


def contract_of(specification: Specification) -> Contract:
    """What feedback is judged by while a specification is in force."""
    folds = {key: specification.aggregation_of(key) for key in specification.metric_keys}
    metrics = {key: aggregation for key, aggregation in folds.items() if aggregation is not None}  # none is None
    return Contract(reward=specification.reward, metrics=metrics, memory=specification.memory)
