"""A lease is had by one at a time, and ends with the connection that took it."""

import pytest

from app.errors import Unavailable
from app.store.database import Database
from app.store.leases import Lease
from tests.app.building import query
from tests.running import until

LOCK = 4711


def take(database: Database, lock: int = LOCK) -> Lease:
    """The lease, which is free, or will be when PostgreSQL has noticed that its holder has left."""
    taken: list[Lease] = []

    def attempt() -> bool:
        lease = Lease.take(database, lock)
        taken.extend([lease] if lease else [])
        return bool(taken)

    until(attempt, "the lease", 5)
    return taken[0]


def test_one_holds_it_until_it_is_released(shared_database: Database) -> None:
    """While one holds the lease nobody else gets it; afterwards the next does."""
    first = take(shared_database)
    first.check()
    assert Lease.take(shared_database, LOCK) is None
    first.release()
    take(shared_database).release()


def test_different_locks_do_not_matter_to_each_other(shared_database: Database) -> None:
    """Each role has a lock of its own."""
    leases = [take(shared_database, lock) for lock in range(5)]
    for lease in leases:
        lease.release()


def test_it_is_lost_with_its_connection(shared_database: Database) -> None:
    """When the holder's connection is gone it notices, and another can take over."""
    first = take(shared_database)
    holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock"
    ((pid,),) = query(shared_database, holders, lock=LOCK)
    assert query(shared_database, "SELECT pg_terminate_backend(:pid, 2000)", pid=pid) == [(True,)]
    second = take(shared_database)
    with pytest.raises(Unavailable):
        first.check()
    first.release()
    second.check()
    second.release()


def test_attempts_in_vain_leave_no_connection_behind(shared_database: Database) -> None:
    """A standby that asks for years does not use up the server's connections."""
    lease = take(shared_database)
    for _ in range(30):
        assert Lease.take(shared_database, LOCK) is None
    lease.release()
    open_connections = "SELECT count(*) < 10 FROM pg_stat_activity WHERE datname = current_database()"
    until(lambda: query(shared_database, open_connections) == [(True,)], "the connections to be gone", 5)


def test_an_absent_database_gives_no_lease() -> None:
    """Nobody is active while the database is away."""
    with pytest.raises(Unavailable):
        Lease.take(Database("postgresql://user@/name?host=/nowhere"), LOCK)
