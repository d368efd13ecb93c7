"""Drift and the quality of data over time, as charts show them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from app.alerting.rules import in_force
from app.reports.data import DataFigure, DriftFeature, DriftWindow, drift_page
from app.reports.timeline import Series
from app.store import alert_rules, drift_results, metric_values
from app.store.database import Database
from app.store.drift_results import DATASET
from app.store.metric_values import MetricValue
from app.store.timeline import Steps
from monitoring.alert_rules import Drift, Threshold

__all__ = [
    "Limits",
    "Pass",
    "QualityFigure",
    "by_feature",
    "drift_pass",
    "limits_of",
    "quality_figures",
    "scores_over_time",
    "shares_of_data",
]

_MOST: Final = 20_000
_WINDOWS: Final = 24
_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From where on alerts fire.

    Attributes:
        share: of drifted features; None: no rule watches it.
        figures: by figure of the data's quality, the rule and its limit.
    """

    share: float | None
    figures: Mapping[str, tuple[str, float]]


@dataclass(frozen=True, kw_only=True)
class QualityFigure:
    """A figure of the newest window, and of those before."""

    metric: str
    feature: str | None
    newest: DataFigure
    steps: Sequence[float | None]  # the oldest first


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A pass over a closed window, with the windows beside it."""

    window: DriftWindow | None
    older: datetime | None
    newer: datetime | None


def limits_of(database: Database, key: str) -> Limits:
    """What the rules in force of an experiment say."""
    with database.transaction() as connection:
        rules = in_force(alert_rules.rows(connection, key), key)
    enabled = {name: rule for name, rule in rules.items() if not isinstance(rule, str) and rule.enabled}
    of_dataset = (r.at_least for r in enabled.values() if isinstance(r, Drift) and r.of == "dataset")
    figures: dict[str, tuple[str, float]] = {
        r.metric: (name, r.value) for name, r in enabled.items() if isinstance(r, Threshold)
    }
    return Limits(share=next(of_dataset, None), figures=figures)


def drift_pass(database: Database, key: str, start: datetime | None) -> Pass:
    """The pass over the window that begins then; None: over the newest one."""
    with database.transaction() as connection:
        if start is None:
            _, start = drift_results.passes(connection, key)
        if start is None:
            return Pass(window=None, older=None, newer=None)
        newer, older = drift_results.passes(connection, key, since=start + _INSTANT, before=start)
    page = drift_page(database, key, since=start, before=start + _INSTANT, feature=None, limit=1)
    return Pass(window=next(iter(page["passes"]), None), older=older, newer=newer)


def by_feature(window: DriftWindow) -> list[DriftFeature]:
    """One result a feature, that of the test with the highest score; the most drifted features first."""
    found: dict[str, DriftFeature] = {}
    drawn = {result.feature: result.histogram for result in window.features if result.histogram}
    for result in sorted(window.features, key=lambda one: -(one.score or 0.0)):
        whole = msgspec.structs.replace(result, histogram=drawn.get(result.feature, {}))
        found.setdefault(result.feature, whole)
    return sorted(found.values(), key=lambda one: (not one.drifted, -(one.score or 0.0), one.feature))


def scores_over_time(
    database: Database, key: str, steps: Steps, features: Sequence[str]
) -> tuple[list[float], list[Series]]:
    """Times of passes, and each feature's score: from 1 on it has drifted. Of the pass itself, the share that has."""
    with database.transaction() as connection:
        found = drift_results.scores(connection, key, features, since=steps.since, until=steps.until, most=_MOST)
    cells: dict[tuple[str, datetime], float] = {}
    for result in found:
        value = result.value if result.feature == DATASET else result.score
        if value is not None:
            place = result.feature, result.window_start + timedelta(seconds=result.window_s)
            cells[place] = max(value, cells.get(place, 0.0))
    return _series(cells, features)


def shares_of_data(
    database: Database, key: str, steps: Steps, metrics: Sequence[str]
) -> tuple[list[float], list[Series]]:
    """Times at which windows ended, and each figure of the data's quality."""
    with database.transaction() as connection:
        found = metric_values.read(
            connection, key, since=steps.since, until=steps.until, levels=["data"], metrics=metrics, limit=_MOST
        )
    cells = {(v.metric, v.window_start + timedelta(seconds=v.window_s)): v.value for v in found if v.value is not None}
    return _series(cells, metrics)


def quality_figures(database: Database, key: str) -> tuple[datetime | None, list[QualityFigure]]:
    """When the newest window ended, and its figures with those of the windows before, as far as they are few."""
    with database.transaction(snapshot=True) as connection:
        starts = metric_values.windows(connection, key, "data", since=None, before=None, limit=_WINDOWS)
        if not starts:
            return None, []
        found = metric_values.read(
            connection, key, since=starts[-1], until=starts[0] + _INSTANT, levels=["data"], limit=_MOST
        )
    ended = max(value.window_start + timedelta(seconds=value.window_s) for value in found)
    return ended, _figures(found, list(reversed(starts)))


def _figures(found: Iterable[MetricValue], starts: Sequence[datetime]) -> list[QualityFigure]:
    by_metric: dict[str, dict[datetime, MetricValue]] = defaultdict(dict)
    for value in found:
        by_metric[value.metric][value.window_start] = value
    figures = []
    for name, values in sorted(by_metric.items()):
        metric, _, feature = name.partition("/")
        if (last := values.get(starts[-1])) is not None:
            newest = DataFigure(
                metric=metric, feature=feature or None, value=last.value, count=last.detail.get("count", 0), of=last.n
            )
            steps = [values[start].value if start in values else None for start in starts]
            figures.append(QualityFigure(metric=metric, feature=feature or None, newest=newest, steps=steps))
    return figures


def _series(cells: Mapping[tuple[str, datetime], float], names: Sequence[str]) -> tuple[list[float], list[Series]]:
    times = sorted({at for _, at in cells})
    series = [Series(arm=name, values=[cells.get((name, at)) for at in times]) for name in names]
    return [at.timestamp() for at in times], [one for one in series if any(v is not None for v in one.values)]
