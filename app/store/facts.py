"""What an installation's database is like, for who looks for what is wrong: read in a moment, nothing changed."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.store.partitions import newest_day, oldest_day
from app.store.tables import api_keys, quarantine

__all__ = ["Contents", "Server", "read_contents", "read_server"]

# Names of our own connections: see app/cli.py and app/web/. An advisory lock is the lease of a role (app/roles.py).
_SERVER = sa.text("""
SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
    clock_timestamp() AS now,
    ARRAY(SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')
        AND setting = 'off') AS off,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    current_setting('max_connections')::int AS most_connections,
    (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()) AS oldest_transaction_s,
    ARRAY(SELECT DISTINCT replace(application_name, 'croupier-', '') FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'croupier-%') AS connected,
    ARRAY(SELECT DISTINCT replace(application_name, 'croupier-', '') FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND granted AND datname = current_database()
            AND application_name LIKE 'croupier-%') AS active
""")


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server, and who is connected to this database."""

    version: str  # as "18.4"
    major: int
    now: datetime  # its clock
    off: list[str]  # settings that keep what was committed, and are off
    connections: int
    most_connections: int
    oldest_transaction_s: float
    connected: list[str]  # roles that have a connection: web, learner, monitor
    active: list[str]  # roles of which one process holds the lease


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is stored, where the schema is the one that we know."""

    oldest_day: datetime | None  # of the partitions
    newest_day: datetime | None
    keys: int  # in force
    quarantined: int  # open entries


def read_server(connection: sa.Connection) -> Server:
    """Of any PostgreSQL, migrated or not."""
    return Server(**connection.execute(_SERVER).mappings().one())


def read_contents(connection: sa.Connection, now: datetime) -> Contents:
    """Of a migrated database."""
    c = api_keys.c
    in_force = c.revoked_at.is_(None) & (c.expires_at.is_(None) | (c.expires_at > now))
    return Contents(
        oldest_day=oldest_day(connection),
        newest_day=newest_day(connection),
        keys=_count(connection, sa.select(sa.func.count()).select_from(api_keys).where(in_force)),
        quarantined=_count(connection, sa.select(sa.func.count()).where(quarantine.c.state == "open")),
    )


def _count(connection: sa.Connection, query: sa.Select[int]) -> int:
    return connection.scalar(query) or 0
