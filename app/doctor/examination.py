"""All checks, one after the other; each says what is wrong where it stands, and those that need it are left out."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from app.doctor.database import check_contents, check_schema, check_server
from app.doctor.finding import Finding, fault, ok
from app.doctor.machine import check_machine
from app.embedded import EmbeddedPostgres
from app.errors import ConfigurationError, CroupierError
from app.settings import Settings
from app.store.database import Database
from app.store.facts import read_contents, read_server
from app.store.migrate import current_revision, head_revision

__all__ = ["examine"]


def examine(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """What every check finds. Nothing is started, and nothing is changed."""
    try:
        settings = Settings.from_environment(environment)
    except ConfigurationError as error:
        yield fault("settings", error.detail.replace("\n", "; "), "Put them right: docs/reference.md lists all")
        return
    yield ok("settings", "every one is known and within its limits")
    yield from check_machine(settings)
    yield from _check_database(settings)


def _check_database(settings: Settings) -> Iterator[Finding]:
    database: Database | None = None
    try:
        url = settings.database_url or _embedded_url(settings)
        if url is None:
            yield fault(
                "database", "the embedded PostgreSQL does not run", "Start it: `croupier up` or `croupier db start`"
            )
            return
        database = Database(url, name="croupier")
        yield from _of(database, settings)
    except CroupierError as error:
        yield fault("database", error.detail, "See that it runs, and that DATABASE_URL names it, with its password")
    finally:
        if database is not None:
            database.close()


def _of(database: Database, settings: Settings) -> Iterator[Finding]:
    with database.transaction() as connection:
        before = datetime.now(UTC)
        server = read_server(connection)
        now = datetime.now(UTC)
        revision, head = current_revision(connection), head_revision()
        contents = read_contents(connection, now) if revision and revision >= head else None
    yield ok("database", f"answers in {(now - before).total_seconds() * 1000:.0f} ms")
    # The server looked at its clock some time between these two.
    yield from check_server(server, skew_s=(server.now - before - (now - before) / 2).total_seconds())
    yield check_schema(revision, head)
    if contents:
        yield from check_contents(contents, now, retention_days=settings.retention_days)


def _embedded_url(settings: Settings) -> str | None:
    """Where the embedded server is reached; None unless it runs."""
    status = EmbeddedPostgres(settings.data_dir).status()
    return status.url if status.running else None
