"""Confirmed exposures: raw confirmations, the counts that they cause, and outcomes that count from then on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import sqlalchemy as sa

from app.store.database import Cursor
from app.store.events import Event
from app.store.tables import exposures
from app.store.unmatched import Waiting

__all__ = ["UNMATCHED", "WRITE", "ExposureEvent", "MatchedExposure", "confirmation_of", "write_batch"]


class ExposureEvent(Event, frozen=True, kw_only=True):
    """The unit was shown the decision. A decision has one exposure, so its id is the event's key."""

    kind: ClassVar[str] = "exposure"


class MatchedExposure(ExposureEvent, frozen=True, kw_only=True):
    """A confirmation together with its decision."""

    experiment: str
    epoch: int
    allocation: int
    arm: str
    bucket: datetime  # of the exposure
    late_at: datetime  # end of the attribution window
    counts: bool  # the decision waited for it, and the policy learns from it


UNMATCHED = Waiting(table="unmatched_exposures", key=("decision_id",), event=ExposureEvent)

# Outcomes that came before the exposure was confirmed start to count with it. The decisions are locked by then
# (app/store/targets.py), so no feedback about them is in flight. The ids stand in the statement to be pruned.
WRITE = """
WITH incoming AS (
    SELECT * FROM json_to_recordset(%(rows)s::json) AS e(
        decision_id uuid, occurred_at timestamptz, bucket timestamptz, late_at timestamptz, experiment text, epoch int,
        allocation int, arm text, counts boolean)
), inserted AS (
    INSERT INTO exposures (decision_id, occurred_at, bucket)
    SELECT decision_id, occurred_at, bucket FROM incoming ORDER BY decision_id
    ON CONFLICT (decision_id) DO NOTHING
    RETURNING decision_id
), fresh AS (
    SELECT incoming.* FROM incoming JOIN inserted USING (decision_id) WHERE counts
), counted AS (
    INSERT INTO decision_counts AS c (experiment, epoch, allocation, arm, bucket, shard, exposures)
    SELECT experiment, epoch, allocation, arm, bucket, %(shard)s, count(*)
    FROM fresh GROUP BY experiment, epoch, allocation, arm, bucket
    ORDER BY experiment, epoch, allocation, arm, bucket
    ON CONFLICT (experiment, epoch, allocation, arm, bucket, shard) DO UPDATE SET
        exposures = c.exposures + excluded.exposures
), summed AS (
    INSERT INTO arm_statistics AS s (experiment, epoch, arm, metric, bucket, shard, n, sum, sum_of_squares, corrected)
    SELECT f.experiment, f.epoch, f.arm, o.metric, f.bucket, %(shard)s, count(*), sum(o.value), sum(o.value ^ 2),
           count(*) FILTER (WHERE o.first_at > f.late_at)
    FROM fresh f JOIN outcomes o USING (decision_id)
    WHERE o.decision_id = ANY('{{{ids}}}'::uuid[])
    GROUP BY f.experiment, f.epoch, f.arm, o.metric, f.bucket
    ORDER BY f.experiment, f.epoch, f.arm, o.metric, f.bucket
    ON CONFLICT (experiment, epoch, arm, metric, bucket, shard) DO UPDATE SET
        n = s.n + excluded.n, sum = s.sum + excluded.sum, sum_of_squares = s.sum_of_squares + excluded.sum_of_squares,
        corrected = s.corrected + excluded.corrected
)
SELECT decision_id::text FROM inserted
"""


def write_batch(cursor: Cursor, events: Sequence[MatchedExposure], *, shard: int) -> set[tuple[UUID]]:
    """Records confirmations and counts them, in one statement; returns the keys that are new.

    Keys must not repeat within the batch, and decisions that await confirmation must be locked.
    """
    statement = WRITE.format(ids=",".join(str(event.decision_id) for event in events))
    cursor.execute(statement, {"rows": msgspec.json.encode(events).decode(), "shard": shard})
    return {(UUID(decision_id),) for (decision_id,) in cursor.fetchall()}


def confirmation_of(connection: sa.Connection, decision_id: UUID) -> dict[str, Any] | None:
    """The confirmation of one decision, or None."""
    query = sa.select(exposures.c.occurred_at, exposures.c.received_at).where(exposures.c.decision_id == decision_id)
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None
