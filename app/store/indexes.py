"""Indexes that partitions older than the index lack: built one at a time, beside reads and writes.

A migration that built them would stop writers for as long as that takes, since it is one transaction.
"""

import logging

import sqlalchemy as sa

from app.errors import Unavailable
from app.store.database import Database

__all__ = ["build_next"]

log = logging.getLogger(__name__)

# The newest first: it is asked for most.
_NEXT = sa.text("""
SELECT c.relname FROM pg_inherits p JOIN pg_class c ON c.oid = p.inhrelid
WHERE p.inhparent = 'decisions'::regclass AND NOT p.inhdetachpending AND NOT EXISTS (
    SELECT FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid
    WHERE i.indrelid = c.oid AND h.inhparent = 'decisions_unit'::regclass
)
ORDER BY c.relname DESC LIMIT 1
""")


def build_next(database: Database) -> str | None:
    """Gives one partition of decisions its index by unit; returns its name, None when none is left or can be had now.

    What an attempt that was broken off has left is thrown away first.
    """
    try:
        with database.autocommit() as connection:
            partition: str | None = connection.scalar(_NEXT)
            if partition is not None:
                _build(connection, partition)
            return partition
    except Unavailable as error:
        log.warning("an index by unit is built later: %s", error.__cause__)
        return None


def _build(connection: sa.Connection, partition: str) -> None:
    index = f"{partition}_unit_decision_id_idx"
    try:
        connection.execute(sa.text("SET statement_timeout = 0"))
        for statement in (
            f"DROP INDEX CONCURRENTLY IF EXISTS {index}",
            f"CREATE INDEX CONCURRENTLY {index} ON {partition} (unit, decision_id)",
            f"ALTER INDEX decisions_unit ATTACH PARTITION {index}",
        ):
            connection.execute(sa.text(statement))
    finally:
        connection.execute(sa.text("RESET statement_timeout"))  # the connection goes back to the pool
