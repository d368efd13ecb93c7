"""The driver's errors become ours in one place, and a pool survives the loss of its connections."""

import time
from collections.abc import Callable

import psycopg2
import pytest
import sqlalchemy as sa
from psycopg2 import errors

from app.errors import ConfigurationError, Unavailable
from app.store.database import Cursor, Database, cursor_of, is_away, is_transient, one_transaction
from tests.app.building import query


def kill(database: Database, name: str = "croupier") -> int:
    """Ends the other connections of a name, as a restart of the database would."""
    text = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = :name AND pid <> pg_backend_pid()"""
    return int(query(database, text, name=name)[0][0])


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_urls_are_read_as_those_of_the_driver(scheme: str) -> None:
    """Each usual spelling of PostgreSQL's scheme names the driver that is installed."""
    database = Database(f"{scheme}://user@/name?host=/nowhere")
    assert database.engine.url.drivername == "postgresql+psycopg2"


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite:///file", "nonsense", "", "postgresql+psycopg://host/x"])
def test_other_databases_are_refused_in_words(url: str) -> None:
    """A URL of another database or driver says what is expected."""
    with pytest.raises(ConfigurationError, match="DATABASE_URL must start with postgresql://"):
        Database(url)


def test_an_absent_server_is_unavailable() -> None:
    """Nothing connects before it must, and then the error is ours."""
    database = Database("postgresql://user@/name?host=/nowhere")
    with pytest.raises(Unavailable):
        database.ping()
    with pytest.raises(Unavailable):
        database.connect_raw(statement_timeout_s=1)


def test_a_transaction_that_raises_leaves_nothing(shared_database: Database) -> None:
    """Commit at the end, roll back on any error, and the error passes."""

    def fail() -> None:
        with shared_database.transaction() as connection:
            connection.execute(sa.text("CREATE TABLE left_over (id int)"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert query(shared_database, "SELECT to_regclass('left_over') IS NULL") == [(True,)]


def test_a_fault_in_a_statement_is_not_unavailable(shared_database: Database) -> None:
    """A wrong statement is a bug and stays what it is."""
    with pytest.raises(sa.exc.ProgrammingError), shared_database.transaction() as connection:
        connection.execute(sa.text("SELECT nonsense"))
    with pytest.raises(errors.UndefinedColumn), shared_database.transaction() as connection:
        cursor_of(connection).execute("SELECT nonsense")


@pytest.mark.parametrize(
    "notice",
    [lambda connection: connection.execute(sa.text("SELECT 1")), lambda c: cursor_of(c).execute("SELECT 1")],
    ids=["sqlalchemy", "driver"],
)
def test_a_connection_lost_in_a_transaction_is_unavailable(
    database: Database, notice: Callable[[sa.Connection], object]
) -> None:
    """Whichever cursor notices that the connection is gone, the error is ours; the next transaction works."""

    def lose() -> None:
        with database.transaction() as connection:
            connection.execute(sa.text("SELECT 1"))
            assert kill(database) == 1
            notice(connection)

    with pytest.raises(Unavailable):
        lose()
    database.ping()


def test_a_lock_that_was_not_had_is_unavailable(shared_database: Database) -> None:
    """Waiting in vain for a lock is a reason to try again, not a bug."""

    def wait() -> None:
        with shared_database.transaction() as connection:
            connection.execute(sa.text("SET LOCAL lock_timeout = '20ms'"))
            connection.execute(sa.text("SELECT * FROM catalogue FOR UPDATE"))

    with shared_database.transaction() as holder:
        holder.execute(sa.text("LOCK catalogue"))
        with pytest.raises(Unavailable):
            wait()


def test_the_pool_replaces_connections_that_died_idle(database: Database) -> None:
    """Connections that a restart of the database ended are not handed out."""
    database.ping()
    assert kill(Database(database.engine.url.render_as_string(hide_password=False), name="killer")) == 1
    database.ping()


def test_a_raw_connection_is_outside_the_pool(database: Database) -> None:
    """It autocommits, keeps its own time limit, and closing it does not hurt the pool."""
    connection = database.connect_raw(statement_timeout_s=0.05)
    assert connection.autocommit
    with connection.cursor() as cursor, pytest.raises(errors.QueryCanceled) as caught:
        cursor.execute("SELECT pg_sleep(5)")
    assert is_away(caught.value)
    connection.close()
    database.ping()
    assert query(database, "SELECT current_setting('statement_timeout')") == [("30s",)]


def test_a_pool_in_use_is_unavailable(database: Database) -> None:
    """When every connection is taken for longer than the pool waits, the error is ours."""
    small = Database(database.engine.url.render_as_string(hide_password=False), pool_size=1)
    with small.transaction(), small.transaction(), pytest.raises(Unavailable, match="in use"):
        small.ping()
    small.close()


def test_a_snapshot_sees_one_moment(shared_database: Database) -> None:
    """What others commit meanwhile is not seen in a snapshot, and is seen without."""
    text = sa.text("SELECT count(*) FROM items")
    insert = sa.text("INSERT INTO items (item_id) VALUES (:id)")
    for snapshot, seen in ((True, 0), (False, 1)):
        with shared_database.transaction(snapshot=snapshot) as reader:
            before = reader.scalar(text) or 0
            with shared_database.transaction() as writer:
                writer.execute(insert, {"id": f"snapshot-{snapshot}"})
            assert (reader.scalar(text) or 0) - before == seen


@pytest.mark.parametrize(
    ("error", "away_transient"),
    [
        (Unavailable(), (True, False)),
        (psycopg2.OperationalError("server closed the connection"), (True, False)),
        (psycopg2.InterfaceError("connection already closed"), (True, False)),
        (psycopg2.ProgrammingError("no results to fetch"), (False, False)),
        (ValueError(), (False, False)),
        (None, (False, False)),
    ],
)
def test_errors_without_a_code_are_told_apart_by_class(
    error: Exception | None, away_transient: tuple[bool, bool]
) -> None:
    """Only errors of the connection say that the database is away."""
    assert (is_away(error), is_transient(error)) == away_transient


@pytest.mark.parametrize(
    ("code", "away_transient"),
    [
        ("57P01", (True, False)),  # terminated by an administrator
        ("57P03", (True, False)),  # starting up
        ("57014", (True, False)),  # statement timeout
        ("53300", (True, False)),  # too many connections
        ("53100", (True, False)),  # disk full
        ("58030", (True, False)),  # input or output error
        ("08006", (True, False)),  # connection failure
        ("40001", (False, True)),  # serialization failure
        ("40P01", (False, True)),  # deadlock
        ("55P03", (False, True)),  # lock not available
        ("23505", (False, False)),  # unique violation
        ("42703", (False, False)),  # undefined column
        ("22P05", (False, False)),  # untranslatable character
    ],
)
def test_errors_of_the_server_are_told_apart_by_code(
    shared_database: Database, code: str, away_transient: tuple[bool, bool]
) -> None:
    """Each SQLSTATE class says whether the database is away, or the same again may succeed, or neither."""
    connection = shared_database.connect_raw(statement_timeout_s=5)
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{code}'; END $$"
    with connection.cursor() as cursor, pytest.raises(psycopg2.Error) as caught:
        cursor.execute(raising)
    connection.close()
    assert (is_away(caught.value), is_transient(caught.value)) == away_transient


def test_statements_of_one_transaction_go_together_or_not_at_all(shared_database: Database) -> None:
    """On a connection in autocommit mode, which goes on working after a failure."""
    connection = shared_database.connect_raw(statement_timeout_s=5)

    def write(cursor: Cursor, number: int) -> None:
        with one_transaction(cursor), one_transaction(cursor):
            cursor.execute("INSERT INTO together VALUES (%s)", (number,))
            cursor.execute("SELECT 1 / %s", (number,))
            assert query(shared_database, "SELECT number FROM together") == []

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE together (number int)")
        with pytest.raises(errors.DivisionByZero):
            write(cursor, 0)
        write(cursor, 2)
    assert query(shared_database, "SELECT number FROM together") == [(2,)]
    connection.close()


def test_one_transaction_inside_another_is_that_one(shared_database: Database) -> None:
    """Who opened the transaction ends it."""

    def write() -> None:
        with shared_database.transaction() as connection:
            with one_transaction(cursor_of(connection)):
                connection.execute(sa.text("CREATE TABLE inside (number int)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert query(shared_database, "SELECT to_regclass('inside')") == [(None,)]


def test_a_transaction_that_is_left_lying_ends_and_its_connection_counts_as_lost(shared_database: Database) -> None:
    """A worker that is frozen between two statements does not keep others waiting for its locks."""
    connection = shared_database.connect_raw(statement_timeout_s=0.2)

    def write_slowly() -> None:
        with connection.cursor() as cursor, one_transaction(cursor):
            cursor.execute("LOCK TABLE catalogue")
            time.sleep(1)
            cursor.execute("SELECT 1")

    with pytest.raises(psycopg2.Error) as caught:
        write_slowly()
    assert is_away(caught.value)
    assert query(shared_database, "SELECT count(*)::int FROM catalogue") == [(1,)]
    connection.close()
