"""Feedback: raw events, the outcomes they fold into, and the statistics that follow, in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from app.store.database import Cursor, execute_prepared
from app.store.tables import feedback, outcomes

__all__ = [
    "EventKey",
    "FeedbackEvent",
    "MatchedEvent",
    "Target",
    "events_of",
    "outcomes_of",
    "resolve",
    "write_batch",
]

EventKey = tuple[UUID, str, str]


class FeedbackEvent(Struct, frozen=True, kw_only=True):
    """An event as a frontend sent it, with its defaults filled in. `metric` is '' for the reward metric."""

    decision_id: UUID
    metric: str
    event_id: str
    value: float
    item_id: str | None
    position: int | None
    occurred_at: datetime

    @property
    def key(self) -> EventKey:
        """What makes it the same event when it comes again."""
        return self.decision_id, self.metric, self.event_id


class Target(Struct, frozen=True, kw_only=True):
    """The decision that feedback is about, as far as feedback needs it."""

    decision_id: UUID
    experiment: str
    epoch: int
    arm: str
    bucket: datetime
    decided_at: datetime
    learnable: bool


class MatchedEvent(FeedbackEvent, frozen=True, kw_only=True):
    """An event together with its decision and the way its metric is folded."""

    experiment: str
    epoch: int
    arm: str
    bucket: datetime
    learnable: bool
    aggregation: str


# The plan of a join with a JSON parameter would open every partition, so the ids stand in the statement itself:
# they are pruned when it is planned. tests/app/store/test_feedback.py looks at EXPLAIN.
RESOLVE = """
SELECT decision_id::text, experiment, epoch, arm, bucket, decided_at, learnable
FROM decisions WHERE decision_id = ANY('{{{ids}}}'::uuid[])
"""

# $1: events as JSON, $2: shard.
#
# `outcomes.previous` is set by the update and returned, since RETURNING cannot see the old row (and `xmax = 0`, the
# usual way to tell an insert from an update, fails on partitioned tables). The increment of the statistics is then
# value − previous, whatever the aggregation. All inserts go in key order, so that batches cannot deadlock.
_WRITE = """
WITH incoming AS (
    SELECT * FROM json_to_recordset($1) AS e(
        decision_id uuid, metric text, event_id text, value double precision, item_id text, position integer,
        occurred_at timestamptz, experiment text, epoch integer, arm text, bucket timestamptz, learnable boolean,
        aggregation text)
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
               WHEN 'first' THEN (array_agg(value ORDER BY occurred_at, event_id))[1]
               ELSE (array_agg(value ORDER BY occurred_at DESC, event_id DESC))[1] END AS value,
           CASE aggregation WHEN 'first' THEN min(occurred_at) ELSE max(occurred_at) END AS occurred_at
    FROM fresh GROUP BY decision_id, metric, aggregation
), changed AS (
    INSERT INTO outcomes AS o (decision_id, metric, aggregation, value, occurred_at, events)
    SELECT decision_id, metric, aggregation, value, occurred_at, events FROM folded ORDER BY decision_id, metric
    ON CONFLICT (decision_id, metric) DO UPDATE SET
        previous = o.value,
        value = CASE o.aggregation
            WHEN 'sum' THEN o.value + excluded.value
            WHEN 'first' THEN CASE WHEN excluded.occurred_at < o.occurred_at THEN excluded.value ELSE o.value END
            WHEN 'last' THEN CASE WHEN excluded.occurred_at >= o.occurred_at THEN excluded.value ELSE o.value END
            ELSE greatest(o.value, excluded.value) END,
        occurred_at = CASE o.aggregation
            WHEN 'first' THEN least(o.occurred_at, excluded.occurred_at)
            ELSE greatest(o.occurred_at, excluded.occurred_at) END,
        events = o.events + excluded.events
    RETURNING decision_id, metric, value, previous
), summed AS (
    INSERT INTO arm_statistics AS s (experiment, epoch, arm, metric, bucket, shard, n, sum, sum_of_squares)
    SELECT d.experiment, d.epoch, d.arm, c.metric, d.bucket, $2, count(*) FILTER (WHERE c.previous IS NULL),
           sum(c.value - coalesce(c.previous, 0)), sum(c.value ^ 2 - coalesce(c.previous, 0) ^ 2)
    FROM changed c
    JOIN (SELECT DISTINCT decision_id, metric, experiment, epoch, arm, bucket FROM fresh WHERE learnable) d
        USING (decision_id, metric)
    GROUP BY d.experiment, d.epoch, d.arm, c.metric, d.bucket
    ORDER BY d.experiment, d.epoch, d.arm, c.metric, d.bucket
    ON CONFLICT (experiment, epoch, arm, metric, bucket, shard) DO UPDATE SET
        n = s.n + excluded.n, sum = s.sum + excluded.sum, sum_of_squares = s.sum_of_squares + excluded.sum_of_squares
), popular AS (
    INSERT INTO item_rewards AS i (experiment, metric, item_id, bucket, shard, rewards)
    SELECT experiment, metric, item_id, date_trunc('hour', occurred_at, 'UTC') AS hour, $2, sum(value)
    FROM fresh WHERE item_id IS NOT NULL AND value > 0
    GROUP BY experiment, metric, item_id, hour ORDER BY experiment, metric, item_id, hour
    ON CONFLICT (experiment, metric, item_id, bucket, shard) DO UPDATE SET rewards = i.rewards + excluded.rewards
)
SELECT decision_id::text, metric, event_id FROM inserted
"""

_KEEP_UNMATCHED = """
INSERT INTO unmatched_feedback (decision_id, metric, event_id, value, item_id, position, occurred_at)
SELECT * FROM json_to_recordset(%(events)s::json) AS e(
    decision_id uuid, metric text, event_id text, value double precision, item_id text, position integer,
    occurred_at timestamptz)
ORDER BY decision_id, metric, event_id
ON CONFLICT (decision_id, metric, event_id) DO NOTHING
"""

# Tried again every second at first, later and later for decisions that do not come. Rows that another monitor
# holds are skipped.
_CLAIM_UNMATCHED = """
UPDATE unmatched_feedback u
SET attempts = attempts + 1, retry_at = %(now)s::timestamptz + least(2 ^ least(attempts, 20) / 2, 3600) * interval '1 s'
FROM (
    SELECT decision_id, metric, event_id FROM unmatched_feedback WHERE retry_at <= %(now)s
    ORDER BY decision_id, metric, event_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) due
WHERE (u.decision_id, u.metric, u.event_id) = (due.decision_id, due.metric, due.event_id)
RETURNING row_to_json(u)::text
"""

_FORGET_UNMATCHED = """
DELETE FROM unmatched_feedback u
USING json_to_recordset(%(events)s::json) AS e(decision_id uuid, metric text, event_id text)
WHERE (u.decision_id, u.metric, u.event_id) = (e.decision_id, e.metric, e.event_id)
"""


def resolve(cursor: Cursor, ids: Sequence[UUID]) -> dict[UUID, Target]:
    """The decisions with these ids, by id; unknown ids are left out."""
    cursor.execute(RESOLVE.format(ids=",".join(map(str, ids))))
    targets = (
        Target(
            decision_id=UUID(decision_id),
            experiment=experiment,
            epoch=epoch,
            arm=arm,
            bucket=bucket,
            decided_at=decided_at,
            learnable=learnable,
        )
        for decision_id, experiment, epoch, arm, bucket, decided_at, learnable in cursor.fetchall()
    )
    return {target.decision_id: target for target in targets}


def write_batch(cursor: Cursor, events: Sequence[MatchedEvent], *, shard: int) -> set[EventKey]:
    """Records events, folds outcomes and increments statistics, in one statement; returns the keys that are new.

    Keys must not repeat within the batch.
    """
    execute_prepared(cursor, "write_feedback", "json, smallint", _WRITE, (_json(events), shard))
    return {(UUID(decision_id), metric, event_id) for decision_id, metric, event_id in cursor.fetchall()}


def keep_unmatched(cursor: Cursor, events: Sequence[FeedbackEvent]) -> None:
    """Keeps events whose decision is not known, until it arrives."""
    cursor.execute(_KEEP_UNMATCHED, {"events": _json(events)})


def claim_unmatched(cursor: Cursor, now: datetime, limit: int) -> list[FeedbackEvent]:
    """Kept events that are due for another attempt; their next one is put off."""
    cursor.execute(_CLAIM_UNMATCHED, {"now": now, "limit": limit})
    return [msgspec.json.decode(text, type=FeedbackEvent) for (text,) in cursor.fetchall()]


def forget_unmatched(cursor: Cursor, events: Sequence[FeedbackEvent]) -> None:
    """Removes kept events: they were matched, or can never be."""
    cursor.execute(_FORGET_UNMATCHED, {"events": _json(events)})


def events_of(connection: sa.Connection, decision_id: UUID) -> list[dict[str, Any]]:
    """All feedback about one decision, in the order of its arrival."""
    query = sa.select(feedback).where(feedback.c.decision_id == decision_id).order_by(feedback.c.received_at)
    return [dict(row) for row in connection.execute(query).mappings()]


def outcomes_of(connection: sa.Connection, decision_id: UUID) -> dict[str, float]:
    """The outcomes of one decision, by metric."""
    query = sa.select(outcomes.c.metric, outcomes.c.value).where(outcomes.c.decision_id == decision_id)
    return dict(connection.execute(query).all())


def _json(events: Sequence[Struct]) -> str:
    return msgspec.json.encode(events).decode()
