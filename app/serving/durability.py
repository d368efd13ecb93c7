"""What an acknowledgement rests on: a commit in the database, or else a record in the spool."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

from app.errors import Unavailable
from app.serving.health import Health
from app.serving.journal import Batches, GroupCommit

__all__ = ["Durability", "DurableLog"]

log = logging.getLogger(__name__)

Row = TypeVar("Row")
Result = TypeVar("Result")
Durability = Literal["committed", "spooled", "queued"]


class DurableLog(Generic[Row, Result]):
    """Records rows where they survive.

    Args:
        database: where rows belong.
        spool: where they wait while the database does not commit within its budget.
        encode: a row as a record of the spool.
        assumed: the result that a spooled row is answered with.
        health: shared by the logs of a process.
        watch: told of each call: its rows, `time.perf_counter()` when it began, the durability or "failed".
    """

    def __init__(
        self,
        database: GroupCommit[Row, Result],
        spool: Batches[bytes, None],
        *,
        encode: Callable[[Row], bytes],
        assumed: Callable[[Row], Result],
        health: Health,
        watch: Callable[[int, float, str], None] | None = None,
    ) -> None:
        self._database = database
        self._spool = spool
        self._encode = encode
        self._assumed = assumed
        self._health = health
        self._watch = watch
        self._queued: set[threading.Thread] = set()

    def record(self, rows: Sequence[Row]) -> tuple[Sequence[Result], Durability]:
        """Returns the result of each row and what it rests on, once they survive the loss of any process.

        A row whose commit did not come in time goes to the spool, and may be committed too: replaying it then
        changes nothing.

        Raises:
            Unavailable: neither the database nor the spool took them.
        """
        began, outcome = time.perf_counter(), "failed"
        try:
            results, durability = self._record(rows)
            outcome = durability
        finally:
            if self._watch:
                self._watch(len(rows), began, outcome)
        return results, durability

    def queue(self, rows: Sequence[Row]) -> tuple[Sequence[Result], Durability]:
        """Records rows soon, without waiting for it: what a killed process had queued is lost."""
        thread = threading.Thread(target=self._record_queued, args=(rows,), daemon=True)
        self._queued.add(thread)
        thread.start()
        return [self._assumed(row) for row in rows], "queued"

    def close(self) -> None:
        """Records what is queued and open, then stops."""
        for thread in list(self._queued):
            thread.join(5)
        self._database.close()

    def _record(self, rows: Sequence[Row]) -> tuple[Sequence[Result], Durability]:
        if not self._health.away:
            try:
                return self._database.commit(rows), "committed"
            except Unavailable as error:
                if not self._health.away:
                    log.warning("spooling: %s", error)
                self._health.away = True
        self._spool.commit([self._encode(row) for row in rows])
        return [self._assumed(row) for row in rows], "spooled"

    def _record_queued(self, rows: Sequence[Row]) -> None:
        try:
            self.record(rows)
        except Exception:  # nobody waits for it, so the log is the only one to tell
            log.exception("queued rows are lost")
        finally:
            self._queued.discard(threading.current_thread())
