"""What each kind of rule is judged by, read for one experiment."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import Connection

from app.alerting.changes import change
from app.alerting.data import drift_readings, quality_readings
from app.alerting.figures import Place, pooled, rewards
from app.inference import check_shares, read_epochs
from app.learning import last_mature_bucket, read_evidence
from app.store import allocations, avatars, latencies
from app.store import readings as store
from app.store.experiments import Experiment
from bandits.policy import floor
from monitoring.alert_rules import (
    Absence,
    AnyRule,
    Avatar,
    Change,
    Drift,
    Reading,
    SampleRatio,
    SloBurn,
    Staleness,
    Starvation,
    Threshold,
)
from monitoring.alerts import Counts, burn_rate

__all__ = ["read"]

# What traffic of the day before makes one expect some now.
_BEFORE = timedelta(days=1)
# A look is late, and says nothing any more, after so many of its intervals, and the time that looks take.
_LATE_LOOKS, _LOOKS_TAKE_S = 3, 60


def read(connection: Connection, experiment: Experiment, rule: AnyRule, now: datetime) -> list[Reading]:
    """One reading for each label set that the rule watches in this experiment."""
    place = Place(connection=connection, experiment=experiment, now=now)
    return _READERS[type(rule)](place, rule)


def _decisions_per_s(place: Place, window_s: float) -> Reading:
    n = place.traffic(window_s).decisions
    return Reading(value=n / window_s, sample=n, detail=f"{n} decisions in {window_s:g} s")


def _fallback_share(place: Place, window_s: float) -> Reading:
    found = place.traffic(window_s)
    return _share(found.fallbacks, found.decisions, "decisions answered by a fallback")


def _rejected_share(place: Place, window_s: float) -> Reading:
    since, _ = place.window(window_s)
    refused = store.rejected(place.connection, place.experiment.key, since)
    taken = store.events_received(place.connection, place.experiment.key, since)
    return _share(refused, refused + taken, "events in quarantine")


def _reward_rate(place: Place, window_s: float) -> Reading:
    end = last_mature_bucket(place.experiment.specification, place.now)
    found = rewards(place, end - timedelta(seconds=window_s), end)
    return Reading(
        value=found.mean if found.n else None, sample=found.n, detail=f"mean of {found.n:g} mature exposures"
    )


def _stored(place: Place, window_s: float, *, metric: str) -> Reading:
    """A figure of the closed windows that began in the last seconds."""
    found = pooled(place, metric, place.now - timedelta(seconds=window_s), place.now)
    if found is None:
        return Reading(detail=f"no window of the last {window_s:g} s has a {metric}")
    return Reading(value=found.mean, sample=found.n, detail=f"{metric} is {found.mean:.3g} of {found.n:g}")


_FIGURES: Mapping[str, Callable[[Place, float], Reading]] = {
    "decisions_per_s": _decisions_per_s,
    "fallback_share": _fallback_share,
    "overdue_share": partial(_stored, metric="overdue_share"),
    "rejected_share": _rejected_share,
    "repeated_share": partial(_stored, metric="repeated_share"),
    "reward_rate": _reward_rate,
    "unit_concentration": partial(_stored, metric="unit_concentration"),
}


def _sample_ratio(place: Place, rule: SampleRatio) -> Reading:
    epochs = read_epochs(place.connection, place.experiment, place.now)
    check = check_shares(place.experiment, epochs, alpha=rule.alpha)
    ratio, chosen = check.result, check.result.shares.observed
    if ratio.ok is None:
        return Reading(sample=float(chosen.sum()), detail=f"{chosen.sum():g} choices are too few to judge")
    worst = int(np.nanargmax(np.abs(ratio.deviations)))
    detail = f"arm {check.arms[worst]}: chosen {chosen[worst]:g} times, {ratio.shares.expected[worst]:.1f} expected"
    return Reading(value=min(ratio.statistic, 1e9), sample=float(chosen.sum()), detail=detail)


def _starvation(place: Place, rule: Starvation) -> list[Reading]:
    """Shares as parts of the floor. After a change of the experiment the window begins anew: it changed the shares."""
    experiment = place.experiment
    active = [arm.key for arm in experiment.specification.arms if arm.state == "active"]
    least = floor(experiment.specification.policy, len(active))
    if not least:
        return []
    since = max(place.window(rule.window_s)[0], experiment.updated_at)
    counts = store.exposures_by_arm(place.connection, experiment.key, experiment.epoch, since)
    n = sum(counts.values())
    if n * least < rule.min_sample:
        return [Reading(detail=f"{n} exposures are too few to see a share of {least:g}")]
    return [
        Reading(
            labels={"arm": arm},
            value=counts.get(arm, 0) / (n * least),
            sample=n * least,
            detail=f"{counts.get(arm, 0)} of {n} exposures, the floor is {least:g}",
        )
        for arm in active
    ]


def _absence(place: Place, rule: Absence) -> list[Reading]:
    if rule.of == "looks":
        return _missing_looks(place, rule)
    return [_missing_traffic(place, rule)]


def _missing_looks(place: Place, rule: Absence) -> list[Reading]:
    """The sample is how many the schedules ask for, since the experiment last began to run."""
    if not avatars.listed(place.connection, place.experiment.key):
        return []
    since = max(place.window(rule.window_s)[0], place.experiment.updated_at)
    expected = avatars.expected_looks(place.connection, place.experiment.key, since, place.now)
    n = avatars.looks_since(place.connection, place.experiment.key, since)
    return [Reading(value=n, sample=expected, detail=f"{n} looks, {expected} are planned")]


def _missing_traffic(place: Place, rule: Absence) -> Reading:
    since, until = place.window(rule.window_s)
    if rule.of == "decisions":
        n = place.traffic(rule.window_s).decisions
        before = store.traffic(place.connection, place.experiment.key, (since - _BEFORE, since)).decisions
        return Reading(value=n, sample=n + before, detail=f"{n} decisions in {rule.window_s:g} s, {before} before")
    # From the start of an hour on, as mature exposures are summed by the hour: what is left out is not absent.
    since = since.replace(minute=0, second=0, microsecond=0)
    exposures = store.traffic(place.connection, place.experiment.key, (since, until)).exposures
    events = store.events_received(place.connection, place.experiment.key, since)
    return Reading(value=events, sample=exposures, detail=f"{events} outcomes of {exposures} exposures")


def _staleness(place: Place, _: Staleness) -> Reading:
    """Age of the allocation in force, or 0 when there is nothing that it does not know."""
    experiment = place.experiment
    current = allocations.find(place.connection, experiment.key, experiment.allocation)
    if current is None:
        return Reading(detail="no allocation")
    evidence = read_evidence(place.connection, experiment, place.now)
    if evidence.as_mapping() == current.evidence or evidence.counted_as_in(current.evidence):
        return Reading(value=0.0, detail="the allocation knows all evidence")
    age = (place.now - current.created_at).total_seconds()
    return Reading(value=age, detail=f"allocation {current.number} is {age:.0f} s old and there is new evidence")


def _drift(place: Place, rule: Drift) -> list[Reading]:
    return drift_readings(place.connection, place.experiment.key, rule, place.now)


def _burn(place: Place, rule: SloBurn) -> Reading:
    counted = _slow if rule.of == "latency" else _fallen_back
    long, short = counted(place, rule, rule.window_s), counted(place, rule, rule.short_window_s)
    return Reading(
        value=burn_rate(long, short, rule.objective),
        sample=long.total,
        detail=f"{long.failed:g} of {long.total:g} and {short.failed:g} of {short.total:g} decisions failed",
    )


def _fallen_back(place: Place, _: SloBurn, window_s: float) -> Counts:
    """A fallback is a failure: the intended recommendation was not given, whatever the status of the answer."""
    found = place.traffic(window_s)
    return Counts(failed=found.fallbacks, total=found.decisions)


def _slow(place: Place, rule: SloBurn, window_s: float) -> Counts:
    """Of the minutes that have been counted: the last ones have not."""
    since = place.now - timedelta(seconds=window_s) - latencies.LAG
    total, slow = latencies.slower_than(place.connection, place.experiment.key, rule.target_ms, since)
    return Counts(failed=slow, total=total)


def _avatars(place: Place, _: Avatar) -> list[Reading]:
    """The last look at each avatar's list from each arm; the sample of one that is late is 0."""
    return [
        Reading(
            labels={"avatar": look.avatar, "arm": look.arm},
            value=look.faults,
            sample=float(place.now - look.at <= timedelta(seconds=_LATE_LOOKS * look.every_s + _LOOKS_TAKE_S)),
            detail=look.fault or "the list is as expected",
        )
        for look in avatars.last_looks(place.connection, place.experiment.key)
    ]


def _threshold(place: Place, rule: Threshold) -> list[Reading]:
    if rule.metric in _FIGURES:
        return [_FIGURES[rule.metric](place, rule.window_s)]
    return quality_readings(place.connection, place.experiment.key, rule.metric, place.now)


def _share(part: int, whole: int, what: str) -> Reading:
    return Reading(value=part / whole if whole else None, sample=whole, detail=f"{part} of {whole}: {what}")


def _one(reader: Callable[[Place, Any], Reading]) -> Callable[[Place, Any], list[Reading]]:
    return lambda place, rule: [reader(place, rule)]


_READERS: Mapping[type[AnyRule], Callable[[Place, Any], list[Reading]]] = {
    Threshold: _threshold,
    Change: _one(change),
    Drift: _drift,
    SampleRatio: _one(_sample_ratio),
    Starvation: _starvation,
    Absence: _absence,
    Staleness: _one(_staleness),
    SloBurn: _one(_burn),
    Avatar: _avatars,
}
