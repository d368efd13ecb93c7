"""Group commit: requests in flight share one transaction, and each is answered after it has committed.

There is no timer. While one batch is being committed the next one fills; an idle service commits at once, a busy
one in batches as large as the commits are slow.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from app.errors import Unavailable
from app.store.database import Cursor, Database, DriverConnection, is_away, is_transient

__all__ = ["Batches", "GroupCommit"]

Row = TypeVar("Row")
Result = TypeVar("Result")


class _Submission(Generic[Row, Result]):
    """The rows of one caller, and where it finds their results."""

    __slots__ = ("done", "error", "results", "rows", "taken")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.results: Sequence[Result] = ()
        self.error: Exception | None = None
        self.taken = threading.Lock()  # whoever gets it decides: the writer writes the rows, or the caller gives up
        self.done = threading.Lock()  # free once there are results or an error
        self.done.acquire()

    def settle(self, results: Sequence[Result] = (), error: Exception | None = None) -> None:
        self.results, self.error = results, error
        self.done.release()


class Batches(Generic[Row, Result]):
    """Gathers the rows of concurrent callers and writes them together, in one thread.

    Args:
        write: writes rows, all or none, and returns the result of each, in order.
        limit: most rows in one batch; one caller's rows are never split.
        budget_s: how long a caller waits, seconds.
        watch: told of each batch: its rows, "committed" or "failed", seconds.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Row]], Sequence[Result]],
        *,
        limit: int,
        budget_s: float,
        watch: Callable[[int, str, float], None] | None = None,
    ) -> None:
        self._write_rows = write
        self._watch = watch
        self._limit = limit
        self._budget_s = budget_s
        self._open: deque[_Submission[Row, Result]] = deque()
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._writer: threading.Thread | None = None
        self._closed = False

    def commit(self, rows: Sequence[Row]) -> Sequence[Result]:
        """Returns the result of each row once all are written.

        Raises:
            Unavailable: they were not written within the budget. Rows that had not been sent by then never will be;
                whether those in flight were written is not known.
        """
        submission = _Submission[Row, Result](rows)
        if self._closed:
            raise Unavailable("The service is shutting down; try again")
        if self._writer is None:
            self._start_writer()
        self._open.append(submission)
        self._wake.set()
        if not submission.done.acquire(timeout=self._budget_s):
            submission.taken.acquire(blocking=False)
            raise Unavailable("The database did not commit in time; retry with the same ids")
        if submission.error is not None:
            raise submission.error
        return submission.results

    def close(self) -> None:
        """Writes what is open, then stops."""
        self._closed = True
        self._wake.set()
        if self._writer:
            self._writer.join(self._budget_s)

    def _start_writer(self) -> None:
        """Starts the writer with the first row: a server that forks must not fork it."""
        with self._starting:
            if self._writer is None:
                writer = threading.Thread(target=self._run, name="journal", daemon=True)
                writer.start()
                self._writer = writer

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while batch := self._next_batch():
            self._settle(batch)

    def _next_batch(self) -> list[_Submission[Row, Result]]:
        """Takes as many open submissions as fit, less those that were given up."""
        batch: list[_Submission[Row, Result]] = []
        size = 0
        while self._open and (not batch or size + len(self._open[0].rows) <= self._limit):
            submission = self._open.popleft()
            if submission.taken.acquire(blocking=False):
                batch.append(submission)
                size += len(submission.rows)
        return batch

    def _settle(self, batch: list[_Submission[Row, Result]]) -> None:
        """Writes a batch and gives every caller its results. A row that cannot be written fails alone."""
        try:
            results = self._write_watched([row for submission in batch for row in submission.rows])
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the callers, not to this loop
            self._settle_failure(batch, error)
            return
        start = 0
        for submission in batch:
            end = start + len(submission.rows)
            submission.settle(results[start:end])
            start = end

    def _write_watched(self, rows: Sequence[Row]) -> Sequence[Result]:
        began, outcome = time.perf_counter(), "failed"
        try:
            results = self._write_rows(rows)
            outcome = "committed"
        finally:
            if self._watch:
                self._watch(len(rows), outcome, time.perf_counter() - began)
        return results

    def _settle_failure(self, batch: list[_Submission[Row, Result]], error: Exception) -> None:
        if len(batch) > 1 and not isinstance(error, Unavailable):
            for submission in batch:
                self._settle([submission])
        else:
            for submission in batch:
                submission.settle(error=error)


class GroupCommit(Batches[Row, Result]):
    """Batches that one transaction each commits.

    Writing must be idempotent: after a lost connection nobody knows whether the batch was committed, so it is
    written again.

    Args:
        database: where to write.
        write: writes rows, in one transaction, and returns the result of each, in order.
        limit: most rows in one batch; one caller's rows are never split.
        budget_s: how long a caller, and a statement, may take, seconds.
        watch: told of each batch, as above.
    """

    def __init__(
        self,
        database: Database,
        write: Callable[[Cursor, Sequence[Row]], Sequence[Result]],
        *,
        limit: int,
        budget_s: float,
        watch: Callable[[int, str, float], None] | None = None,
    ) -> None:
        super().__init__(self._write_again_if_lost, limit=limit, budget_s=budget_s, watch=watch)
        self._database = database
        self._write = write
        self._connection: DriverConnection | None = None

    def close(self) -> None:
        """Commits what is open, then stops and lets go of the connection."""
        super().close()
        self._disconnect()

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
