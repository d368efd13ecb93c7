"""Allocations as history: found by number, listed newest first, in pages."""

from datetime import timedelta

from app.specification import Specification
from app.store import allocations
from app.store.allocations import AllocationRecord
from app.store.database import Database
from tests.app.building import flag, now, put


def numbers(records: list[AllocationRecord]) -> list[int]:
    """Their numbers."""
    return [record.number for record in records]


def test_history_is_listed_newest_first_in_pages(shared_database: Database, key: str) -> None:
    """Limited in number, below a number, and since a moment."""
    for n in range(5):
        put(shared_database, key, Specification(arms=(flag("a", n),)))
    put(shared_database, key + "-other")
    with shared_database.transaction() as connection:

        def history(since_s: float | None = None, before: int | None = None, limit: int = 100) -> list[int]:
            since = None if since_s is None else now() - timedelta(seconds=since_s)
            return numbers(allocations.history(connection, key, since=since, before=before, limit=limit))

        assert history() == [5, 4, 3, 2, 1]
        assert history(limit=2) == [5, 4]
        assert history(before=4, limit=2) == [3, 2]
        assert history(before=1) == []
        assert history(since_s=60) == [5, 4, 3, 2, 1]
        assert history(since_s=-60) == []


def test_an_allocation_is_found_by_its_number(shared_database: Database, key: str) -> None:
    """And one that there is not, is not."""
    put(shared_database, key)
    with shared_database.transaction() as connection:
        found = allocations.find(connection, key, 1)
        assert found is not None
        assert (found.experiment, found.number, found.probabilities) == (key, 1, {"a": 0.5, "b": 0.5})
        assert allocations.find(connection, key, 2) is None
        assert allocations.find(connection, "nothing", 1) is None
