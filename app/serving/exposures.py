"""Confirmed exposures: which confirmations can be used, and what they are then."""

from collections.abc import Hashable, Sequence

from app.serving.events import EventWriter
from app.serving.verdicts import Rejection
from app.specification import Contract, start_of_bucket
from app.store import exposures as store
from app.store.database import Cursor
from app.store.exposures import ExposureEvent, MatchedExposure
from app.store.targets import Target

__all__ = ["ExposureWriter", "match"]


def match(event: ExposureEvent, target: Target, contract: Contract) -> MatchedExposure | Rejection:
    """Fits a confirmation to its decision, or says why it does not fit.

    One about a decision that counts without it is recorded, and counts nothing.
    """
    if event.occurred_at > contract.closed_at(target.decided_at):
        late_until_s = contract.reward.late_until_s
        return Rejection(reason="too_late", detail=f"too late: exposures are taken for {late_until_s:g} s")
    exposed_at = max(event.occurred_at, target.decided_at)
    return MatchedExposure(
        decision_id=event.decision_id,
        occurred_at=event.occurred_at,
        experiment=target.experiment,
        epoch=target.epoch,
        allocation=target.allocation,
        arm=target.arm,
        bucket=start_of_bucket(exposed_at, contract.bucket_s),
        late_at=contract.late_at(exposed_at),
        counts=target.learnable and target.awaits_confirmation,
    )


class ExposureWriter(EventWriter[ExposureEvent, MatchedExposure]):
    """Writes a batch of confirmations; `shard` is the row of the statistics that this process increments."""

    def __init__(self, *, shard: int) -> None:
        super().__init__(shard=shard, waiting=store.UNMATCHED, lock="UPDATE")

    def match(self, event: ExposureEvent, target: Target, contract: Contract) -> MatchedExposure | Rejection:
        """Fits a confirmation to its decision, or says why it does not fit."""
        return match(event, target, contract)

    def write_batch(
        self, cursor: Cursor, events: Sequence[MatchedExposure], *, shard: int
    ) -> set[tuple[Hashable, ...]]:
        """Records confirmations with different keys; returns the keys that are new."""
        return {*store.write_batch(cursor, events, shard=shard)}
