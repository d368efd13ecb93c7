"""Clients that close their connections: a service that stops need not wait for them then."""

from collections.abc import Iterator
from itertools import count

import pytest

from app.store.database import Database
from tests.acceptance.talking import opened
from tests.running import Api, Service

_numbers = count()


@pytest.fixture(scope="session")
def api(service: Service) -> Iterator[Api]:
    """A client of the shared service."""
    client = service.api()
    yield client
    client.close()


@pytest.fixture
def own_api(own_service: Service) -> Iterator[Api]:
    """A client of this test's own service."""
    client = own_service.api()
    yield client
    client.close()


@pytest.fixture(scope="session")
def stored(service: Service) -> Iterator[Database]:
    """The database of the shared service."""
    with opened(service.database_url) as database:
        yield database


@pytest.fixture
def key() -> str:
    """The key of an experiment that no other test has."""
    return f"own-{next(_numbers)}"
