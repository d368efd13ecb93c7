"""What rules of drift are judged by: the newest stored passes over closed windows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import takewhile

import sqlalchemy as sa

from app.data_watch.features import CONTEXT
from app.store import drift_results
from app.store.drift_results import DATASET, DriftResult
from monitoring.alert_rules import Drift, Reading

__all__ = ["drift_readings"]

# After so many windows without a new pass what is stored says nothing of the present.
_STALE_AFTER = 3


def drift_readings(connection: sa.Connection, experiment: str, rule: Drift, now: datetime) -> list[Reading]:
    """One reading of the dataset, or one for each feature of the newest pass."""
    passes = drift_results.newest_passes(connection, experiment, rule.windows)
    if len(passes) < rule.windows:
        return [Reading(detail=f"{len(passes)} of {rule.windows} windows have been compared")]
    newest = passes[0][0]
    if now - newest.window_start > timedelta(seconds=(_STALE_AFTER + 1) * newest.window_s):
        return [Reading(detail=f"no window was compared since that of {newest.window_start.isoformat()}")]
    if rule.of == "dataset":
        return [_dataset(passes, rule)]
    features = sorted({result.feature for result in passes[0]} - {DATASET})
    return [_feature([_of(each, feature) for each in passes], rule) for feature in features]


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
    newest = drifted[0][0] if drifted else passes[0][0]
    told = f"{newest.moved} {newest.direction}" if newest.change is None else f"{newest.moved} {newest.change:+.4g}"
    detail = f"{newest.feature}: {told}; {newest.test} {newest.value or 0:.4g}, threshold {newest.threshold or 0:.4g}"
    sample = max(result.n for result in passes[0])
    return Reading(labels={"feature": newest.feature}, value=len(drifted), sample=sample, detail=detail)


def _drifted(result: DriftResult, rule: Drift) -> bool:
    """A sequential test has no p: its rate of false alarms is its own."""
    return result.drifted and (result.p_adjusted is None or result.p_adjusted < rule.alpha)
