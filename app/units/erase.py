"""Erases one unit: what is stored about it stays countable, and says no more whose it was (docs/adr/0010)."""

from datetime import datetime

import msgspec
from msgspec import Struct

from app import edits, experiments
from app.errors import NotFound
from app.store import audit, erasure, quarantine, units
from app.store.database import Database, cursor_of
from app.store.erasure import Scrubbed

__all__ = ["Erased", "erase_unit"]

# Each takes what was decided while the one before ran.
_MOST_PASSES = 5


class Erased(Struct, frozen=True, kw_only=True):
    """How much was erased: the body of `DELETE /v1/units/{id}`, and what the audit log keeps."""

    decisions: int
    feedback: int
    unmatched: int
    quarantine: int
    overrides: int
    audit_entries: int


def erase_unit(database: Database, unit: str, now: datetime, *, actor: str) -> Erased:
    """Erases a unit. Broken off, it can be called again; what is decided for the unit afterwards is a new unit's.

    Args:
        database: where.
        unit: whose data.
        now: decisions until then are erased also when they come later, from a spool.
        actor: for the audit log, which is told how much was erased, and not of whom.

    Raises:
        NotFound: nothing is known of the unit.
    """
    with database.transaction() as connection:
        if not units.is_known(connection, unit) and not erasure.audit_entries_naming(connection, unit):
            raise NotFound(f"Nothing is known of unit {unit!r}: it has no decision, and no override names it")
        erasure.remember(connection, unit, now)
    overrides = _let_go(database, unit, actor=actor)
    done = [_pass(database, unit)]
    while done[-1][0] and len(done) < _MOST_PASSES:
        done.append(_pass(database, unit))
    with database.transaction() as connection:
        erased = Erased(
            decisions=sum(count for count, _ in done),
            feedback=sum(scrubbed.feedback for _, scrubbed in done),
            unmatched=sum(scrubbed.unmatched for _, scrubbed in done),
            quarantine=sum(scrubbed.quarantine for _, scrubbed in done),
            overrides=overrides,
            audit_entries=erasure.rename_in_audit(connection, unit),
        )
        audit.record(connection, actor=actor, action="erase", subject="unit", after=msgspec.to_builtins(erased))
    return erased


def _let_go(database: Database, unit: str, *, actor: str) -> int:
    """Takes the unit out of all overrides."""
    with database.transaction() as connection:
        keys = units.naming(connection, unit)
    for key in keys:
        experiments.patch(database, key, lambda old: edits.unpin(old, unit), if_match=None, actor=actor)
    return len(keys)


def _pass(database: Database, unit: str) -> tuple[int, Scrubbed]:
    """Erases what there is: how many decisions, and what about them.

    The unit keeps its name to the last, so that a pass that is broken off can be repeated.
    """
    with database.transaction() as connection:
        cursor = cursor_of(connection)
        ids = erasure.mark(cursor, unit)
        first = erasure.scrub(cursor, ids)
        records = erasure.spooled_records(connection, unit, ids)
        quarantine.delete(connection, records)
    with database.transaction(snapshot=True) as connection:
        renamed = erasure.rename(cursor_of(connection), unit)
    with database.transaction() as connection:  # events that were on their way, and decisions made meanwhile
        late = erasure.scrub(cursor_of(connection), renamed)
    return len(renamed), Scrubbed(
        feedback=first.feedback + late.feedback,
        unmatched=first.unmatched + late.unmatched,
        quarantine=first.quarantine + late.quarantine + len(records),
    )
