"""Events that came before their decision: kept until it arrives, and tried later and later."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Generic, TypeVar

import msgspec

from app.ids import first_id_at
from app.store.database import Cursor
from app.store.events import Event

__all__ = ["Waiting"]

Kind = TypeVar("Kind", bound=Event)

_KEEP = """
INSERT INTO {table} ({columns})
SELECT {columns} FROM json_populate_recordset(NULL::{table}, %(events)s::json) ORDER BY {key}
ON CONFLICT ({key}) DO NOTHING
"""

# Tried again every second at first, later and later for decisions that do not come. Rows that another monitor
# holds are skipped.
_CLAIM = """
UPDATE {table} u
SET attempts = attempts + 1, retry_at = %(now)s::timestamptz + least(2 ^ least(attempts, 20) / 2, 3600) * interval '1 s'
FROM (
    SELECT {key} FROM {table} WHERE retry_at <= %(now)s ORDER BY {key} LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) due
WHERE ({u_key}) = ({due_key})
RETURNING row_to_json(u)::text
"""

_FORGET = """
DELETE FROM {table} u USING json_populate_recordset(NULL::{table}, %(events)s::json) due WHERE ({u_key}) = ({due_key})
"""

_EXPIRE = """
DELETE FROM {table} u
USING (
    SELECT {key} FROM {table} WHERE decision_id < %(end)s ORDER BY {key} LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) due
WHERE ({u_key}) = ({due_key})
RETURNING row_to_json(u)::text
"""


@dataclass(frozen=True, kw_only=True)
class Waiting(Generic[Kind]):
    """The table in which one kind of event waits; its columns begin with the event's fields."""

    table: str
    key: tuple[str, ...]
    event: type[Kind]

    def keep(self, cursor: Cursor, events: Sequence[Kind]) -> None:
        """Keeps events whose decision is not known, each once."""
        cursor.execute(_KEEP.format(**self._words), {"events": _json(events)})

    def claim(self, cursor: Cursor, now: datetime, limit: int) -> list[Kind]:
        """Kept events that are due for another attempt; their next one is put off."""
        return self._listed(cursor, _CLAIM, {"now": now, "limit": limit})

    def forget(self, cursor: Cursor, events: Sequence[Kind]) -> None:
        """Removes kept events: they were matched, or can never be."""
        cursor.execute(_FORGET.format(**self._words), {"events": _json(events)})

    def expire(self, cursor: Cursor, before: datetime, limit: int) -> list[Kind]:
        """Removes events about decisions of before a moment, and returns them."""
        return self._listed(cursor, _EXPIRE, {"end": str(first_id_at(before)), "limit": limit})

    def _listed(self, cursor: Cursor, template: str, values: dict[str, object]) -> list[Kind]:
        cursor.execute(template.format(**self._words), values)
        return [msgspec.json.decode(text, type=self.event) for (text,) in cursor.fetchall()]

    @cached_property
    def _words(self) -> dict[str, str]:
        return {
            "table": self.table,
            "columns": ", ".join(self.event.__struct_fields__),
            "key": ", ".join(self.key),
            "u_key": ", ".join(f"u.{name}" for name in self.key),
            "due_key": ", ".join(f"due.{name}" for name in self.key),
        }


def _json(events: Sequence[Event]) -> str:
    return msgspec.json.encode(events).decode()
