"""What became of an experiment's data, window by closed window: its drift and its quality."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from msgspec import Struct

from app.errors import NotFound
from app.store import drift_results, experiments, metric_values
from app.store.database import Connection, Database
from app.store.drift_results import DATASET, DriftResult

__all__ = ["DataFigure", "DataWindow", "DriftFeature", "DriftWindow", "drift_page", "quality_page"]


class DriftFeature(Struct, frozen=True, kw_only=True):
    """What one test says of one feature."""

    feature: str
    kind: str
    test: str
    n: int
    value: float | None
    threshold: float | None
    p: float | None
    p_adjusted: float | None
    direction: str
    moved: str
    change: float | None
    drifted: bool
    score: float | None
    histogram: Mapping[str, Any]


class DriftWindow(Struct, frozen=True, kw_only=True):
    """A pass over one closed window."""

    window_start: datetime
    window_end: datetime
    reference_start: datetime
    reference_end: datetime
    n: int  # units in the smaller window
    share: float | None  # of the context's features that drifted
    drifted: bool
    features: list[DriftFeature]


class DataFigure(Struct, frozen=True, kw_only=True):
    """One share: `count` of `of`."""

    metric: str
    feature: str | None
    value: float | None
    count: int
    of: int


class DataWindow(Struct, frozen=True, kw_only=True):
    """The quality of one closed window's data."""

    window_start: datetime
    window_end: datetime
    figures: list[DataFigure]


def drift_page(
    database: Database,
    key: str,
    *,
    since: datetime | None,
    before: datetime | None,
    feature: str | None,
    limit: int,
) -> dict[str, Any]:
    """Passes over closed windows, the newest first, of all features or of one.

    Raises:
        NotFound: there is no such experiment.
    """
    with database.transaction(snapshot=True) as connection:
        _check(connection, key)
        found = drift_results.history(connection, key, since=since, before=before, feature=feature, windows=limit)
    grouped = groupby(found, lambda result: (result.window_start, result.window_s))
    return _page(key, "passes", [_drift_window(list(results)) for _, results in grouped], limit)


def quality_page(
    database: Database, key: str, *, since: datetime | None, before: datetime | None, limit: int
) -> dict[str, Any]:
    """The quality of the data of closed windows, the newest first.

    Raises:
        NotFound: there is no such experiment.
    """
    with database.transaction(snapshot=True) as connection:
        _check(connection, key)
        starts = metric_values.windows(connection, key, "data", since=since, before=before, limit=limit)
        found = (
            []
            if not starts
            else metric_values.read(
                connection, key, since=starts[-1], until=starts[0] + timedelta(microseconds=1), levels=["data"]
            )
        )
    grouped = groupby(found, lambda value: (value.window_start, value.window_s))
    windows = [
        DataWindow(window_start=start, window_end=_end(start, width), figures=[_figure(value) for value in values])
        for (start, width), values in grouped
    ]
    return _page(key, "windows", windows[::-1], limit)


def _check(connection: Connection, key: str) -> None:
    if experiments.find(connection, key) is None:
        raise NotFound(f"There is no experiment {key!r}")


def _page(key: str, name: str, windows: list[Any], limit: int) -> dict[str, Any]:
    starts = {window.window_start for window in windows}
    return {"experiment": key, name: windows, "next_before": min(starts) if len(starts) == limit else None}


def _drift_window(results: list[DriftResult]) -> DriftWindow:
    whole = next(result for result in results if result.feature == DATASET)
    return DriftWindow(
        window_start=whole.window_start,
        window_end=_end(whole.window_start, whole.window_s),
        reference_start=whole.reference_start,
        reference_end=whole.reference_end,
        n=whole.n,
        share=whole.value,
        drifted=whole.drifted,
        features=_features(result for result in results if result is not whole),
    )


def _features(results: Iterable[DriftResult]) -> list[DriftFeature]:
    names = DriftFeature.__struct_fields__
    return [DriftFeature(**{name: getattr(result, name) for name in names}) for result in results]


def _figure(value: metric_values.MetricValue) -> DataFigure:
    metric, _, feature = value.metric.partition("/")
    return DataFigure(
        metric=metric, feature=feature or None, value=value.value, count=value.detail.get("count", 0), of=value.n
    )


def _end(start: datetime, window_s: int) -> datetime:
    return start + timedelta(seconds=window_s)
