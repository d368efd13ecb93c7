"""Group commit: requests in flight share one transaction, and each is answered after it has committed.

There is no timer. While one batch is being committed the next one fills: an idle service commits at once, a busy
one in batches as large as the commits are slow.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from app.errors import Unavailable
from app.store.database import Cursor, Database, DriverConnection, is_away, is_transient

__all__ = ["GroupCommit"]

Row = TypeVar("Row")
Result = TypeVar("Result")


class _Submission(Generic[Row, Result]):
    """The rows of one request, and the promise of their results."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.future: Future[Sequence[Result]] = Future()


class GroupCommit(Generic[Row, Result]):
    """Commits the rows of concurrent callers together.

    Writing must be idempotent: after a lost connection nobody knows whether the batch was committed, so it is
    written again.

    Args:
        database: where to write.
        write: writes rows, in one transaction, and returns the result of each, in order.
        limit: most rows in one batch; one caller's rows are never split.
        budget_s: how long a caller waits for its commit, seconds.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Cursor, Sequence[Row]], Sequence[Result]],
        *,
        limit: int,
        budget_s: float,
    ) -> None:
        self._database = database
        self._write = write
        self._limit = limit
        self._budget_s = budget_s
        self._open: list[_Submission[Row, Result]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._writer: threading.Thread | None = None
        self._connection: DriverConnection | None = None

    def commit(self, rows: Sequence[Row]) -> Sequence[Result]:
        """Returns the result of each row once all are committed.

        Raises:
            Unavailable: they were not committed within the budget. Rows that had not been sent to the database by
                then never will be; whether those in flight were committed is not known.
        """
        submission = _Submission[Row, Result](rows)
        with self._changed:
            if self._closed:
                raise Unavailable("The service is shutting down; try again")
            self._open.append(submission)
            self._start_writer()
            self._changed.notify()
        try:
            return submission.future.result(timeout=self._budget_s)
        except TimeoutError:
            submission.future.cancel()
            raise Unavailable("The database did not commit in time; retry with the same ids") from None

    def close(self) -> None:
        """Commits what is open, then stops."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._writer:
            self._writer.join(self._budget_s)

    def _start_writer(self) -> None:
        """Starts the writer with the first row: a server that forks must not fork it."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="journal", daemon=True)
            self._writer.start()

    def _run(self) -> None:
        while batch := self._next_batch():
            alive = [submission for submission in batch if submission.future.set_running_or_notify_cancel()]
            if alive:
                self._settle(alive)
        self._disconnect()

    def _next_batch(self) -> list[_Submission[Row, Result]]:
        """Waits for rows and takes as many as fit; empty when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._open or self._closed)
            size, taken = 0, 0
            for submission in self._open:
                size += len(submission.rows)
                if taken and size > self._limit:
                    break
                taken += 1
            batch, self._open = self._open[:taken], self._open[taken:]
            return batch

    def _settle(self, batch: list[_Submission[Row, Result]]) -> None:
        """Writes a batch and gives every caller its results. A row that cannot be written fails alone."""
        try:
            results = self._write_again_if_lost([row for submission in batch for row in submission.rows])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers, not to this loop
            if len(batch) > 1 and not isinstance(error, Unavailable):
                for submission in batch:
                    self._settle([submission])
            else:
                for submission in batch:
                    submission.future.set_exception(error)
            return
        start = 0
        for submission in batch:
            end = start + len(submission.rows)
            submission.future.set_result(results[start:end])
            start = end

    def _write_again_if_lost(self, rows: Sequence[Row]) -> Sequence[Result]:
        """Writes rows, a second time when the connection was lost or a deadlock was broken meanwhile."""
        try:
            return self._write_once(rows)
        except Exception as error:
            if not (is_away(error) or is_transient(error)):
                raise
        try:
            return self._write_once(rows)
        except Exception as error:
            if is_away(error) or is_transient(error):
                raise Unavailable("The database is away; retry with the same ids") from error
            raise

    def _write_once(self, rows: Sequence[Row]) -> Sequence[Result]:
        if self._connection is None:
            self._connection = self._database.connect_raw(statement_timeout_s=self._budget_s)
        try:
            with self._connection.cursor() as cursor:
                return self._write(cursor, rows)
        except Exception as error:
            if is_away(error):
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
