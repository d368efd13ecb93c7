"""Erases a unit: its rows stay, so that statistics stay the fold of the log, and say no more whose they are.

Each statement is safe to repeat. `units.py` finds what there is; `app/units/erase.py` has the order of the steps.
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.database import Cursor
from app.store.tables import audit_log, erased_units, quarantine

__all__ = [
    "Erasures",
    "Scrubbed",
    "audit_entries_naming",
    "delete_old",
    "forget_place",
    "mark",
    "remember",
    "rename",
    "rename_in_audit",
    "scrub",
    "spooled_records",
]

_AT_ONCE = 5_000
_ABOUT = "decision_id = ANY('{{{ids}}}'::uuid[])"

# From here on no event about these decisions is taken (app/serving/events.py).
_MARK = """
UPDATE decisions SET erased = true, context = '{}', payload = NULL, trace_id = NULL WHERE unit = %(unit)s
RETURNING decision_id::text
"""
_RENAME = """
UPDATE decisions SET unit = %(pseudonym)s, erased = true, context = '{}', payload = NULL, trace_id = NULL
WHERE unit = %(unit)s RETURNING decision_id::text
"""
# Every epoch has a contract, and the key of `unit_exposures` begins with experiment and epoch.
_RENAME_PLACES = """
UPDATE unit_exposures u SET unit = %(pseudonym)s FROM contracts c
WHERE u.experiment = c.experiment AND u.epoch = c.epoch AND u.unit = %(unit)s
"""
# The id of an event is the client's to choose. It is needed no more to know a repeated one: none is taken.
_SCRUB = {
    "feedback": "UPDATE feedback SET event_id = 'erased:' || gen_random_uuid() WHERE event_id !~ '^erased:' AND ",
    "unmatched": "DELETE FROM unmatched_feedback WHERE ",
    "unmatched_exposures": "DELETE FROM unmatched_exposures WHERE ",
    "quarantine": "DELETE FROM quarantine WHERE ",
}
_FORGET_PLACE = """
DELETE FROM unit_exposures WHERE experiment = %(experiment)s AND epoch = %(epoch)s AND unit = %(unit)s
    AND NOT EXISTS (SELECT FROM decisions WHERE unit = %(unit)s AND experiment = %(experiment)s AND epoch = %(epoch)s)
"""
_DECISION_ID = re.compile(r'"decision_id":"([0-9a-f-]{36})"')


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """How many rows were touched."""

    feedback: int = 0
    unmatched: int = 0
    quarantine: int = 0


def mark(cursor: Cursor, unit: str) -> list[UUID]:
    """Clears what a unit's decisions say of it, and closes them to events; returns their ids."""
    cursor.execute(_MARK, {"unit": unit})
    return [UUID(text) for (text,) in cursor.fetchall()]


def scrub(cursor: Cursor, ids: Sequence[UUID]) -> Scrubbed:
    """Takes out of events about some decisions what clients chose to call them; those not recorded are deleted."""
    touched = dict.fromkeys(_SCRUB, 0)
    for start in range(0, len(ids), _AT_ONCE):
        about = _ABOUT.format(ids=",".join(map(str, ids[start : start + _AT_ONCE])))
        for name, statement in _SCRUB.items():
            cursor.execute(statement + about)
            touched[name] += cursor.rowcount
    return Scrubbed(
        feedback=touched["feedback"],
        unmatched=touched["unmatched"] + touched["unmatched_exposures"],
        quarantine=touched["quarantine"],
    )


def rename(cursor: Cursor, unit: str) -> list[UUID]:
    """Gives a unit's decisions a pseudonym that nobody knows; returns the ids of all of them.

    The transaction must be a snapshot: then of a sticky unit's choices in an epoch at most one is its first, under the
    old name as under the new one, whatever is decided meanwhile.
    """
    names = {"unit": unit, "pseudonym": pseudonym()}
    cursor.execute(_RENAME_PLACES, names)
    cursor.execute(_RENAME, names)
    return [UUID(text) for (text,) in cursor.fetchall()]


def pseudonym() -> str:
    """The name of an erased unit: random, so that it leads nowhere."""
    return f"erased:{secrets.token_hex(16)}"


def forget_place(cursor: Cursor, experiment: str, epoch: int, unit: str) -> None:
    """Takes back that a sticky unit has had an arm, unless it has a decision there."""
    cursor.execute(_FORGET_PLACE, {"experiment": experiment, "epoch": epoch, "unit": unit})


def spooled_records(connection: sa.Connection, unit: str, ids: Collection[UUID]) -> dict[int, str]:
    """Records of the spool in quarantine about a unit or its decisions, by the number of the entry."""
    record = quarantine.c.payload["record"].astext
    named = f'"unit":{msgspec.json.encode(unit).decode()}'
    known = {str(decision_id) for decision_id in ids}
    rows = connection.execute(sa.select(quarantine.c.id, record).where(quarantine.c.kind == "record"))
    return {entry: text for entry, text in rows if named in text or not known.isdisjoint(_DECISION_ID.findall(text))}


def audit_entries_naming(connection: sa.Connection, unit: str) -> list[dict[str, Any]]:
    """Entries of the audit log whose specifications have an override for a unit, without the specifications."""
    columns = (audit_log.c.id, audit_log.c.at, audit_log.c.actor, audit_log.c.action, audit_log.c.subject)
    rows = connection.execute(sa.select(*columns).where(_names(unit)).order_by(audit_log.c.id)).mappings()
    return [dict(row) for row in rows]


def rename_in_audit(connection: sa.Connection, unit: str) -> int:
    """Puts a pseudonym in the place of a unit in the audit log's specifications; returns how many entries had it."""
    name = pseudonym()
    ids = [entry["id"] for entry in audit_entries_naming(connection, unit)]
    for entry_id in ids:  # one at a time: each holds two specifications
        mine = audit_log.c.id == entry_id
        before, after = connection.execute(sa.select(audit_log.c.before, audit_log.c.after).where(mine)).one()
        values = {"before": _renamed(before, unit, name), "after": _renamed(after, unit, name)}
        connection.execute(sa.update(audit_log).where(mine).values(**values))
    return len(ids)


def remember(connection: sa.Connection, unit: str, now: datetime) -> None:
    """Notes that a unit was erased, so that its decisions are known again when they come from a spool."""
    salt = connection.scalar(sa.select(erased_units.c.salt).limit(1)) or secrets.token_bytes(16)
    statement = insert(erased_units).values(digest=_digest(bytes(salt), unit), salt=salt, erased_at=now)
    latest = {"erased_at": sa.func.greatest(erased_units.c.erased_at, statement.excluded.erased_at)}
    connection.execute(statement.on_conflict_do_update(index_elements=["digest"], set_=latest))


def delete_old(connection: sa.Connection, before: datetime) -> int:
    """Forgets erasures before a moment: no decision from before it is taken any more."""
    return connection.execute(sa.delete(erased_units).where(erased_units.c.erased_at < before)).rowcount


class Erasures:
    """The units that were erased of late."""

    def __init__(self, cursor: Cursor) -> None:
        cursor.execute("SELECT digest, salt, erased_at FROM erased_units")
        rows = [(bytes(digest), bytes(salt), erased_at) for digest, salt, erased_at in cursor.fetchall()]
        self._erased_at: dict[bytes, datetime] = {digest: erased_at for digest, _, erased_at in rows}
        self._salts = {salt for _, salt, _ in rows}  # more than one only if the first two were erased at once

    def cover(self, unit: str, decided_at: datetime) -> bool:
        """Whether a unit was erased after something was decided for it."""
        found = (self._erased_at.get(_digest(salt, unit)) for salt in self._salts)
        return any(erased_at is not None and decided_at <= erased_at for erased_at in found)


def _digest(salt: bytes, unit: str) -> bytes:
    return hashlib.blake2b(unit.encode(), key=salt, digest_size=16).digest()


def _names(unit: str) -> sa.ColumnElement[bool]:
    named = {"overrides": [{"units": [unit]}]}
    return sa.or_(audit_log.c.before.contains(named), audit_log.c.after.contains(named))


def _renamed(specification: Any, unit: str, name: str) -> Any:  # noqa: ANN401 - JSON, of whatever was audited
    if not isinstance(specification, dict) or not isinstance(specification.get("overrides"), list):
        return specification
    overrides = [
        {**override, "units": [name if named == unit else named for named in override["units"]]}
        if "units" in override
        else override
        for override in specification["overrides"]
    ]
    return {**specification, "overrides": overrides}
