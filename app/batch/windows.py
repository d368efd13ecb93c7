"""Which windows of an experiment are to be worked out: those that are closed, mature and not done yet."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from app.learning import last_mature_bucket
from app.store.experiments import Experiment
from app.store.retention import keep_since

__all__ = ["DAY_S", "WIDTHS_S", "Wanted", "due_windows", "start_of_window"]

DAY_S: Final = 86_400
WIDTHS_S: Final = (3_600, DAY_S)  # hours and days of UTC


class Wanted(Struct, frozen=True, kw_only=True):
    """Which windows are asked for.

    Attributes:
        window_s: their width, one of `WIDTHS_S`.
        since: those that start then or later; None: all.
        until: those that start before; None: all.
        again: also those that are done.
    """

    window_s: int = DAY_S
    since: datetime | None = None
    until: datetime | None = None
    again: bool = False


def start_of_window(moment: datetime, window_s: int) -> datetime:
    """Start of the window that a moment lies in."""
    return datetime.fromtimestamp(int(moment.timestamp()) // window_s * window_s, UTC)


def due_windows(
    experiment: Experiment,
    wanted: Wanted,
    *,
    now: datetime,
    logged_since: datetime | None,
    done: Collection[datetime],
) -> list[datetime]:
    """Starts of the windows to work out, the oldest first.

    A window is closed and mature when its last exposure's attribution window is over, as far as exposures count with
    the decision. Windows whose log is not kept whole any more stay as they are.

    Args:
        experiment: one that has not begun has no windows; one that is stopped has none after its last change.
        wanted: which of them.
        now: what is mature is judged by it.
        logged_since: since when the log is kept; None: there is no log.
        done: starts of the windows that are done.
    """
    if logged_since is None or experiment.state == "draft":
        return []
    width = timedelta(seconds=wanted.window_s)
    start = start_of_window(experiment.created_at, wanted.window_s)
    while start < max(_kept_since(experiment, now, logged_since), wanted.since or logged_since):
        start += width
    end = last_mature_bucket(experiment.specification, now)
    last = [end - width, *([experiment.updated_at] if experiment.state == "stopped" else [])]
    found = []
    while start <= min(last) and (wanted.until is None or start < wanted.until):
        if wanted.again or start not in done:
            found.append(start)
        start += width
    return found


def _kept_since(experiment: Experiment, now: datetime, logged_since: datetime) -> datetime:
    days = experiment.specification.retention_days
    return logged_since if days is None else max(logged_since, keep_since(now, days))
