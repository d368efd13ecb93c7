"""What rules of drift and of the quality of data are judged by: the newest closed windows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

import sqlalchemy as sa

from app.data_watch.features import CONTEXT
from app.store import drift_results, metric_values
from app.store.drift_results import DATASET, DriftResult
from monitoring.alert_rules import Drift, Reading

__all__ = ["drift_readings", "quality_readings"]

# After so many windows without a new pass what is stored says nothing of the present.
_STALE_AFTER = 3


def drift_readings(connection: sa.Connection, experiment: str, rule: Drift, now: datetime) -> list[Reading]:
    """One reading of the dataset, or one for each feature of the newest pass."""
    passes = drift_results.newest_passes(connection, experiment, rule.windows)
    if len(passes) < rule.windows:
        return [Reading(detail=f"{len(passes)} of {rule.windows} windows have been compared")]
    if fault := _stale(passes[0][0].window_start, passes[0][0].window_s, now):
        return [fault]
    if rule.of == "dataset":
        return [_dataset(passes, rule)]
    features = sorted({result.feature for results in passes for result in results} - {DATASET})
    return [_feature([_of(each, feature) for each in passes], rule) for feature in features]


def quality_readings(connection: sa.Connection, experiment: str, metric: str, now: datetime) -> list[Reading]:
    """A figure of the newest closed window's data; of one that features have, one reading for each."""
    newest = metric_values.newest(connection, experiment, "data")
    if not newest:
        return [Reading(detail="no window has been looked at")]
    if fault := _stale(newest[0].window_start, newest[0].window_s, now):
        return [fault]
    prefix = f"{metric}/"
    of_features = [value for value in newest if value.metric.startswith(prefix)]
    return [
        Reading(
            labels={"feature": value.metric.removeprefix(prefix)} if of_features else {},
            # With nothing to judge one feature by, the others are judged all the same.
            value=(value.value or 0.0) if of_features else value.value,
            sample=value.n,
            detail=f"{value.metric}: {value.detail.get('count', 0)} of {value.n}",
        )
        for value in of_features or [value for value in newest if value.metric == metric]
    ]


def _stale(start: datetime, window_s: int, now: datetime) -> Reading | None:
    if now - start <= timedelta(seconds=(_STALE_AFTER + 1) * window_s):
        return None
    return Reading(detail=f"no window was looked at since that of {start.isoformat()}")


def _of(results: Sequence[DriftResult], feature: str) -> list[DriftResult]:
    return [result for result in results if result.feature == feature]


def _dataset(passes: Sequence[Sequence[DriftResult]], rule: Drift) -> Reading:
    shares = [_share(results, rule) for results in passes]
    known = [share for share in shares if share is not None]
    if len(known) < len(shares):
        return Reading(detail="there was no context to compare")
    sample = min(result.n for results in passes for result in _of(results, DATASET))
    return Reading(value=min(known), sample=sample, detail=f"{min(known):.0%} of the context's features drifted")


def _share(results: Sequence[DriftResult], rule: Drift) -> float | None:
    """The share of the context's features that drifted; None without any."""
    drifted = [_drifted(result, rule) for result in results if result.feature.startswith(CONTEXT)]
    return sum(drifted) / len(drifted) if drifted else None


def _feature(passes: Sequence[Sequence[DriftResult]], rule: Drift) -> Reading:
    """Of one feature, the newest pass first."""
    drifted = list(takewhile(bool, ([r for r in results if _drifted(r, rule)] for results in passes)))
    newest = drifted[0][0] if drifted else next(result for results in passes for result in results)
    told = f"{newest.moved} {newest.direction}" if newest.change is None else f"{newest.moved} {newest.change:+.4g}"
    detail = f"{newest.feature}: {told}; {newest.test} {newest.value or 0:.4g}, threshold {newest.threshold or 0:.4g}"
    sample = max((result.n for result in passes[0]), default=0)
    return Reading(labels={"feature": newest.feature}, value=len(drifted), sample=sample, detail=detail)


def _drifted(result: DriftResult, rule: Drift) -> bool:
    """A sequential test has no p: its rate of false alarms is its own."""
    return result.drifted and (result.p_adjusted is None or result.p_adjusted < rule.alpha)
