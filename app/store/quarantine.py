"""Quarantine: events that could not be used, each with the reason, until somebody decides about it or it is too old."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from msgspec import Struct

from app.ids import first_id_at
from app.store.database import Cursor
from app.store.tables import arms, quarantine

__all__ = [
    "Entry",
    "Filter",
    "about",
    "counts",
    "delete",
    "delete_old",
    "find",
    "keep",
    "open_entries",
    "page",
    "rejected_by_arm",
    "settle",
]


class Entry(Struct, frozen=True, kw_only=True):
    """An event to be put in quarantine."""

    fingerprint: str  # the same for the same event
    kind: str  # feedback, exposure or record
    reason: str  # a word
    detail: str  # a sentence
    payload: Any  # JSON: the event, as it can be replayed
    experiment: str | None = None
    epoch: int | None = None
    arm: str | None = None
    decision_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which rows are meant; None: whatever it is."""

    ids: Collection[int] | None = None
    experiment: str | None = None
    reason: str | None = None
    state: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As conditions of a query."""
        c = quarantine.c
        wanted = ((c.experiment, self.experiment), (c.reason, self.reason), (c.state, self.state))
        return [column == value for column, value in wanted if value is not None] + (
            [] if self.ids is None else [c.id.in_(self.ids)]
        )


# An event that comes again has its row already. What an operator has discarded stays so.
_KEEP = """
INSERT INTO quarantine AS q (fingerprint, kind, experiment, epoch, arm, decision_id, reason, detail, payload)
SELECT fingerprint, kind, experiment, epoch, arm, decision_id, reason, detail, payload
FROM json_to_recordset(%(entries)s::json) AS e(
    fingerprint text, kind text, experiment text, epoch int, arm text, decision_id uuid, reason text, detail text,
    payload jsonb)
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    experiment = excluded.experiment, epoch = excluded.epoch, arm = excluded.arm, reason = excluded.reason,
    detail = excluded.detail, payload = excluded.payload, times = q.times + 1, last_seen = now(),
    state = CASE q.state WHEN 'discarded' THEN q.state ELSE 'open' END
"""


def keep(cursor: Cursor, entries: Sequence[Entry]) -> None:
    """Puts events in quarantine. Of those with the same fingerprint the last counts, and they count once."""
    distinct = {entry.fingerprint: entry for entry in entries}
    cursor.execute(_KEEP, {"entries": msgspec.json.encode(list(distinct.values())).decode()})


def page(connection: sa.Connection, wanted: Filter, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Rows, the newest first."""
    query = sa.select(*_shown()).where(*wanted.conditions()).order_by(quarantine.c.id.desc()).limit(limit)
    rows = connection.execute(query if before is None else query.where(quarantine.c.id < before))
    return [dict(row) for row in rows.mappings()]


def find(connection: sa.Connection, entry_id: int) -> dict[str, Any] | None:
    """One row, or None."""
    row = connection.execute(sa.select(*_shown()).where(quarantine.c.id == entry_id)).mappings().first()
    return dict(row) if row else None


def about(connection: sa.Connection, decision_ids: Collection[UUID]) -> list[dict[str, Any]]:
    """Rows about some decisions that were not replayed since, oldest first."""
    mine = quarantine.c.decision_id.in_(decision_ids), quarantine.c.state != "replayed"
    rows = connection.execute(sa.select(*_shown()).where(*mine).order_by(quarantine.c.id))
    return [dict(row) for row in rows.mappings()]


def open_entries(connection: sa.Connection, wanted: Filter, limit: int) -> list[dict[str, Any]]:
    """Open rows, those first that were seen last longest ago: those that are refused again come last next time."""
    query = sa.select(*_shown()).where(*wanted.conditions(), quarantine.c.state == "open")
    rows = connection.execute(query.order_by(quarantine.c.last_seen, quarantine.c.id).limit(limit))
    return [dict(row) for row in rows.mappings()]


def settle(connection: sa.Connection, ids: Collection[int], state: str) -> list[int]:
    """Moves open rows to another state; returns their ids."""
    # Locked in the order in which `keep` locks them.
    mine = sa.select(quarantine.c.id).where(quarantine.c.id.in_(ids), quarantine.c.state == "open")
    locked = mine.order_by(quarantine.c.fingerprint).with_for_update().subquery()
    query = sa.update(quarantine).where(quarantine.c.id == locked.c.id).values(state=state)
    return sorted(connection.scalars(query.returning(quarantine.c.id)))


def delete(connection: sa.Connection, ids: Collection[int]) -> None:
    """Deletes rows."""
    connection.execute(sa.delete(quarantine).where(quarantine.c.id.in_(ids)))


def delete_old(connection: sa.Connection, experiment: str | None, before: datetime) -> int:
    """Deletes an experiment's rows, or those of none, that were last seen before a moment."""
    mine = quarantine.c.experiment.is_(None) if experiment is None else quarantine.c.experiment == experiment
    return connection.execute(sa.delete(quarantine).where(mine, quarantine.c.last_seen < before)).rowcount


def counts(connection: sa.Connection, experiment: str) -> list[dict[str, Any]]:
    """Rows by reason: how many are open, replayed and discarded, and when the last one came; most open ones first."""
    c = quarantine.c
    states = {state: sa.func.count().filter(c.state == state) for state in ("open", "replayed", "discarded")}
    columns = [count.label(state) for state, count in states.items()]
    query = sa.select(c.reason, *columns, sa.func.max(c.last_seen).label("last_seen")).where(c.experiment == experiment)
    found = connection.execute(query.group_by(c.reason).order_by(states["open"].desc(), c.reason))
    return [dict(row) for row in found.mappings()]


def rejected_by_arm(connection: sa.Connection, experiment: str, since: datetime | None) -> dict[str, int]:
    """How many events about each arm's decisions, of its present version, are in quarantine."""
    c = quarantine.c
    query = (
        sa.select(c.arm, sa.func.count())
        .join(arms, sa.and_(arms.c.experiment == c.experiment, arms.c.key == c.arm))
        .where(c.experiment == experiment, c.state != "replayed", c.epoch >= arms.c.since_epoch)
        .group_by(c.arm)
    )
    if since is not None:
        query = query.where(c.decision_id >= first_id_at(since))
    return dict(connection.execute(query).all())


def _shown() -> list[sa.Column[Any]]:
    """All columns but the fingerprint."""
    return [column for column in quarantine.c if column.name != "fingerprint"]
