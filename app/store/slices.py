"""Ids are in the order of time, so the newest rows are looked for in slices of time from the end."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

__all__ = ["ID_MARGIN", "newest_first"]

# A client-made id may be this much older than its decision, or newer: clocks differ.
ID_MARGIN = timedelta(days=1)
# A slice grows while it is read fast: one of a busy service must not keep others waiting, and a quiet year must not
# take 8,760 statements.
_FIRST_SLICE, _LONGEST_SLICE = timedelta(hours=1), timedelta(days=32)
_FAST_S, _SLOW_S = 0.5, 2.0


def newest_first(since: datetime, until: datetime, *, patience_s: float) -> Iterator[tuple[datetime, datetime]]:
    """Slices [start, end) from `until` back to `since`, each read before the next one is asked for.

    Args:
        since: start of the last slice, unless patience ends before.
        until: end of the first slice.
        patience_s: no slice is begun after so long.
    """
    began, end, width = time.monotonic(), until, _FIRST_SLICE
    while end > since and (passed := time.monotonic() - began) < patience_s:
        start = max(since, end - width)
        yield start, end
        width, end = _next_width(width, time.monotonic() - began - passed), start


def _next_width(width: timedelta, took_s: float) -> timedelta:
    if took_s < _FAST_S:
        return min(2 * width, _LONGEST_SLICE)
    return width / 2 if took_s > _SLOW_S else width
