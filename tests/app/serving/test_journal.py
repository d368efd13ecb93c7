"""Group commit against a real database: shared batches, poison, lost connections, expired budgets, an orderly end."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg2
import pytest
import sqlalchemy as sa

from app.errors import Unavailable
from app.serving.journal import GroupCommit
from app.store.database import Cursor, Database
from tests.app.building import execute, query
from tests.running import until

Journal = GroupCommit[int, str]
LONG_S = 20.0


class Ledger:
    """Writes numbers into a table, once each; what it returns for a number names it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.before: Callable[[Cursor], None] = lambda _: None
        self.after: Callable[[Cursor], None] = lambda _: None

    def write(self, cursor: Cursor, rows: Sequence[int]) -> list[str]:
        """Inserts the rows in one statement; a negative one is poison."""
        self.batches.append(list(rows))
        self.before(cursor)
        insert = "INSERT INTO ledger SELECT unnest(%s::int[]) ON CONFLICT DO NOTHING"
        cursor.execute(insert, (list(rows),))
        self.after(cursor)
        return [f"wrote {row}" for row in rows]


@pytest.fixture
def ledger(shared_database: Database) -> Ledger:
    """A writer with an empty table."""
    execute(shared_database, "DROP TABLE IF EXISTS ledger")
    execute(shared_database, "CREATE TABLE ledger (id int PRIMARY KEY CHECK (id >= 0))")
    return Ledger()


@contextmanager
def journal_of(database: Database, ledger: Ledger, *, limit: int = 1000, budget_s: float = LONG_S) -> Iterator[Journal]:
    """A journal, closed at the end."""
    journal = Journal(database, ledger.write, limit=limit, budget_s=budget_s)
    yield journal
    journal.close()


@pytest.fixture
def journal(shared_database: Database, ledger: Ledger) -> Iterator[Journal]:
    """A journal with time enough."""
    with journal_of(shared_database, ledger) as made:
        yield made


@contextmanager
def table_locked(database: Database) -> Iterator[None]:
    """While this lasts, whoever writes the ledger waits."""
    with database.engine.connect() as holder, holder.begin():
        holder.execute(sa.text("LOCK ledger IN EXCLUSIVE MODE"))
        yield


@contextmanager
def pool_of(callers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that stand for requests."""
    with ThreadPoolExecutor(callers) as pool:
        yield pool


def stored(database: Database) -> list[int]:
    """What is in the table."""
    return [number for (number,) in query(database, "SELECT id FROM ledger ORDER BY id")]


def test_results_are_in_the_order_of_the_rows(shared_database: Database, journal: Journal) -> None:
    """Each row has its result, and when `commit` returns the rows are committed."""
    assert journal.commit([3, 1, 2]) == ["wrote 3", "wrote 1", "wrote 2"]
    assert stored(shared_database) == [1, 2, 3]


def test_no_rows_have_no_results(journal: Journal) -> None:
    """An empty submission is answered."""
    assert journal.commit([]) == []


def test_concurrent_callers_share_batches_and_each_gets_its_own_results(
    shared_database: Database, journal: Journal, ledger: Ledger
) -> None:
    """What comes in while one batch is being committed goes into one next batch; nobody gets another's result."""
    with pool_of(40) as pool, table_locked(shared_database):
        first = pool.submit(journal.commit, [1000])
        until(lambda: ledger.batches, "the first batch")
        others = [pool.submit(journal.commit, [2 * n, 2 * n + 1]) for n in range(30)]
        until(lambda: len(journal._open) == 30, "the other callers")
    assert first.result() == ["wrote 1000"]
    assert [f.result() for f in others] == [[f"wrote {2 * n}", f"wrote {2 * n + 1}"] for n in range(30)]
    assert [len(batch) for batch in ledger.batches] == [1, 60]
    assert stored(shared_database) == [*range(60), 1000]


def test_many_callers_lose_nothing(shared_database: Database, journal: Journal, ledger: Ledger) -> None:
    """A thousand submissions of sixteen callers are all answered and all stored, in fewer batches."""

    def call(caller: int) -> None:
        for n in range(60):
            row = caller * 60 + n
            assert journal.commit([row]) == [f"wrote {row}"]

    with pool_of(16) as pool:
        list(pool.map(call, range(16)))
    assert stored(shared_database) == list(range(960))
    assert len(ledger.batches) < 960


def test_a_batch_holds_no_more_than_the_limit(shared_database: Database, ledger: Ledger) -> None:
    """Submissions beyond the limit wait for the next batch, in their order."""
    with journal_of(shared_database, ledger, limit=5) as journal, pool_of(20) as pool:
        with table_locked(shared_database):
            futures = [pool.submit(journal.commit, [100])]
            until(lambda: ledger.batches, "the first batch")
            for n in range(6):
                futures.append(pool.submit(journal.commit, [2 * n, 2 * n + 1]))
                until(lambda n=n: len(journal._open) == n + 1, "the submission")  # type: ignore[misc]
        for future in futures:
            future.result()
    assert ledger.batches == [[100], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_submission_larger_than_the_limit_is_one_batch(shared_database: Database, ledger: Ledger) -> None:
    """One caller's rows are never split, however many they are."""
    with journal_of(shared_database, ledger, limit=10) as journal:
        rows = list(range(5000))
        assert journal.commit(rows) == [f"wrote {row}" for row in rows]
    assert ledger.batches == [rows]
    assert stored(shared_database) == rows


def test_a_poisoned_row_fails_alone(shared_database: Database, journal: Journal, ledger: Ledger) -> None:
    """Of callers in one batch, only the one whose row cannot be written gets the error."""
    with pool_of(10) as pool, table_locked(shared_database):
        first = pool.submit(journal.commit, [100])
        until(lambda: ledger.batches, "the first batch")
        futures = {row: pool.submit(journal.commit, [row]) for row in (1, -2, 3, 4, 5)}
        until(lambda: len(journal._open) == 5, "the other callers")
    assert first.result() == ["wrote 100"]
    with pytest.raises(psycopg2.errors.CheckViolation):
        futures[-2].result()
    assert [futures[row].result() for row in (1, 3, 4, 5)] == [[f"wrote {row}"] for row in (1, 3, 4, 5)]
    assert stored(shared_database) == [1, 3, 4, 5, 100]
    assert journal.commit([6]) == ["wrote 6"]


def test_one_submission_is_written_whole_or_not_at_all(shared_database: Database, journal: Journal) -> None:
    """The rows of a caller whose batch holds poison are not half written."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        journal.commit([1, 2, -3])
    assert stored(shared_database) == []


def test_a_writers_own_error_reaches_its_caller(journal: Journal, ledger: Ledger) -> None:
    """Whatever the writing raises is the caller's, and the journal goes on."""

    def fail(_: Cursor) -> None:
        raise LookupError("nothing of that name")

    ledger.before = fail
    with pytest.raises(LookupError, match="of that name"):
        journal.commit([1])
    ledger.before = lambda _: None
    assert journal.commit([1]) == ["wrote 1"]


def kill_own_connection(database: Database, cursor: Cursor) -> None:
    """Ends the connection of a cursor from outside, as a restart of the database would."""
    pid = cursor.connection.info.backend_pid
    assert query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid) == [(True,)]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_whose_connection_breaks_is_written_again(
    shared_database: Database, journal: Journal, ledger: Ledger, moment: str
) -> None:
    """Whether the connection broke before or after the commit, every row is there once and every caller answered."""

    def once(cursor: Cursor) -> None:
        ledger.before = ledger.after = lambda _: None
        kill_own_connection(shared_database, cursor)
        if moment == "after":
            cursor.execute("SELECT 1")

    assert journal.commit([0]) == ["wrote 0"]
    setattr(ledger, moment, once)
    assert journal.commit([1, 2]) == ["wrote 1", "wrote 2"]
    assert ledger.batches == [[0], [1, 2], [1, 2]]
    assert stored(shared_database) == [0, 1, 2]


def test_a_connection_that_died_idle_costs_nobody_an_error(shared_database: Database, journal: Journal) -> None:
    """Restarts of the database between two requests are not noticed by either."""
    journal.commit([1])
    assert journal._connection is not None
    pid = journal._connection.info.backend_pid
    assert query(shared_database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid) == [(True,)]
    assert journal.commit([2]) == ["wrote 2"]
    assert stored(shared_database) == [1, 2]


def test_callers_during_repeated_losses_get_an_answer_or_unavailable(
    shared_database: Database, journal: Journal
) -> None:
    """Under connections that break all the time, what was acknowledged is stored, and nothing hangs."""
    acknowledged: list[int] = []
    stop = threading.Event()

    def call(caller: int) -> None:
        for n in range(40):
            row = caller * 40 + n
            try:
                journal.commit([row])
            except Unavailable:
                continue
            acknowledged.append(row)

    def hurt() -> None:
        while not stop.wait(0.02):
            connection = journal._connection
            if connection is not None and not connection.closed:
                pid = connection.info.backend_pid
                query(shared_database, "SELECT pg_terminate_backend(:pid)", pid=pid)

    saboteur = threading.Thread(target=hurt)
    saboteur.start()
    with pool_of(8) as pool:
        list(pool.map(call, range(8)))
    stop.set()
    saboteur.join()
    assert acknowledged
    assert set(acknowledged) <= set(stored(shared_database))


def test_a_caller_whose_budget_expires_gets_unavailable_and_its_unsent_rows_are_never_written(
    shared_database: Database, ledger: Ledger
) -> None:
    """Rows that had not been sent when their caller gave up are dropped; those of others are written."""
    with journal_of(shared_database, ledger, budget_s=0.4) as journal, pool_of(10) as pool:
        with table_locked(shared_database):
            sent = pool.submit(journal.commit, [1])
            until(lambda: ledger.batches, "the first batch")
            unsent = [pool.submit(journal.commit, [n]) for n in (2, 3)]
            for future in [sent, *unsent]:
                with pytest.raises(Unavailable):
                    future.result()
        until(lambda: _answered(journal.commit, [4]), "the journal to go on")
    assert {2, 3}.isdisjoint(stored(shared_database))
    assert {2, 3}.isdisjoint({row for batch in ledger.batches for row in batch})
    assert 4 in stored(shared_database)


def _answered(commit: Callable[[Sequence[int]], Sequence[str]], rows: list[int]) -> bool:
    try:
        return bool(commit(rows))
    except Unavailable:
        return False


def test_an_absent_database_is_unavailable_at_once() -> None:
    """Without a database every caller gets an answer within its budget, and says it may try again."""
    database = Database("postgresql://user@/name?host=/nowhere")
    with journal_of(database, Ledger(), budget_s=5) as journal, pytest.raises(Unavailable, match="retry") as caught:
        journal.commit([1])
    assert caught.value.retry_after_s >= 1


def test_a_deadlock_is_tried_again(journal: Journal, ledger: Ledger) -> None:
    """A batch that PostgreSQL chose as a deadlock's victim is written a second time, and nobody notices."""

    def once(cursor: Cursor) -> None:
        ledger.before = lambda _: None
        cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'victim' USING ERRCODE = '40P01'; END $$")

    ledger.before = once
    assert journal.commit([1]) == ["wrote 1"]
    assert ledger.batches == [[1], [1]]


def test_a_row_that_is_always_a_victim_is_unavailable(journal: Journal, ledger: Ledger) -> None:
    """After two attempts the caller is told to try again later."""

    def always(cursor: Cursor) -> None:
        cursor.execute("DO $$ BEGIN RAISE EXCEPTION 'victim' USING ERRCODE = '40P01'; END $$")

    ledger.before = always
    with pytest.raises(Unavailable):
        journal.commit([1])
    assert len(ledger.batches) == 2


def test_closing_commits_what_is_open(shared_database: Database, ledger: Ledger) -> None:
    """Callers that were waiting when the service began to stop are answered, and their rows are stored."""
    journal = Journal(shared_database, ledger.write, limit=2, budget_s=LONG_S)
    futures: list[Future[Sequence[str]]] = []
    with pool_of(12) as pool:
        with table_locked(shared_database):
            futures.append(pool.submit(journal.commit, [0]))
            until(lambda: ledger.batches, "the first batch")
            futures += [pool.submit(journal.commit, [n]) for n in range(1, 8)]
            until(lambda: len(journal._open) == 7, "the other callers")
            closing = pool.submit(journal.close)
            until(lambda: journal._closed, "the end to begin")
        closing.result()
        assert [future.result() for future in futures] == [[f"wrote {n}"] for n in range(8)]
    assert stored(shared_database) == list(range(8))


def test_after_closing_nothing_is_taken(shared_database: Database, ledger: Ledger) -> None:
    """A late caller is told that the service is stopping, whether or not anything was ever written."""
    for write_first in (True, False):
        journal = Journal(shared_database, ledger.write, limit=10, budget_s=LONG_S)
        if write_first:
            journal.commit([1])
        journal.close()
        journal.close()
        with pytest.raises(Unavailable, match="shutting down"):
            journal.commit([2])
    assert stored(shared_database) == [1]


def test_closing_gives_the_connection_back(shared_database: Database, ledger: Ledger) -> None:
    """A closed journal holds no connection and no thread."""
    journal = Journal(shared_database, ledger.write, limit=10, budget_s=LONG_S)
    journal.commit([1])
    connection = journal._connection
    assert connection is not None
    journal.close()
    assert connection.closed
    assert journal._writer is not None
    assert not journal._writer.is_alive()
