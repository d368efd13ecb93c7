"""Decisions: written in batches with the counts they cause, and read one at a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from app.store.database import Cursor, cursor_of, execute_prepared

__all__ = ["DecisionRow", "find", "recorded", "write_batch"]


class DecisionRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of `decisions`; the fields are its columns."""

    decision_id: UUID
    experiment: str
    epoch: int
    allocation: int
    arm: str
    served_arm: str | None
    unit: str
    propensity: float
    reason: str
    learnable: bool
    bucket: datetime
    decided_at: datetime
    context: dict[str, Any]
    items: tuple[str, ...]
    scores: tuple[float | None, ...]
    payload: Any
    latency_ms: float
    awaits_confirmation: bool | None = None  # true: it counts as an exposure only once that is confirmed
    trace_id: str | None = None  # of the request, 32 hexadecimal digits
    shadow_arm: str | None = None  # the shadow policy's choice, which changes nothing
    repeated: bool | None = None  # true: of sticky assignment; written as false if it is the unit's first choice
    erased: bool | None = None  # true: its unit was erased, and `unit` is a pseudonym


_KEPT = ", ".join(name for name in DecisionRow.__struct_fields__ if name != "repeated")

# $1: rows as JSON, $2: shard. One statement, so one round trip and one commit. A retried id is not inserted, so it
# counts nothing. All inserts go in key order: two batches that touch the same rows then wait for each other instead of
# deadlocking. A sticky unit's first choice in an epoch is the one that makes its row in `unit_exposures`.
# A choice with probability 1 that is not learned from was none: it was pinned, held out, or made while paused.
_WRITE = f"""
WITH incoming AS (
    SELECT * FROM json_populate_recordset(NULL::decisions, $1)
), drawn AS (
    SELECT DISTINCT ON (experiment, epoch, unit) experiment, epoch, unit, decision_id FROM incoming
    WHERE repeated AND (learnable OR propensity < 1) ORDER BY experiment, epoch, unit, decision_id
), placed AS (
    INSERT INTO unit_exposures (experiment, epoch, unit)
    SELECT experiment, epoch, unit FROM drawn ORDER BY experiment, epoch, unit
    ON CONFLICT (experiment, epoch, unit) DO NOTHING
    RETURNING experiment, epoch, unit
), first AS (
    SELECT decision_id FROM drawn JOIN placed USING (experiment, epoch, unit)
), inserted AS (
    INSERT INTO decisions ({_KEPT}, repeated)
    SELECT {_KEPT}, repeated AND decision_id NOT IN (SELECT decision_id FROM first) FROM incoming ORDER BY decision_id
    ON CONFLICT (decision_id) DO NOTHING
    RETURNING decision_id, experiment, epoch, allocation, arm, served_arm, bucket, repeated IS TRUE AS repeated,
              awaits_confirmation IS NOT TRUE AS seen, learnable, learnable OR propensity < 1 AS chosen
), counted AS (
    INSERT INTO decision_counts AS c
        (experiment, epoch, allocation, arm, bucket, shard, repeated, decisions, exposures, fallbacks, chosen)
    SELECT experiment, epoch, allocation, arm, bucket, $2, repeated, count(*),
           count(*) FILTER (WHERE seen AND learnable), count(*) FILTER (WHERE served_arm IS DISTINCT FROM arm),
           count(*) FILTER (WHERE seen AND chosen)
    FROM inserted GROUP BY experiment, epoch, allocation, arm, bucket, repeated
    ORDER BY experiment, epoch, allocation, arm, bucket, repeated
    ON CONFLICT (experiment, epoch, allocation, arm, bucket, shard, repeated) DO UPDATE SET
        decisions = c.decisions + excluded.decisions,
        exposures = c.exposures + excluded.exposures,
        fallbacks = c.fallbacks + excluded.fallbacks,
        chosen = c.chosen + excluded.chosen
)
SELECT decision_id::text FROM inserted
"""


def write_batch(cursor: Cursor, rows: Sequence[DecisionRow], *, shard: int) -> set[UUID]:
    """Inserts decisions and counts them, in one statement; returns the ids that are new.

    Ids must not repeat within the batch.
    """
    values = (msgspec.json.encode(rows).decode(), shard)
    execute_prepared(cursor, "write_decisions", "json, smallint", _WRITE, values)
    return {UUID(text) for (text,) in cursor.fetchall()}


def recorded(cursor: Cursor, ids: Sequence[UUID]) -> dict[UUID, DecisionRow]:
    """Decisions as they were recorded, by id; unknown ids are left out."""
    # The ids stand in the statement itself, so that the planner opens only the partitions that can hold them.
    literal = ",".join(f"'{i}'" for i in ids)
    cursor.execute(f"SELECT row_to_json(d)::text FROM decisions d WHERE decision_id IN ({literal})")
    rows = (msgspec.json.decode(text, type=DecisionRow) for (text,) in cursor.fetchall())
    return {row.decision_id: row for row in rows}


def find(connection: sa.Connection, decision_id: UUID) -> DecisionRow | None:
    """One decision, or None."""
    return recorded(cursor_of(connection), [decision_id]).get(decision_id)
