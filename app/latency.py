"""Counts how long decisions took, so that alerts can tell when too many are slow."""

from datetime import datetime, timedelta

from app.store import latencies
from app.store.database import Database
from app.store.latencies import LAG, MINUTE

__all__ = ["LatencyCount"]

# After a longer absence of whoever counts, the minutes before are left out.
_LONGEST_ABSENCE = timedelta(hours=1)
# Minutes of one pass, each a transaction of its own: housekeeping goes on in between.
_AT_ONCE = 10


class LatencyCount:
    """Goes through the log of decisions minute by minute, and goes on where its predecessor ended."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next: datetime | None = None  # start of the first minute that is not counted

    def go_on(self, now: datetime) -> int:
        """Counts minutes that are over; returns how many decisions they had.

        Raises:
            Unavailable: the database is away.
        """
        counted = 0
        minute = self._next or self._first(now)
        for _ in range(_AT_ONCE):
            if minute > now - LAG:
                break
            with self._database.transaction() as connection:
                counted += latencies.count_minute(connection, minute)
            minute += MINUTE
            self._next = minute
        return counted

    def _first(self, now: datetime) -> datetime:
        oldest = (now - _LONGEST_ABSENCE).replace(second=0, microsecond=0)
        with self._database.transaction() as connection:
            last = latencies.last_minute(connection, oldest)
        return oldest if last is None else last + MINUTE
