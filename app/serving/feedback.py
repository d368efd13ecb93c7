"""Feedback: which of it can be used, and what it is then."""

from collections.abc import Hashable, Sequence

import msgspec

from app.serving.events import EventWriter
from app.serving.verdicts import Rejection
from app.specification import Contract
from app.store import feedback as store
from app.store.database import Cursor
from app.store.feedback import FeedbackEvent, MatchedEvent
from app.store.targets import Target

__all__ = ["FeedbackWriter", "match"]


def match(event: FeedbackEvent, target: Target, contract: Contract) -> MatchedEvent | Rejection:
    """Fits an event to its decision, or says why it does not fit."""
    reward, model = contract.reward, contract.reward_model
    metric = event.metric or reward.metric
    aggregation = contract.metrics.get(metric)
    if aggregation is None:
        known = ", ".join(sorted(contract.metrics))
        detail = f"{metric!r} is no metric of experiment {target.experiment}; it has {known}"
        return Rejection(reason="unknown_metric", detail=detail, field="metric")
    if metric == reward.metric and not model.accepts(event.value):
        detail = f"{event.value:g} is no {model.kind} reward; it must be {model.values}"
        return Rejection(reason="value_refused", detail=detail, field="value")
    if event.occurred_at > contract.closed_at(target.decided_at):
        return Rejection(reason="too_late", detail=f"too late: feedback is taken for {reward.late_until_s:g} s")
    exposed_at = target.exposed_at
    return MatchedEvent(
        **{**msgspec.structs.asdict(event), "metric": metric},
        experiment=target.experiment,
        epoch=target.epoch,
        arm=target.arm,
        bucket=target.bucket,
        late_at=None if exposed_at is None else contract.late_at(exposed_at),
        counts=target.learnable and exposed_at is not None,
        aggregation=aggregation,
    )


class FeedbackWriter(EventWriter[FeedbackEvent, MatchedEvent]):
    """Writes a batch of feedback; `shard` is the row of the statistics that this process increments."""

    def __init__(self, *, shard: int) -> None:
        super().__init__(shard=shard, waiting=store.UNMATCHED, lock="SHARE")

    def match(self, event: FeedbackEvent, target: Target, contract: Contract) -> MatchedEvent | Rejection:
        """Fits an event to its decision, or says why it does not fit."""
        return match(event, target, contract)

    def write_batch(self, cursor: Cursor, events: Sequence[MatchedEvent], *, shard: int) -> set[tuple[Hashable, ...]]:
        """Records events with different keys; returns the keys that are new."""
        return {*store.write_batch(cursor, events, shard=shard)}
