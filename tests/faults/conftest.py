"""One site for all faults, since starting one takes seconds; each test has an experiment of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count

import pytest

from app.embedded import EmbeddedPostgres
from app.store.database import Database
from app.store.migrate import migrate
from tests.faults.site import Site
from tests.running import running_service

_BUDGET_MS = "250"
_numbers = count()


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A PostgreSQL of its own, and two services on it."""
    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("hurt"))
    url = postgres.start()
    database = Database(url)
    migrate(database, datetime.now(UTC))
    database.close()
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    try:
        with (
            running_service(url, first, CROUPIER_COMMIT_BUDGET_MS=_BUDGET_MS) as service,
            running_service(url, second, roles=("web",), CROUPIER_COMMIT_BUDGET_MS=_BUDGET_MS) as other,
        ):
            yield Site(postgres, service, other)
    finally:
        postgres.stop()
        postgres.reset()


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    """The site, whole."""
    shared_site.mend()
    yield shared_site
    shared_site.mend()


@pytest.fixture
def key() -> str:
    """The key of an experiment that no other test has."""
    return f"fault-{next(_numbers)}"
