"""Feedback: raw events, the outcomes they fold into, and the statistics that follow, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import sqlalchemy as sa

from app.store.database import Cursor, execute_prepared
from app.store.events import Event
from app.store.tables import feedback
from app.store.unmatched import Waiting

__all__ = [
    "UNMATCHED",
    "EventKey",
    "FeedbackEvent",
    "MatchedEvent",
    "events_of",
    "write_batch",
]

EventKey = tuple[UUID, str, str]


class FeedbackEvent(Event, frozen=True, kw_only=True):
    """One value of a metric. `metric` is '' for the reward metric."""

    kind: ClassVar[str] = "feedback"
    metric: str
    event_id: str
    value: float
    item_id: str | None
    position: int | None

    @property
    def key(self) -> EventKey:
        """What makes it the same event when it comes again."""
        return self.decision_id, self.metric, self.event_id


class MatchedEvent(FeedbackEvent, frozen=True, kw_only=True):
    """An event together with its decision and the way its metric is folded."""

    experiment: str
    epoch: int
    allocation: int
    arm: str
    repeated: bool  # of a sticky unit that had been given its arm before
    bucket: datetime  # of the exposure
    late_at: datetime | None  # end of the attribution window; None: the exposure is not confirmed yet
    counts: bool  # its outcome is in the statistics
    aggregation: str


UNMATCHED = Waiting(table="unmatched_feedback", key=("decision_id", "metric", "event_id"), event=FeedbackEvent)

# $1: events as JSON, $2: shard.
#
# `outcomes.previous` is set by the update and returned, since RETURNING cannot see the old row (and `xmax = 0`, the
# usual way to tell an insert from an update, fails on partitioned tables). The increment of the statistics is then
# value − previous, whatever the aggregation. All inserts go in key order, so that batches cannot deadlock.
# An outcome is late, "corrected", while its earliest event is: one in time that comes after it makes it observed.
_WRITE = """
WITH incoming AS (
    SELECT * FROM json_to_recordset($1) AS e(
        decision_id uuid, metric text, event_id text, value double precision, item_id text, position integer,
        occurred_at timestamptz, experiment text, epoch integer, allocation integer, arm text, repeated boolean,
        bucket timestamptz, late_at timestamptz, counts boolean, aggregation text)
), inserted AS (
    INSERT INTO feedback (decision_id, metric, event_id, value, item_id, position, occurred_at)
    SELECT decision_id, metric, event_id, value, item_id, position, occurred_at FROM incoming
    ORDER BY decision_id, metric, event_id
    ON CONFLICT (decision_id, metric, event_id) DO NOTHING
    RETURNING decision_id, metric, event_id
), fresh AS (
    SELECT incoming.* FROM incoming JOIN inserted USING (decision_id, metric, event_id)
), folded AS (
    SELECT decision_id, metric, aggregation, count(*)::int AS events,
           CASE aggregation
               WHEN 'sum' THEN sum(value)
               WHEN 'max' THEN max(value)
               WHEN 'any' THEN max((value <> 0)::int)
               WHEN 'mean' THEN avg(value)
               WHEN 'first' THEN (array_agg(value ORDER BY occurred_at, event_id))[1]
               ELSE (array_agg(value ORDER BY occurred_at DESC, event_id DESC))[1] END AS value,
           CASE aggregation WHEN 'first' THEN min(occurred_at) ELSE max(occurred_at) END AS occurred_at,
           min(occurred_at) AS first_at
    FROM fresh GROUP BY decision_id, metric, aggregation
), changed AS (
    INSERT INTO outcomes AS o (decision_id, metric, aggregation, value, occurred_at, events, first_at)
    SELECT decision_id, metric, aggregation, value, occurred_at, events, first_at FROM folded
    ORDER BY decision_id, metric
    ON CONFLICT (decision_id, metric) DO UPDATE SET
        previous = o.value,
        value = CASE o.aggregation
            WHEN 'sum' THEN o.value + excluded.value
            WHEN 'mean' THEN (o.value * o.events + excluded.value * excluded.events) / (o.events + excluded.events)
            WHEN 'first' THEN CASE WHEN excluded.occurred_at < o.occurred_at THEN excluded.value ELSE o.value END
            WHEN 'last' THEN CASE WHEN excluded.occurred_at >= o.occurred_at THEN excluded.value ELSE o.value END
            ELSE greatest(o.value, excluded.value) END,
        occurred_at = CASE o.aggregation
            WHEN 'first' THEN least(o.occurred_at, excluded.occurred_at)
            ELSE greatest(o.occurred_at, excluded.occurred_at) END,
        events = o.events + excluded.events,
        previous_first_at = o.first_at,
        first_at = least(o.first_at, excluded.first_at)
    RETURNING decision_id, metric, value, previous, first_at, previous_first_at
), summed AS (
    INSERT INTO arm_statistics AS s
        (experiment, epoch, arm, metric, bucket, shard, allocation, repeated, n, sum, sum_of_squares, corrected)
    SELECT d.experiment, d.epoch, d.arm, c.metric, d.bucket, $2, d.allocation, d.repeated,
           count(*) FILTER (WHERE c.previous IS NULL), sum(c.value - coalesce(c.previous, 0)),
           sum(c.value ^ 2 - coalesce(c.previous, 0) ^ 2),
           count(*) FILTER (WHERE c.first_at > d.late_at) - count(*) FILTER (WHERE c.previous_first_at > d.late_at)
    FROM changed c
    JOIN (SELECT DISTINCT decision_id, metric, experiment, epoch, allocation, arm, repeated, bucket, late_at
          FROM fresh WHERE counts) d USING (decision_id, metric)
    GROUP BY d.experiment, d.epoch, d.arm, c.metric, d.bucket, d.allocation, d.repeated
    ORDER BY d.experiment, d.epoch, d.arm, c.metric, d.bucket, d.allocation, d.repeated
    ON CONFLICT (experiment, epoch, arm, metric, bucket, shard, allocation, repeated) DO UPDATE SET
        n = s.n + excluded.n, sum = s.sum + excluded.sum, sum_of_squares = s.sum_of_squares + excluded.sum_of_squares,
        corrected = s.corrected + excluded.corrected
), popular AS (
    INSERT INTO item_rewards AS i (experiment, metric, item_id, bucket, shard, rewards)
    SELECT experiment, metric, item_id, date_trunc('hour', occurred_at, 'UTC') AS hour, $2, sum(value)
    FROM fresh WHERE item_id IS NOT NULL AND value > 0
    GROUP BY experiment, metric, item_id, hour ORDER BY experiment, metric, item_id, hour
    ON CONFLICT (experiment, metric, item_id, bucket, shard) DO UPDATE SET rewards = i.rewards + excluded.rewards
)
SELECT decision_id::text, metric, event_id FROM inserted
"""


def write_batch(cursor: Cursor, events: Sequence[MatchedEvent], *, shard: int) -> set[EventKey]:
    """Records events, folds outcomes and increments statistics, in one statement; returns the keys that are new.

    Keys must not repeat within the batch.
    """
    execute_prepared(cursor, "write_feedback", "json, smallint", _WRITE, (msgspec.json.encode(events).decode(), shard))
    return {(UUID(decision_id), metric, event_id) for decision_id, metric, event_id in cursor.fetchall()}


def events_of(connection: sa.Connection, decision_id: UUID) -> list[dict[str, Any]]:
    """All feedback about one decision, in the order of its arrival."""
    query = sa.select(feedback).where(feedback.c.decision_id == decision_id).order_by(feedback.c.received_at)
    return [dict(row) for row in connection.execute(query).mappings()]
