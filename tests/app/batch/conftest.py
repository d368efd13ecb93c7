"""A database that the batch has something to do in."""

import pytest

from app.store.database import Database
from tests.app.batch.stream import catalogue, partitions


@pytest.fixture
def home(database: Database) -> Database:
    """A database with the catalogue and a week of partitions."""
    partitions(database)
    catalogue(database)
    return database
