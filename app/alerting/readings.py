"""What each kind of rule is judged by, read for one experiment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from sqlalchemy import Connection

from app.alerting.data import drift_readings, quality_readings
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


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where and when to read."""

    connection: Connection
    experiment: Experiment
    now: datetime

    def window(self, seconds: float) -> tuple[datetime, datetime]:
        """The last seconds."""
        return self.now - timedelta(seconds=seconds), self.now + timedelta(days=1)

    def traffic(self, seconds: float) -> store.Traffic:
        """Decisions of the last seconds."""
        return store.traffic(self.connection, self.experiment.key, self.window(seconds))


def read(connection: Connection, experiment: Experiment, rule: AnyRule, now: datetime) -> list[Reading]:
    """One reading for each label set that the rule watches in this experiment."""
    place = _Place(connection=connection, experiment=experiment, now=now)
    return _READERS[type(rule)](place, rule)


def _decisions_per_s(place: _Place, window_s: float) -> Reading:
    n = place.traffic(window_s).decisions
    return Reading(value=n / window_s, sample=n, detail=f"{n} decisions in {window_s:g} s")


def _fallback_share(place: _Place, window_s: float) -> Reading:
    found = place.traffic(window_s)
    return _share(found.fallbacks, found.decisions, "decisions answered by a fallback")


def _rejected_share(place: _Place, window_s: float) -> Reading:
    since, _ = place.window(window_s)
    refused = store.rejected(place.connection, place.experiment.key, since)
    taken = store.events_received(place.connection, place.experiment.key, since)
    return _share(refused, refused + taken, "events in quarantine")


def _reward_rate(place: _Place, window_s: float) -> Reading:
    end = last_mature_bucket(place.experiment.specification, place.now)
    n, mean, _ = _rewards(place, end - timedelta(seconds=window_s), end)
    return Reading(value=mean if n else None, sample=n, detail=f"mean of {n:g} mature exposures")


_FIGURES: Mapping[str, Callable[[_Place, float], Reading]] = {
    "decisions_per_s": _decisions_per_s,
    "fallback_share": _fallback_share,
    "rejected_share": _rejected_share,
    "reward_rate": _reward_rate,
}


def _change(place: _Place, rule: Change) -> Reading:
    """The window that ends with the last mature exposure against the one before it, which it does not overlap.

    The interval is Welch's, by the normal approximation: `min_sample` exposures on either side make it good.
    """
    end = last_mature_bucket(place.experiment.specification, place.now)
    middle = end - timedelta(seconds=rule.window_s)
    n, mean, variance = _rewards(place, middle, end)
    m, reference, spread = _rewards(place, middle - timedelta(seconds=rule.reference_s), middle)
    if min(n, m) < 2 or reference == 0:
        return Reading(sample=min(n, m), detail="no rewards to compare with")
    difference = mean - reference
    margin = NormalDist().inv_cdf((1 + rule.level) / 2) * sqrt(variance / n + spread / m)
    return Reading(
        value=difference / abs(reference),
        sample=min(n, m),
        interval=(difference - margin, difference + margin),
        detail=f"{mean:.4g} now, {reference:.4g} before",
    )


def _rewards(place: _Place, since: datetime, until: datetime) -> tuple[float, float, float]:
    """Number, mean and variance of the outcomes of a window's exposures, of the present epoch."""
    experiment, reward = place.experiment, place.experiment.specification.reward
    sums = store.reward_sums(place.connection, experiment.key, experiment.epoch, reward.metric, (since, until))
    n, total, squares = float(sums.observed), sums.sum, sums.sum_of_squares
    if reward.missing == "default":
        counted = store.traffic(place.connection, experiment.key, (since, until), epoch=experiment.epoch)
        silent = max(counted.exposures - sums.observed, 0)
        n, total, squares = n + silent, total + silent * reward.default, squares + silent * reward.default**2
    if not n:
        return 0.0, 0.0, 0.0
    return n, total / n, max(squares / n - (total / n) ** 2, 0.0)


def _sample_ratio(place: _Place, rule: SampleRatio) -> Reading:
    epochs = read_epochs(place.connection, place.experiment, place.now)
    check = check_shares(place.experiment, epochs, alpha=rule.alpha)
    ratio, chosen = check.result, check.result.shares.observed
    if ratio.ok is None:
        return Reading(sample=float(chosen.sum()), detail=f"{chosen.sum():g} choices are too few to judge")
    worst = int(np.nanargmax(np.abs(ratio.deviations)))
    detail = f"arm {check.arms[worst]}: chosen {chosen[worst]:g} times, {ratio.shares.expected[worst]:.1f} expected"
    return Reading(value=min(ratio.statistic, 1e9), sample=float(chosen.sum()), detail=detail)


def _starvation(place: _Place, rule: Starvation) -> list[Reading]:
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


def _absence(place: _Place, rule: Absence) -> list[Reading]:
    if rule.of == "looks":
        return _missing_looks(place, rule)
    return [_missing_traffic(place, rule)]


def _missing_looks(place: _Place, rule: Absence) -> list[Reading]:
    """The sample is how many the schedules ask for, since the experiment last began to run."""
    if not avatars.listed(place.connection, place.experiment.key):
        return []
    since = max(place.window(rule.window_s)[0], place.experiment.updated_at)
    expected = avatars.expected_looks(place.connection, place.experiment.key, since, place.now)
    n = avatars.looks_since(place.connection, place.experiment.key, since)
    return [Reading(value=n, sample=expected, detail=f"{n} looks, {expected} are planned")]


def _missing_traffic(place: _Place, rule: Absence) -> Reading:
    since, until = place.window(rule.window_s)
    if rule.of == "decisions":
        n = place.traffic(rule.window_s).decisions
        before = store.traffic(place.connection, place.experiment.key, (since - _BEFORE, since)).decisions
        return Reading(value=n, sample=n + before, detail=f"{n} decisions in {rule.window_s:g} s, {before} before")
    exposures = store.traffic(place.connection, place.experiment.key, (since, until)).exposures
    events = store.events_received(place.connection, place.experiment.key, since)
    return Reading(value=events, sample=exposures, detail=f"{events} outcomes of {exposures} exposures")


def _staleness(place: _Place, _: Staleness) -> Reading:
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


def _drift(place: _Place, rule: Drift) -> list[Reading]:
    return drift_readings(place.connection, place.experiment.key, rule, place.now)


def _burn(place: _Place, rule: SloBurn) -> Reading:
    counted = _slow if rule.of == "latency" else _fallen_back
    long, short = counted(place, rule, rule.window_s), counted(place, rule, rule.short_window_s)
    return Reading(
        value=burn_rate(long, short, rule.objective),
        sample=long.total,
        detail=f"{long.failed:g} of {long.total:g} and {short.failed:g} of {short.total:g} decisions failed",
    )


def _fallen_back(place: _Place, _: SloBurn, window_s: float) -> Counts:
    """A fallback is a failure: the intended recommendation was not given, whatever the status of the answer."""
    found = place.traffic(window_s)
    return Counts(failed=found.fallbacks, total=found.decisions)


def _slow(place: _Place, rule: SloBurn, window_s: float) -> Counts:
    """Of the minutes that have been counted: the last ones have not."""
    since = place.now - timedelta(seconds=window_s) - latencies.LAG
    total, slow = latencies.slower_than(place.connection, place.experiment.key, rule.target_ms, since)
    return Counts(failed=slow, total=total)


def _avatars(place: _Place, _: Avatar) -> list[Reading]:
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


def _threshold(place: _Place, rule: Threshold) -> list[Reading]:
    if rule.metric in _FIGURES:
        return [_FIGURES[rule.metric](place, rule.window_s)]
    return quality_readings(place.connection, place.experiment.key, rule.metric, place.now)


def _share(part: int, whole: int, what: str) -> Reading:
    return Reading(value=part / whole if whole else None, sample=whole, detail=f"{part} of {whole}: {what}")


def _one(reader: Callable[[_Place, Any], Reading]) -> Callable[[_Place, Any], list[Reading]]:
    return lambda place, rule: [reader(place, rule)]


_READERS: Mapping[type[AnyRule], Callable[[_Place, Any], list[Reading]]] = {
    Threshold: _threshold,
    Change: _one(_change),
    Drift: _drift,
    SampleRatio: _one(_sample_ratio),
    Starvation: _starvation,
    Absence: _absence,
    Staleness: _one(_staleness),
    SloBurn: _one(_burn),
    Avatar: _avatars,
}
