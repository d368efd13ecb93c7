"""Streams of decisions in virtual time, window by window."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from app.data_watch.role import watch_all
from app.data_watch.windows import Widths
from app.store.database import Database
from app.store.decisions import DecisionRow
from monitoring.meter import Meter
from tests.app.building import decision, query, record

WINDOW = timedelta(minutes=10)
WIDTHS = Widths(window_s=600, reference_s=14_400)
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)  # partitions exist around today

Context = Callable[[np.random.Generator, int], Sequence[dict[str, Any]]]


def at(window: int) -> datetime:
    """Start of a window, by its number from the day's first."""
    return START + window * WINDOW


def rows_of(
    rng: np.random.Generator, window: int, contexts: Iterable[dict[str, Any]], **columns: Any
) -> list[DecisionRow]:
    """One decision per context, of units that come once, at random moments of a window; arms take turns."""
    made = []
    for number, context in enumerate(contexts):
        moment = at(window) + WINDOW * rng.random()
        arm = columns.get("arm", "ab"[number % 2])
        own = {"decided_at": moment, "unit": f"{window}-{number}", "arm": arm, "served_arm": arm, "context": context}
        made.append(decision(**{**own, **columns}))
    return made


def fill(database: Database, rng: np.random.Generator, windows: Iterable[int], context: Context, n: int = 150) -> None:
    """Records n decisions in each window."""
    for window in windows:
        record(database, rows_of(rng, window, context(rng, n)))


def watch(database: Database, windows: Iterable[int]) -> None:
    """A pass over each window, just after it has closed."""
    for window in windows:
        assert watch_all(database, at(window + 1) + timedelta(minutes=1), WIDTHS, Meter()) == 1


def drifted(database: Database) -> list[tuple[int, str, str]]:
    """Number of the window, feature and direction of all that has drifted."""
    text = "SELECT window_start, feature, direction FROM drift_results WHERE drifted AND feature <> '' ORDER BY 1, 2"
    return [((start - START) // WINDOW, feature, direction) for start, feature, direction in query(database, text)]


def figures(database: Database, window: int) -> dict[str, tuple[int, int]]:
    """Count and denominator of each figure of a window's data."""
    text = (
        "SELECT metric, (detail ->> 'count')::int, n FROM metric_values WHERE level = 'data' AND window_start = :start"
    )
    return {metric: (count, n) for metric, count, n in query(database, text, start=at(window))}
