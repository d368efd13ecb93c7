"""Everything that is stored about one unit, one thing after the other."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from app.errors import NotFound
from app.store import erasure, experiments, units
from app.store.database import Connection, Database, cursor_of
from app.store.units import EVER

__all__ = ["TABLES", "export_unit"]

# Of each table that has rows about decisions, what one row is called.
TABLES = {
    "exposures": "exposure",
    "feedback": "feedback",
    "outcomes": "outcome",
    "unmatched_feedback": "unmatched_feedback",
    "unmatched_exposures": "unmatched_exposure",
    "quarantine": "quarantine",
}
_PIECE = 500


def export_unit(database: Database, unit: str) -> Iterator[dict[str, Any]]:
    """Everything about a unit as of one moment, each with its `kind`; the last one, `end`, says how many there were.

    The first thing is read before this returns, so that errors come before anything is written.

    Raises:
        NotFound: nothing is known of the unit.
    """
    found = _found(database, unit)
    first = next(found)
    return _chained(first, found)


def _chained(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield first
    count = 1
    for count, one in enumerate(rest, start=2):  # noqa: B007 - the last one counts
        yield one
    yield {"kind": "end", "rows": count}


def _found(database: Database, unit: str) -> Iterator[dict[str, Any]]:
    with database.transaction(snapshot=True) as connection:
        named = erasure.audit_entries_naming(connection, unit)
        if not named and not units.is_known(connection, unit):
            raise NotFound(f"Nothing is known of unit {unit!r}: it has no decision, and no override names it")
        yield {"kind": "unit", "unit": unit}
        ids: list[UUID] = []
        yield from _decisions(connection, unit, ids)
        for number, record in erasure.spooled_records(connection, unit, ids).items():
            yield {"kind": "spooled_record", "id": number, "record": record}
        for place in units.sticky_epochs(connection, unit):
            yield {"kind": "unit_exposure", **place}
        for key in units.naming(connection, unit):
            experiment = experiments.find(connection, key)
            for override in experiment.specification.overrides if experiment else ():
                if unit in override.units:
                    yield {"kind": "override", "experiment": key, "arm": override.arm}
        for entry in named:
            yield {"kind": "audit", **entry}


def _decisions(connection: Connection, unit: str, ids: list[UUID]) -> Iterator[dict[str, Any]]:
    """Decisions, the newest first, with what is about them after each piece; notes their ids."""
    cursor, within = cursor_of(connection), EVER
    while decisions := units.newest(cursor, unit, within, limit=_PIECE):
        for decision in decisions:
            yield {"kind": "decision", **{name: getattr(decision, name) for name in decision.__struct_fields__}}
        piece = [decision.decision_id for decision in decisions]
        for table, kind in TABLES.items():
            for row in units.events_about(cursor, table, piece):
                yield {"kind": kind, **({"entry": row} if table == "quarantine" else row)}
        ids += piece
        within = within.before(piece[-1])
