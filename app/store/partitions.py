"""Daily partitions of the tables that grow with traffic, made ahead of time."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from app.ids import day_bounds
from app.store.tables import PARTITIONED

__all__ = [
    "DAYS_AHEAD",
    "DAYS_BEHIND",
    "detached_before",
    "make_partitions",
    "newest_day",
    "oldest_day",
    "partitions_before",
]

# Two weeks give operators time to notice that the monitor, which makes them daily, is not running.
DAYS_AHEAD = 14
# A client-made id may be a little older than the installation.
DAYS_BEHIND = 1

# Any fixed number: whoever makes partitions holds this advisory lock.
_PARTITIONS_LOCK = 0x63726F7570696572


def make_partitions(connection: sa.Connection, now: datetime) -> int:
    """Makes the daily partitions around `now` that are missing; says how many it made."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _PARTITIONS_LOCK})
    days = [now.astimezone(UTC) + timedelta(days=offset) for offset in range(-DAYS_BEHIND, DAYS_AHEAD + 1)]
    wanted = {f"{table}_{day:%Y%m%d}": (table, day) for day in days for table in PARTITIONED}
    missing = wanted.keys() - _existing(connection)
    for name in sorted(missing):
        table, day = wanted[name]
        first, end = day_bounds(day)
        # Not `CREATE TABLE ... PARTITION OF`: that needs the parent to itself, so it would wait for every reader, and
        # every request for it. Attaching a table goes on beside reads and writes.
        connection.execute(sa.text(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)"))
        connection.execute(
            sa.text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{first}') TO ('{end}')")
        )
    return len(missing)


def oldest_day(connection: sa.Connection) -> datetime | None:
    """Start of the first UTC day whose decisions have a partition; None before the first is made."""
    return min(_days(connection), default=None)


def newest_day(connection: sa.Connection) -> datetime | None:
    """Start of the last UTC day whose decisions have a partition; None before the first is made."""
    return max(_days(connection), default=None)


def partitions_before(connection: sa.Connection, moment: datetime) -> list[tuple[str, str, bool]]:
    """Partitions of whole days before a moment: table, partition, and whether detaching it was begun."""
    return [row for row in _listed(connection) if _day_of(row[1]) + timedelta(days=1) <= moment]


def detached_before(connection: sa.Connection, moment: datetime) -> list[str]:
    """Tables of whole days before a moment that were partitions once, and were not dropped."""
    query = sa.text(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition AND relname ~ :form"
        " AND relnamespace = current_schema()::regnamespace ORDER BY relname"
    )
    names = connection.scalars(query, {"form": f"^({'|'.join(PARTITIONED)})_[0-9]{{8}}$"}).all()
    return [name for name in names if _day_of(name) + timedelta(days=1) <= moment]


def _days(connection: sa.Connection) -> list[datetime]:
    return [_day_of(name) for name in _existing(connection) if name.startswith("decisions_")]


def _day_of(partition: str) -> datetime:
    return datetime.strptime(partition.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC)


def _existing(connection: sa.Connection) -> set[str]:
    """Names of all partitions of our tables."""
    return {name for _, name, _ in _listed(connection)}


def _listed(connection: sa.Connection) -> list[tuple[str, str, bool]]:
    """All partitions of our tables by name: table, partition, and whether detaching it was begun."""
    query = sa.text(
        "SELECT parent.relname, child.relname, inhdetachpending FROM pg_inherits"
        " JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent"
        " WHERE parent.relname = ANY(:parents) AND parent.relnamespace = current_schema()::regnamespace"
        " ORDER BY child.relname"
    )
    rows = connection.execute(query, {"parents": list(PARTITIONED)})
    return [(parent, name, pending) for parent, name, pending in rows]
