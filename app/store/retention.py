"""Forgets what is older than it is to be kept."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.ids import first_id_at
from app.store.database import Database, is_transient
from app.store.partitions import detached_before, partitions_before
from app.store.tables import PARTITIONED, allocations

__all__ = ["delete_old_allocations", "delete_old_events", "delete_old_units", "drop_old_partitions", "keep_since"]

# Small enough that nobody waits long for its locks.
_BATCH = 5_000


def drop_old_partitions(database: Database, before: datetime) -> list[str]:
    """Drops the partitions of whole days before a moment; returns their names.

    DROP alone would wait for every reader and make all others wait behind it. Detaching concurrently does not; a
    partition that cannot be had within the lock timeout is left for the next pass.
    """
    with database.autocommit() as connection:
        connection.execute(sa.text("SET lock_timeout = '2s'"))
        try:
            _detach(connection, before)
            # Also those of a pass that was killed before it came to this.
            return [name for name in detached_before(connection, before) if _try(connection, f"DROP TABLE {name}")]
        finally:
            connection.execute(sa.text("RESET lock_timeout"))  # the connection goes back to the pool


def _detach(connection: sa.Connection, before: datetime) -> None:
    """Detaches old partitions.

    A pass that was killed between the two halves of detaching has left one pending, and a table can have only one such:
    so that comes first, and when it cannot be had, the table's others wait for the next pass too.
    """
    stuck: set[str] = set()
    for parent, name, pending in sorted(partitions_before(connection, before), key=lambda found: not found[2]):
        how = "FINALIZE" if pending else "CONCURRENTLY"
        if parent not in stuck and not _try(connection, f"ALTER TABLE {parent} DETACH PARTITION {name} {how}"):
            stuck.add(parent)


def delete_old_events(database: Database, experiment: str, before: datetime) -> int:
    """Deletes one experiment's decisions before a moment, with their feedback and outcomes; returns how many.

    For experiments that keep less than the others, whose days are still kept: row by row, in small transactions.
    """
    deleted = 0
    while True:
        with database.transaction() as connection:
            found = connection.scalars(
                sa.text(
                    "SELECT decision_id FROM decisions WHERE experiment = :experiment AND decision_id < :end"
                    " ORDER BY decision_id LIMIT :most"
                ),
                {"experiment": experiment, "end": first_id_at(before), "most": _BATCH},
            ).all()
            if not found:
                return deleted
            literal = ",".join(f"'{i}'" for i in found)
            for table in reversed(PARTITIONED):
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE decision_id IN ({literal})")
        deleted += len(found)


def delete_old_allocations(connection: sa.Connection, experiment: str, before: datetime) -> int:
    """Deletes allocations that no kept decision was made from: all before the one that was in force at that moment."""
    mine = allocations.c.experiment == experiment
    then = sa.select(sa.func.max(allocations.c.number)).where(mine, allocations.c.created_at < before)
    query = sa.delete(allocations).where(mine, allocations.c.number < then.scalar_subquery())
    return connection.execute(query).rowcount


def delete_old_units(connection: sa.Connection, experiment: str, before: datetime) -> int:
    """Deletes which units had an arm in epochs that ended before a moment: none of their decisions comes any more."""
    statement = """DELETE FROM unit_exposures u USING experiments e
        WHERE u.experiment = :experiment AND e.key = u.experiment AND u.epoch < e.epoch AND e.updated_at < :before"""
    return connection.execute(sa.text(statement), {"experiment": experiment, "before": before}).rowcount


def _try(connection: sa.Connection, statement: str) -> bool:
    """Executes a statement; False when it did not get its locks."""
    try:
        connection.execute(sa.text(statement))
    except DBAPIError as error:
        if not is_transient(error.orig):
            raise
        return False
    return True


def keep_since(now: datetime, days: int) -> datetime:
    """Start of the first UTC day that is kept whole."""
    return (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
