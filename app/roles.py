"""Roles of which only one process is active: the others stand by, and one takes over when it is gone."""

import logging
import threading
from collections.abc import Callable

from app.errors import Unavailable
from app.store.database import Database
from app.store.leases import Lease

__all__ = ["run_as_only_one"]

log = logging.getLogger(__name__)


def run_as_only_one(
    database: Database, lock: int, work: Callable[[], object], *, interval_s: float, stop: threading.Event
) -> None:
    """Calls `work` every `interval_s` seconds while this process holds `lock`, until `stop` is set.

    An absent database is waited for. Two processes can work at once for a moment, when a connection breaks without
    either end noticing; so `work` must be safe against itself, and the lock only saves doing it twice.
    """
    lease: Lease | None = None
    while not stop.is_set():
        try:
            if lease is None:
                lease = Lease.take(database, lock)
                if lease:
                    log.info("active")
            if lease:
                lease.check()
                work()
        except Unavailable as error:
            log.warning("waiting for the database: %s", error)
            if lease:
                lease.release()
            lease = None
        except Exception:  # a fault in one pass must not end the role; the log shows it and the next pass tries again
            log.exception("a pass failed")
        stop.wait(interval_s)
    if lease:
        lease.release()
