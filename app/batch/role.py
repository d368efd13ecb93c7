"""The part of the monitor that works out windows once they are over. One is active, others stand by."""

import threading
from datetime import UTC, datetime
from typing import Final

from app.batch.gauges import Gauges
from app.batch.run import BatchOptions, Interrupted, WorkedOut, batch
from app.roles import run_as_only_one
from app.store.database import Database
from monitoring.instruments import BATCH_PASS
from monitoring.meter import Meter

__all__ = ["run"]

_BATCH_LOCK: Final = 0x6261746368


def run(database: Database, *, interval_s: float, stop: threading.Event, meter: Meter) -> None:
    """Works out days that are over until `stop` is set."""
    gauges = Gauges(database, meter)

    def work() -> None:
        try:
            with meter.timing(BATCH_PASS):
                batch(database, BatchOptions(), _Patience(stop), datetime.now(UTC))
        except Interrupted:
            return
        gauges.note()

    run_as_only_one(database, _BATCH_LOCK, work, interval_s=interval_s, stop=stop)


class _Patience:
    """A watch that ends the batch when the process is to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def begin(self, windows: int) -> None:
        """Nothing to do."""

    def read(self, decisions: int) -> None:  # noqa: ARG002 - whatever was read
        """Looks whether it is to stop."""
        if self._stop.is_set():
            raise Interrupted

    def finish(self, done: WorkedOut) -> None:
        """Looks again: a quiet window is read in no time."""
        self.read(done.decisions)
