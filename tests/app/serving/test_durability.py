"""An acknowledgement rests on the database, or else on the spool; never on nothing."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.errors import InvalidInput, Unavailable
from app.serving.durability import DurableLog
from app.serving.health import Health
from app.serving.journal import Batches, GroupCommit
from app.serving.spool import Spool, SpoolFull, read_records
from app.store.database import Cursor, Database
from tests.app.building import execute, query
from tests.running import until

Log = DurableLog[int, str]
BUDGET_S = 0.5


def write(cursor: Cursor, rows: Sequence[int]) -> list[str]:
    """Inserts numbers, once each."""
    cursor.execute("INSERT INTO numbers SELECT unnest(%s::int[]) ON CONFLICT DO NOTHING", (list(rows),))
    return [f"wrote {row}" for row in rows]


def refuse(_: Cursor, rows: Sequence[int]) -> list[str]:
    """Finds every row at fault."""
    raise InvalidInput.at("#", f"{rows} are wrong")


@pytest.fixture
def numbers(shared_database: Database) -> Database:
    """A database with an empty table."""
    execute(shared_database, "DROP TABLE IF EXISTS numbers")
    execute(shared_database, "CREATE TABLE numbers (id int PRIMARY KEY)")
    return shared_database


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    """An empty spool."""
    made = Spool(tmp_path, limit_bytes=100_000)
    yield made
    made.close()


@pytest.fixture
def absent() -> Iterator[Database]:
    """A database that does not answer."""
    database = Database("postgresql://user@/name?host=/nowhere")
    yield database
    database.close()


@contextmanager
def log_to(
    database: Database, spool: Spool, health: Health, *, write: Callable[[Cursor, Sequence[int]], list[str]] = write
) -> Iterator[Log]:
    """A durable log, closed at the end."""
    log = Log(
        GroupCommit(database, write, limit=100, budget_s=BUDGET_S),
        Batches(spool.append, limit=100, budget_s=2),
        encode=lambda row: b"%d" % row,
        assumed=lambda row: f"assumed {row}",
        health=health,
    )
    yield log
    log.close()


def stored(database: Database) -> list[int]:
    """What is in the table."""
    return [number for (number,) in query(database, "SELECT id FROM numbers ORDER BY id")]


def spooled(folder: Path) -> list[bytes]:
    """What is in the spool."""
    return [record for path in sorted(folder.glob("*.spool")) for record in read_records(path)]


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """While this lasts, whoever writes waits."""
    with database.engine.connect() as holder, holder.begin():
        holder.execute(sa.text("LOCK numbers IN EXCLUSIVE MODE"))
        yield


def test_a_committed_row_is_in_the_database_and_nowhere_else(numbers: Database, spool: Spool, tmp_path: Path) -> None:
    """In good health nothing is spooled, and results are the writer's."""
    with log_to(numbers, spool, Health()) as log:
        assert log.record([1, 2]) == (["wrote 1", "wrote 2"], "committed")
    assert stored(numbers) == [1, 2]
    assert spooled(tmp_path) == []


def test_an_absent_database_is_found_out_once(absent: Database, spool: Spool, tmp_path: Path) -> None:
    """The first row finds out and is spooled; from then on nobody waits for the database."""
    health = Health()
    with log_to(absent, spool, health) as log:
        assert log.record([1]) == (["assumed 1"], "spooled")
        assert health.away
        started = time.monotonic()
        for row in range(2, 20):
            assert log.record([row]) == ([f"assumed {row}"], "spooled")
        assert time.monotonic() - started < BUDGET_S
    assert spooled(tmp_path) == [b"%d" % row for row in range(1, 20)]


def test_a_late_commit_is_spooled_within_the_budget(numbers: Database, spool: Spool, tmp_path: Path) -> None:
    """Everybody who waits is answered when the budget is over, and their rows are on disk by then."""
    with log_to(numbers, spool, Health()) as log, ThreadPoolExecutor(8) as threads:
        with locked(numbers):
            started = time.monotonic()
            answers = list(threads.map(lambda row: log.record([row]), range(8)))
            assert BUDGET_S * 0.9 < time.monotonic() - started < BUDGET_S + 1.5
        assert answers == [([f"assumed {row}"], "spooled") for row in range(8)]
        assert sorted(spooled(tmp_path)) == [b"%d" % row for row in range(8)]


def test_a_row_at_fault_is_told_and_not_spooled(numbers: Database, spool: Spool, tmp_path: Path) -> None:
    """What the writer refuses is the caller's to hear; it says nothing about the database."""
    health = Health()
    with log_to(numbers, spool, health, write=refuse) as log, pytest.raises(InvalidInput):
        log.record([1])
    assert not health.away
    assert spooled(tmp_path) == []


def test_neither_database_nor_spool_is_a_refusal(absent: Database, tmp_path: Path) -> None:
    """A full spool while the database is away: the caller hears when to try again, and nothing is acknowledged."""
    spool = Spool(tmp_path, limit_bytes=60)
    with log_to(absent, spool, Health()) as log:
        assert log.record([1])[1] == "spooled"
        with pytest.raises(SpoolFull) as refused:
            log.record(list(range(100, 120)))
        assert refused.value.retry_after_s >= 1
        assert isinstance(refused.value, Unavailable)
    assert spooled(tmp_path) == [b"1"]


def test_a_database_that_is_back_is_used_again(numbers: Database, spool: Spool) -> None:
    """As soon as health says so."""
    health = Health()
    health.away = True
    with log_to(numbers, spool, health) as log:
        assert log.record([1])[1] == "spooled"
        health.away = False
        assert log.record([2])[1] == "committed"
    assert stored(numbers) == [2]


def test_queued_rows_are_answered_before_they_arrive(numbers: Database, spool: Spool) -> None:
    """The caller does not wait, though the commit does."""
    with log_to(numbers, spool, Health()) as log:
        with locked(numbers):
            started = time.monotonic()
            assert log.queue([1]) == (["assumed 1"], "queued")
            assert time.monotonic() - started < BUDGET_S / 2
            assert stored(numbers) == []
        until(lambda: stored(numbers) == [1], "the queued row", 5)


def test_an_orderly_end_loses_no_queued_row(numbers: Database, spool: Spool) -> None:
    """Closing waits for what was queued."""
    with log_to(numbers, spool, Health()) as log:
        for row in range(200):
            log.queue([row])
    assert stored(numbers) == list(range(200))


def test_queued_rows_go_to_the_spool_while_the_database_is_away(absent: Database, spool: Spool, tmp_path: Path) -> None:
    """And are there when the log was closed."""
    with log_to(absent, spool, Health()) as log:
        for row in range(20):
            assert log.queue([row])[1] == "queued"
    assert sorted(map(int, spooled(tmp_path))) == list(range(20))


def test_what_comes_after_the_end_is_spooled(numbers: Database, spool: Spool, tmp_path: Path) -> None:
    """A request that a stopping worker is still busy with is kept for its successor."""
    with log_to(numbers, spool, Health()) as log:
        log.record([1])
        log.close()
        assert log.record([2]) == (["assumed 2"], "spooled")
    assert (stored(numbers), spooled(tmp_path)) == ([1], [b"2"])


def test_each_row_is_somewhere_whatever_happens(numbers: Database, spool: Spool, tmp_path: Path) -> None:
    """Connections die again and again under many callers: each acknowledged row is in the database or in the spool."""
    health, stop = Health(), threading.Event()
    kill = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%INSERT INTO numbers%' AND pid <> pg_backend_pid()"""

    def hurt() -> None:
        while not stop.wait(0.02):
            query(numbers, kill)
            health.away = False

    with log_to(numbers, spool, health) as log, ThreadPoolExecutor(9) as threads:
        hurting = threads.submit(hurt)
        answers = list(threads.map(lambda row: log.record([row])[1], range(1500)))
        stop.set()
        hurting.result()
    assert set(stored(numbers)) | set(map(int, spooled(tmp_path))) == set(range(1500))
    assert {row for row, answer in enumerate(answers) if answer == "committed"} <= set(stored(numbers))
