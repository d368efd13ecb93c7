"""What became of each feature in each pass over a closed window."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import drift_results

__all__ = [
    "DATASET",
    "SEQUENTIAL",
    "DriftResult",
    "delete_old",
    "history",
    "last_window",
    "newest_passes",
    "passes",
    "replace",
    "scores",
    "states",
]

DATASET: Final = ""  # the feature that stands for the pass itself
SEQUENTIAL: Final = "page_hinkley"  # the test that has no p

_KEY = [column.name for column in drift_results.primary_key]
_LARGEST_SCORE = 1_000.0


class DriftResult(Struct, frozen=True, kw_only=True):
    """One feature of one pass; the fields are the table's columns.

    Attributes:
        experiment: its key.
        window_start: start of the current window.
        window_s: its width in seconds.
        feature: `context/<path>`, `score/<arm>` or `reward/<arm>`, with `:missing` at the end for a share of missing
            values; '' stands for the pass: the share of drifted features of the context.
        test: what `value` and `threshold` are of.
        reference_start: of the window that the current one is compared with.
        reference_end: of the same.
        kind: numeric, categorical or binary; dataset.
        n: values in the smaller window.
        value: of the test; None: there was nothing to compare.
        threshold: of the value.
        p: of the two-sample test.
        p_adjusted: the same, adjusted for the number of features of the pass.
        direction: which way `moved` went.
        moved: "mean", or the category whose share changed most.
        change: of what moved, current − reference.
        drifted: whether it has.
        histogram: counts of both windows, as `monitoring.histograms` makes them.
        state: of a sequential test.
    """

    experiment: str
    window_start: datetime
    window_s: int
    feature: str
    test: str
    reference_start: datetime
    reference_end: datetime
    kind: str
    n: int
    value: float | None = None
    threshold: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    direction: Literal["up", "down", "none"] = "none"
    moved: str = ""
    change: float | None = None
    drifted: bool = False
    histogram: Mapping[str, Any] = {}
    state: Mapping[str, Any] = {}

    @property
    def score(self) -> float | None:
        """How far it is on the way to drift, 0 or more; from 1 on it has drifted. None: nothing was compared."""
        if self.value is None or not self.threshold:
            return None
        if self.p is None or self.p_adjusted is None:
            return min(self.value / self.threshold, _LARGEST_SCORE)
        by_p = math.log(max(self.p_adjusted, 1e-300)) / math.log(0.05)
        by_distance = self.value / self.threshold if self.test in {"wasserstein", "jensen_shannon"} else by_p
        return min(by_p, by_distance, _LARGEST_SCORE)


_COLUMNS = [drift_results.c[name] for name in DriftResult.__struct_fields__]


def replace(connection: sa.Connection, results: Sequence[DriftResult]) -> None:
    """Puts the results of one pass in the place of what an earlier one over the same window has left."""
    c, first = drift_results.c, results[0]
    same = (c.experiment == first.experiment, c.window_start == first.window_start, c.window_s == first.window_s)
    connection.execute(sa.delete(drift_results).where(*same))
    rows = [{name: getattr(result, name) for name in DriftResult.__struct_fields__} for result in results]
    # Two monitors may work at once for a moment: the second one's results are the same.
    connection.execute(insert(drift_results).values(rows).on_conflict_do_nothing(index_elements=_KEY))


def last_window(connection: sa.Connection, experiment: str, window_s: int) -> datetime | None:
    """Start of the newest window of a width that there was a pass over; None: there was none."""
    c = drift_results.c
    query = sa.select(sa.func.max(c.window_start)).where(
        c.experiment == experiment, c.window_s == window_s, c.feature == DATASET
    )
    found: datetime | None = connection.scalar(query)
    return found


def newest_passes(connection: sa.Connection, experiment: str, number: int) -> list[list[DriftResult]]:
    """The results of the newest passes that had something to compare, the newest first, without histograms.

    They are of windows of the newest width.
    """
    c = drift_results.c
    mine = (c.experiment == experiment, c.feature == DATASET, c.n > 0)
    width = sa.select(c.window_s).where(*mine).order_by(c.window_start.desc(), c.window_s).limit(1).scalar_subquery()
    query = sa.select(c.window_start, c.window_s).where(*mine, c.window_s == width)
    passes = connection.execute(query.order_by(c.window_start.desc()).limit(number)).all()
    return [_pass(connection, experiment, start, window_s) for start, window_s in passes]


def states(connection: sa.Connection, experiment: str, window_start: datetime, window_s: int) -> dict[str, Any]:
    """The states of sequential tests, by feature, at the end of a window."""
    c = drift_results.c
    same = (c.experiment == experiment, c.window_start == window_start, c.window_s == window_s)
    query = sa.select(c.feature, c.state).where(*same, c.test == SEQUENTIAL)
    return dict(connection.execute(query).all())


def history(
    connection: sa.Connection,
    experiment: str,
    *,
    since: datetime | None,
    before: datetime | None,
    feature: str | None,
    windows: int,
) -> list[DriftResult]:
    """The results of passes, of all features or of one and the pass itself, the newest windows first.

    Args:
        connection: where to read.
        experiment: its key.
        since: windows start then or later.
        before: windows start before.
        feature: its name; None: all.
        windows: the most that are returned.
    """
    c = drift_results.c
    wanted = [c.experiment == experiment]
    wanted += [] if since is None else [c.window_start >= since]
    wanted += [] if before is None else [c.window_start < before]
    wanted += [] if feature is None else [c.feature.in_([DATASET, feature])]
    starts = sa.select(c.window_start).where(*wanted).distinct().order_by(c.window_start.desc()).limit(windows)
    query = sa.select(*_COLUMNS).where(*wanted, c.window_start.in_(starts))
    rows = connection.execute(query.order_by(c.window_start.desc(), c.window_s, c.feature, c.test)).mappings()
    return [DriftResult(**row) for row in rows]


def passes(
    connection: sa.Connection, experiment: str, *, since: datetime | None = None, before: datetime | None = None
) -> tuple[datetime | None, datetime | None]:
    """Starts of the first window from `since` on that there was a pass over, and of the last one before `before`."""
    c = drift_results.c
    mine = sa.select(c.window_start).where(c.experiment == experiment, c.feature == DATASET)
    first = mine.where(c.window_start >= since).order_by(c.window_start).limit(1) if since else None
    last = mine.where(c.window_start < before) if before else mine
    newest: datetime | None = connection.scalar(last.order_by(c.window_start.desc()).limit(1))
    return (None if first is None else connection.scalar(first)), newest


def scores(
    connection: sa.Connection, experiment: str, features: Sequence[str], *, since: datetime, until: datetime, most: int
) -> list[DriftResult]:
    """The newest results of some features in a time, oldest first, without histograms and states."""
    c = drift_results.c
    shown = [column for column in _COLUMNS if column.name not in {"histogram", "state"}]
    query = sa.select(*shown).where(c.experiment == experiment, c.feature.in_(features))
    query = query.where(c.window_start >= since, c.window_start < until).order_by(c.window_start.desc(), c.feature)
    return [DriftResult(**row) for row in reversed(connection.execute(query.limit(most)).mappings().all())]


def delete_old(connection: sa.Connection, experiment: str, before: datetime) -> int:
    """Deletes the results of windows that start before a moment; returns how many."""
    c = drift_results.c
    query = sa.delete(drift_results).where(c.experiment == experiment, c.window_start < before)
    return connection.execute(query).rowcount


def _pass(connection: sa.Connection, experiment: str, start: datetime, window_s: int) -> list[DriftResult]:
    c = drift_results.c
    shown = [column for column in _COLUMNS if column.name not in {"histogram", "state"}]
    query = sa.select(*shown).where(c.experiment == experiment, c.window_start == start, c.window_s == window_s)
    return [DriftResult(**row) for row in connection.execute(query.order_by(c.feature, c.test)).mappings()]
