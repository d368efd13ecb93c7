"""Advisory locks that a process holds for as long as its connection lives: PostgreSQL frees those of a dead one."""

from psycopg2 import Error

from app.errors import Unavailable
from app.store.database import Database, DriverConnection

__all__ = ["Lease"]


class Lease:
    """The right to be the only active process of a role."""

    def __init__(self, connection: DriverConnection) -> None:
        self._connection = connection

    @classmethod
    def take(cls, database: Database, lock: int) -> "Lease | None":
        """Takes the lock if nobody holds it.

        Raises:
            Unavailable: the database is away.
        """
        connection = database.connect_raw(statement_timeout_s=5)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (lock,))
            taken = cursor.fetchone() == (True,)
        if not taken:
            connection.close()
        return cls(connection) if taken else None

    def check(self) -> None:
        """Makes sure that the lock is still held.

        Raises:
            Unavailable: the connection, and the lock with it, is lost.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Error as error:
            raise Unavailable("the connection that held the lock is lost") from error

    def release(self) -> None:
        """Gives the lock back."""
        self._connection.close()
