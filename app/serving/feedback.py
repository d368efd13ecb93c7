"""What becomes of feedback: each event is accepted, a duplicate, unmatched, or rejected with the reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import msgspec

from app.specification import Specification
from app.store import feedback as store
from app.store.database import Cursor
from app.store.feedback import EventKey, FeedbackEvent, MatchedEvent, Target

__all__ = ["FeedbackWriter", "Rejection", "Verdict", "match"]

Status = Literal["accepted", "duplicate", "unmatched", "rejected"]


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why an event cannot be used: the field at fault (None: the event as a whole), and what is wrong with it."""

    field: str | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one event."""

    status: Status
    rejection: Rejection | None = None
    experiment: str = ""  # and metric: of an event that fits its decision
    metric: str = ""


def match(event: FeedbackEvent, target: Target, specification: Specification) -> MatchedEvent | Rejection:
    """Fits an event to its decision, or says why it does not fit."""
    reward = specification.reward
    metric = event.metric or reward.metric
    aggregation = specification.aggregation_of(metric)
    if aggregation is None:
        known = ", ".join(sorted(specification.metric_keys))
        return Rejection(
            field="metric",
            reason=f"{metric!r} is no metric of experiment {target.experiment}; it has {known}",
        )
    model = specification.reward_model
    if metric == reward.metric and not model.accepts(event.value):
        return Rejection(field="value", reason=f"{event.value:g} is no {model.kind} reward; it must be {model.values}")
    if event.occurred_at > target.decided_at + timedelta(seconds=reward.late_until_s):
        return Rejection(field=None, reason=f"too late: feedback is taken for {reward.late_until_s:g} s")
    return MatchedEvent(
        **{**msgspec.structs.asdict(event), "metric": metric},
        experiment=target.experiment,
        epoch=target.epoch,
        arm=target.arm,
        bucket=target.bucket,
        learnable=target.learnable,
        aggregation=aggregation,
    )


class FeedbackWriter:
    """Writes a batch of events: the journal's `write` for feedback.

    Args:
        specification_of: the specification of an experiment by key; raises when there is none.
        shard: row of the statistics that this process increments.
    """

    def __init__(self, specification_of: Callable[[str], Specification], *, shard: int) -> None:
        self._specification_of = specification_of
        self._shard = shard

    def write(self, cursor: Cursor, events: Sequence[FeedbackEvent]) -> list[Verdict]:
        """Records what can be recorded and returns a verdict for each event, in order."""
        targets = store.resolve(cursor, sorted({event.decision_id for event in events}))
        fitted = [self._fit(event, targets.get(event.decision_id)) for event in events]
        matched = {event.key: event for event in fitted if isinstance(event, MatchedEvent)}
        new = store.write_batch(cursor, list(matched.values()), shard=self._shard) if matched else set()
        unmatched = {event.key: event for event in fitted if type(event) is FeedbackEvent}
        if unmatched:
            store.keep_unmatched(cursor, list(unmatched.values()))
        return [_verdict(event, new) for event in fitted]

    def _fit(self, event: FeedbackEvent, target: Target | None) -> FeedbackEvent | Rejection:
        if target is None:
            return event
        return match(event, target, self._specification_of(target.experiment))


def _verdict(event: FeedbackEvent | Rejection, new: set[EventKey]) -> Verdict:
    """`new` loses the keys it answers for: of equal events in one batch the first is the accepted one."""
    if isinstance(event, Rejection):
        return Verdict(status="rejected", rejection=event)
    if not isinstance(event, MatchedEvent):
        return Verdict(status="unmatched")
    status: Status = "accepted" if event.key in new else "duplicate"
    new.discard(event.key)
    return Verdict(status=status, experiment=event.experiment, metric=event.metric)
