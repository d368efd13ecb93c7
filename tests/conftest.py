"""What tests share: a real PostgreSQL, databases of their own, and whole services on ports of their own."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.embedded import EmbeddedPostgres
from app.store.database import Database
from app.store.migrate import migrate
from tests.running import Service, running_service

_TEMPLATE = "croupier_test_template"
_numbers = count()


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server: TEST_DATABASE_URL, or an embedded one for this run."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    url = embedded.start()
    server = sa.create_engine(_named(url, None), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        # Hundreds of databases are made and thrown away: writing them back to the disk would take minutes.
        for setting in ("checkpoint_timeout = '1h'", "max_wal_size = '8GB'"):
            connection.execute(sa.text(f"ALTER SYSTEM SET {setting}"))
        connection.execute(sa.text("SELECT pg_reload_conf()"))
        yield url
        connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))  # nobody reads them any more
        connection.execute(sa.text("SELECT pg_reload_conf()"))
    server.dispose()
    embedded.stop()
    embedded.reset()


@pytest.fixture(scope="session")
def new_database(server_url: str) -> Iterator[Callable[[], str]]:
    """Makes migrated databases, each a copy of one template; on a server that was given they are dropped at the end."""
    made: list[str] = []
    server = sa.create_engine(_named(server_url, None), isolation_level="AUTOCOMMIT")

    def make() -> str:
        name = f"croupier_test_{os.getpid()}_{next(_numbers)}"
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        made.append(name)
        return _named(server_url, name)

    template = f"{_TEMPLATE}_{os.getpid()}"
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {template}"))
    made.append(template)
    migrated = Database(_named(server_url, template))
    migrate(migrated, datetime.now(UTC))
    migrated.close()
    yield make
    if os.environ.get("TEST_DATABASE_URL"):  # the embedded server goes away with all of them
        with server.connect() as connection:
            for name in made:
                connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A migrated, empty database of this test's own."""
    made = Database(new_database())
    yield made
    made.close()


@pytest.fixture(scope="session")
def service(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A whole service, of real processes, that tests share: each makes experiments of its own."""
    with running_service(new_database(), tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def own_service(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Service]:
    """A whole service of this test's own, for tests that hurt it."""
    with running_service(new_database(), tmp_path) as running:
        yield running


def _named(url: str, database: str | None) -> str:
    """The same server, another database; None: the one that is always there."""
    return sa.make_url(url).set(database=database or "postgres").render_as_string(hide_password=False)
