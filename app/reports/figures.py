"""Figures of closed days by arm, as charts and tables show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.reports.timeline import Series
from app.store import metric_values
from app.store.database import Database
from app.store.metric_values import Level, MetricValue
from app.store.timeline import Steps

__all__ = ["DayFigures", "days_by_arm", "newest_day"]

_DAY_S: Final = 86_400
_LEVELS: Final[tuple[Level, ...]] = ("online", "offline")
_MOST: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class DayFigures:
    """One UTC day.

    Attributes:
        start: when it began.
        cutoffs: of lists, that there are figures for.
        values: by level, metric, cut-off (0: the metric has none) and arm ('': all arms together).
    """

    start: datetime
    cutoffs: Sequence[int]
    values: Mapping[tuple[str, str, int, str], MetricValue]

    def of(self, level: Level, metric: str, k: int, arm: str) -> MetricValue | None:
        """A figure at a cut-off, or without one where the metric has none."""
        return self.values.get((level, metric, k, arm)) or self.values.get((level, metric, 0, arm))


def days_by_arm(
    database: Database, key: str, *, level: Level, metric: str, k: int, steps: Steps, arms: Sequence[str]
) -> tuple[list[float], list[Series]]:
    """Times in seconds since 1970, the middle of each day, and an arm's figure of each; None where there is none."""
    with database.transaction() as connection:
        found = metric_values.read(
            connection,
            key,
            since=steps.since - timedelta(days=1),
            until=steps.until,
            levels=[level],
            metrics=[metric],
            window_s=_DAY_S,
            limit=_MOST,
        )
    cells = {(value.arm, value.window_start): value.value for value in found if value.k in (0, k)}
    days = sorted({day for _, day in cells})
    series = [Series(arm=arm, values=[cells.get((arm, day)) for day in days]) for arm in arms]
    return [day.timestamp() + _DAY_S / 2 for day in days], [
        one for one in series if any(v is not None for v in one.values)
    ]


def newest_day(database: Database, key: str) -> DayFigures | None:
    """All figures of the newest day that is worked out; None: none is."""
    with database.transaction(snapshot=True) as connection:
        start = metric_values.last_window(connection, key, "online", _DAY_S)
        if start is None:
            return None
        end = start + timedelta(microseconds=1)
        found = metric_values.read(
            connection, key, since=start, until=end, levels=_LEVELS, window_s=_DAY_S, limit=_MOST
        )
    return DayFigures(
        start=start,
        cutoffs=sorted({value.k for value in found} - {0}),
        values={(value.level, value.metric, value.k, value.arm): value for value in found},
    )
