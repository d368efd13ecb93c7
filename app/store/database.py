"""The database: one engine a process, transactions, and the one place where driver errors become ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import psycopg2
import psycopg2.extensions
import sqlalchemy as sa
from psycopg2.extensions import TRANSACTION_STATUS_IDLE
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the same
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.errors import ConfigurationError, Unavailable
from app.store.timing import note_operations
from monitoring.meter import Meter

__all__ = [
    "Connection",
    "Cursor",
    "Database",
    "DriverConnection",
    "cursor_of",
    "execute_prepared",
    "is_away",
    "is_transient",
    "one_transaction",
    "translate_driver_errors",
]

# SQLSTATE classes that say "the database is not well", not "the statement is wrong": connection, resources,
# operator intervention (shutdown, cancelled), system; and a transaction that its client left lying.
_AWAY = ("08", "53", "57", "58", "25P03")
# Serialization failure, deadlock, lock not available.
_TRANSIENT = ("40001", "40P01", "55P03")


class DriverConnection(psycopg2.extensions.connection):
    """A connection of the driver that knows which statements it has prepared."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the driver's signature
        super().__init__(*arguments, **options)
        self.prepared: set[str] = set()


class Database:
    """A pool of connections to PostgreSQL and the transactions on them.

    The engine connects lazily, so that a web worker starts, and says so on /readyz, while the database is away.

    Args:
        url: PostgreSQL.
        name: of the connections, for who looks at the server.
        pool_size: connections that are kept; twice as many are opened when they are needed.
        meter: is told how long the pool's statements take; None: nobody is.
    """

    def __init__(self, url: str, *, name: str = "croupier", pool_size: int = 5, meter: Meter | None = None) -> None:
        self._engine = sa.create_engine(
            _with_driver(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=2,
            # A connection that died while the database restarted is replaced, not handed out.
            pool_pre_ping=True,
            connect_args={
                "connection_factory": DriverConnection,
                "application_name": name,
                "connect_timeout": 2,
                # A peer that vanished is noticed in seconds, not in the kernel's two hours.
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                # jit=off: our statements are short, compiling them costs more than running them. A statement or a
                # lock that takes longer than this is a fault, and must not hold up the pool.
                "options": "-c timezone=UTC -c jit=off -c statement_timeout=30s -c lock_timeout=10s",
            },
        )
        if meter is not None:
            note_operations(self._engine, meter)

    @property
    def engine(self) -> sa.Engine:
        """The engine, for Alembic and for tests."""
        return self._engine

    @contextmanager
    def transaction(self, *, snapshot: bool = False) -> Iterator[sa.Connection]:
        """One transaction; commits when the block ends, rolls back when it raises.

        With `snapshot` all its reads see one moment (REPEATABLE READ).

        Raises:
            Unavailable: the database is away.
        """
        with translate_driver_errors(), self._engine.connect() as connection:
            if snapshot:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
            with connection.begin():
                yield connection

    @contextmanager
    def autocommit(self) -> Iterator[sa.Connection]:
        """A connection whose every statement is a transaction of its own, for what cannot run inside one.

        Raises:
            Unavailable: the database is away.
        """
        with translate_driver_errors(), self._engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def ping(self) -> None:
        """Asks the database for a sign of life.

        Raises:
            Unavailable: there is none.
        """
        with self.transaction() as connection:
            connection.execute(sa.text("SELECT 1"))

    def connect_raw(self, *, statement_timeout_s: float) -> DriverConnection:
        """A connection of the driver's own, in autocommit mode, for the journal's single statements.

        It is the caller's: it does not go back to the pool.

        Raises:
            Unavailable: the database is away.
        """
        with translate_driver_errors():
            pooled = self._engine.raw_connection()
        connection: DriverConnection = pooled.driver_connection  # type: ignore[assignment]
        pooled.detach()
        connection.autocommit = True
        with connection.cursor() as cursor:
            patience = f"{statement_timeout_s * 1000:.0f}ms"
            cursor.execute("SET statement_timeout = %s", (patience,))
            # A process that is frozen in the middle of a transaction must not keep its locks.
            cursor.execute("SET idle_in_transaction_session_timeout = %s", (patience,))
            # How many rows a JSON parameter holds the planner can only guess. It guesses few, and would then join 1,000
            # events with 1,000 outcomes by comparing each with each: 98 ms instead of 12.
            cursor.execute("SET enable_nestloop = off")
        return connection

    def close(self) -> None:
        """Closes the pool's idle connections."""
        self._engine.dispose()


def execute_prepared(cursor: Cursor, name: str, types: str, statement: str, values: Sequence[object]) -> None:
    """Executes a statement that its connection prepares the first time and remembers.

    Parsing and planning our long statements takes PostgreSQL longer than running them for one row.

    Args:
        cursor: of a connection of `Database`.
        name: of the statement, the same for the same text.
        types: of its parameters, as "json, int".
        statement: with $1, $2 … for the parameters.
        values: the parameters.
    """
    connection = cast("DriverConnection", cursor.connection)
    if name not in connection.prepared:
        cursor.execute(f"PREPARE {name} ({types}) AS {statement}")
        connection.prepared.add(name)
    cursor.execute(f"EXECUTE {name} ({', '.join(['%s'] * len(values))})", values)


@contextmanager
def one_transaction(cursor: Cursor) -> Iterator[None]:
    """Makes the statements of the block one transaction on a connection in autocommit mode; in a transaction they are.

    They go together or not at all; locks are held until the end of the block.
    """
    if not cursor.connection.autocommit or cursor.connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
        yield
        return
    cursor.execute("BEGIN")
    try:
        yield
    except BaseException:
        if not cursor.connection.closed:
            cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")


def cursor_of(connection: Connection) -> Cursor:
    """A cursor of the driver's own, in the transaction of `connection`."""
    cursor: Cursor = connection.connection.cursor()  # type: ignore[assignment]
    return cursor


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Turns "the database is away" in the driver's words into `Unavailable`; other errors are bugs and pass."""
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable("Every database connection is in use; try again") from error
    except DBAPIError as error:
        if is_away(error.orig) or is_transient(error.orig):
            raise Unavailable("The database is away; try again") from error
        raise
    except psycopg2.Error as error:  # from a cursor of the driver's own
        if is_away(error) or is_transient(error):
            raise Unavailable("The database is away; try again") from error
        raise


def is_away(error: BaseException | None) -> bool:
    """Whether an error says that the database or the connection to it is gone."""
    if isinstance(error, Unavailable):
        return True
    if not isinstance(error, psycopg2.Error):
        return False
    if error.pgcode:
        return error.pgcode.startswith(_AWAY)
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)


def is_transient(error: BaseException | None) -> bool:
    """Whether the same statement may well succeed when it is run again: a deadlock or a lock that was not had."""
    return isinstance(error, psycopg2.Error) and error.pgcode in _TRANSIENT


def _with_driver(url: str) -> str:
    """Names the driver: SQLAlchemy 2.1 reads a bare `postgresql://` as psycopg 3."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise ConfigurationError(f"DATABASE_URL must start with postgresql://, not {scheme!r}")
    return f"postgresql+psycopg2://{rest}"
