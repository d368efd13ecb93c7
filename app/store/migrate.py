"""Brings a database to the newest schema: one at a time, and never waiting long for a lock."""

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.errors import ConfigurationError
from app.store.database import Database
from app.store.partitions import make_partitions

__all__ = ["current_revision", "head_revision", "migrate"]

_MIGRATIONS = Path(__file__).parents[2] / "migrations"
_MIGRATION_LOCK = 0x6D696772617465


def migrate(database: Database, now: datetime) -> str:
    """Runs the migrations that are missing, makes the first partitions, and returns the revision reached.

    All in one transaction: a migration that fails leaves nothing behind. A second migrator waits for the first.

    Raises:
        ConfigurationError: the server is older than PostgreSQL 15.
        Unavailable: the database is away, or a table stayed locked by others for longer than the lock timeout.
    """
    with database.transaction() as connection:
        _check_server(connection)
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        # The wait for another migrator may be long; the wait for a table that serves traffic must be short, since
        # everyone else queues behind us meanwhile.
        connection.execute(sa.text("SET LOCAL lock_timeout = 0"))
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        connection.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
        make_partitions(connection, now)
    return head_revision()


def head_revision() -> str:
    """The newest revision that this version of the code knows."""
    return (_MIGRATIONS / "HEAD").read_text().strip()


def current_revision(connection: sa.Connection) -> str | None:
    """The revision a database is at; None for one that was never migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def heads() -> list[str]:
    """What Alembic itself takes for the newest revisions; a test compares it with `migrations/HEAD`."""
    return list(ScriptDirectory.from_config(_configuration()).get_heads())


def _configuration() -> Config:
    configuration = Config()
    # Alembic splits script_location's % signs like a ConfigParser; double them for paths that hold one.
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return configuration


def _check_server(connection: sa.Connection) -> None:
    version: int = connection.scalar(sa.text("SELECT current_setting('server_version_num')::int")) or 0
    if version < 150000:
        raise ConfigurationError(f"PostgreSQL 15 or later is needed; this one is {version // 10000}")
