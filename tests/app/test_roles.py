"""Roles of which only one is active: waiting, taking over, surviving faults."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from app.errors import Unavailable
from app.roles import run_as_only_one
from app.store.database import Database
from tests.app.building import query
from tests.running import until

LOCK = 815
HOLDERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND granted"


@contextmanager
def role(database: Database, work: Callable[[], object]) -> Iterator[threading.Event]:
    """A running role; the event stops it."""
    stop = threading.Event()
    options = {"interval_s": 0.01, "stop": stop}
    thread = threading.Thread(target=run_as_only_one, args=(database, LOCK, work), kwargs=options)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def holders(database: Database) -> list[int]:
    """Server processes that hold the lock."""
    return [pid for (pid,) in query(database, HOLDERS, lock=LOCK)]


def test_it_works_until_it_is_stopped_and_then_lets_go(shared_database: Database) -> None:
    """Passes follow each other; after the end the lock is free."""
    passes: list[int] = []
    with role(shared_database, lambda: passes.append(1)):
        until(lambda: len(passes) >= 3, "three passes")
        assert len(holders(shared_database)) == 1
    until(lambda: not holders(shared_database), "the lock to be free")


def test_a_standby_does_not_work(shared_database: Database) -> None:
    """While one is active the other waits; when it ends the other begins."""
    first, second = [0], [0]

    def count(passes: list[int]) -> Callable[[], object]:
        return lambda: passes.append(1)

    with role(shared_database, count(first)) as stop_first:
        until(lambda: len(first) > 1, "the first")
        with role(shared_database, count(second)):
            before = len(first)
            until(lambda: len(first) > before + 10, "the first to go on")
            assert second == [0]
            stop_first.set()
            until(lambda: len(second) > 1, "the second")
            assert len(holders(shared_database)) == 1


def test_a_fault_in_a_pass_is_logged_and_does_not_end_the_role(
    shared_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """The next pass tries again, under the same lock."""
    passes: list[int] = []

    def work() -> None:
        passes.append(1)
        if len(passes) == 1:
            raise ZeroDivisionError

    with caplog.at_level(logging.INFO), role(shared_database, work):
        until(lambda: len(passes) >= 2, "a second pass")
    assert [r.message for r in caplog.records if r.name == "app.roles"] == ["active", "a pass failed"]


def test_a_role_without_its_database_lets_go_of_its_lock(shared_database: Database) -> None:
    """When its work finds the database away a role gives up its lock, and takes it anew with the next pass."""
    holders_in_pass: list[list[int]] = []

    def work() -> None:
        holders_in_pass.append(holders(shared_database))
        raise Unavailable

    with role(shared_database, work):
        until(lambda: len(holders_in_pass) >= 3, "three passes")
    assert all(len(pids) == 1 for pids in holders_in_pass)
    assert len({pid for pids in holders_in_pass for pid in pids}) == len(holders_in_pass)


def test_a_lost_connection_is_noticed_before_the_next_pass(shared_database: Database) -> None:
    """After its lock is gone a role takes it anew, with one holder at a time."""
    passes: list[int] = []
    with role(shared_database, lambda: passes.append(1)):
        until(lambda: passes, "a pass")
        (pid,) = holders(shared_database)
        query(shared_database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
        until(lambda: holders(shared_database) not in ([], [pid]), "the lock to be taken anew")
        before = len(passes)
        until(lambda: len(passes) > before, "the next pass")
        assert len(holders(shared_database)) == 1


def test_an_absent_database_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """Without a database nothing is worked, the log says why, and stopping works."""
    with caplog.at_level(logging.WARNING), role(Database("postgresql://user@/x?host=/nowhere"), pytest.fail) as stop:
        until(lambda: len(caplog.records) >= 2, "attempts")
        stop.set()
    assert all("waiting for the database" in r.message for r in caplog.records)
