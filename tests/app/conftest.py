"""A database that the tests of one module share, for those that make experiments of their own."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from app.store.database import Database

_numbers = count()


@pytest.fixture(scope="module")
def shared_database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A migrated database; others of this module use it too."""
    made = Database(new_database())
    yield made
    made.close()


@pytest.fixture
def key() -> str:
    """The key of an experiment that no other test has."""
    return f"experiment-{next(_numbers)}"
