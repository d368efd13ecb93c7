"""What each kind of rule is judged by, read for one experiment."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from msgspec.structs import replace
from sqlalchemy import Connection

from app.alerting.data import drift_readings, quality_readings
from app.inference import check_shares, read_epochs
from app.learning import last_mature_bucket, read_evidence
from app.store import allocations, metric_values
from app.store import readings as store
from app.store.experiments import Experiment
from bandits.policy import floor
from monitoring.alert_rules import (
    Absence,
    AnyRule,
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
# How much of the feedback of so long may be overdue before nobody knows what the reward rate is.
_OVERDUE, _LATELY_S, _FEW_EVENTS = 0.1, 900.0, 20
# Of a reference: half an hour of windows of five minutes.
_FEWEST_WINDOWS = 6


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


@dataclass(frozen=True, kw_only=True)
class _Rewards:
    """Outcomes of exposures."""

    n: float = 0.0
    mean: float = 0.0
    variance: float = 0.0


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
    found = _rewards(place, end - timedelta(seconds=window_s), end)
    return Reading(
        value=found.mean if found.n else None, sample=found.n, detail=f"mean of {found.n:g} mature exposures"
    )


def _stored(place: _Place, window_s: float, *, metric: str) -> Reading:
    """A figure of the closed windows that began in the last seconds."""
    pooled = _pooled(place, metric, place.now - timedelta(seconds=window_s), place.now)
    if pooled is None:
        return Reading(detail=f"no window of the last {window_s:g} s has a {metric}")
    return Reading(value=pooled.mean, sample=pooled.n, detail=f"{metric} is {pooled.mean:.3g} of {pooled.n:g}")


_FIGURES: Mapping[str, Callable[[_Place, float], Reading]] = {
    "decisions_per_s": _decisions_per_s,
    "fallback_share": _fallback_share,
    "overdue_share": partial(_stored, metric="overdue_share"),
    "rejected_share": _rejected_share,
    "repeated_share": partial(_stored, metric="repeated_share"),
    "reward_rate": _reward_rate,
    "unit_concentration": partial(_stored, metric="unit_concentration"),
}


def _change(place: _Place, rule: Change) -> Reading:
    return _reward_change(place, rule) if rule.metric == "reward_rate" else _stored_change(place, rule)


def _stored_change(place: _Place, rule: Change) -> Reading:
    """The last closed windows, pooled, against those before them.

    The interval is that of one more window of the reference: its standard deviation between windows, and the sampling
    error of the present. So what the figure does every day is no change.
    """
    middle = place.now - timedelta(seconds=rule.window_s)
    now = _pooled(place, rule.metric, middle, place.now)
    before = _pooled(place, rule.metric, middle - timedelta(seconds=rule.reference_s), middle)
    if now is None or before is None or before.windows < _FEWEST_WINDOWS or before.mean == 0:
        return Reading(detail="no windows to compare with")
    difference = now.mean - before.mean
    margin = NormalDist().inv_cdf((1 + rule.level) / 2) * sqrt(before.variance + now.error**2)
    return Reading(
        value=difference / before.mean,
        sample=min(now.n, before.n),
        interval=(difference - margin, difference + margin),
        detail=f"{rule.metric} is {now.mean:.3g}, {before.mean:.3g} before",
    )


@dataclass(frozen=True, kw_only=True)
class _Pooled:
    """A figure over several windows, weighted by what each rests on."""

    windows: int
    n: float
    mean: float
    error: float  # standard error of the mean by sampling alone
    variance: float  # between windows


def _pooled(place: _Place, metric: str, since: datetime, until: datetime) -> _Pooled | None:
    found = metric_values.read(
        place.connection, place.experiment.key, since=since, until=until, levels=["data"], metrics=[metric]
    )
    measured = [each for each in found if each.value is not None]
    n = np.array([each.n for each in measured], dtype=np.float64)
    if not n.sum():
        return None
    values = np.array([each.value for each in measured])
    errors = np.array([each.detail.get("error", 0.0) for each in measured])
    mean = float(np.average(values, weights=n))
    return _Pooled(
        windows=len(n),
        n=float(n.sum()),
        mean=mean,
        error=float(np.sqrt(((n * errors) ** 2).sum()) / n.sum()),
        variance=float(np.average((values - mean) ** 2, weights=n)),
    )


def _reward_change(place: _Place, rule: Change) -> Reading:
    """The window that ends with the last mature exposure against others, none of which it overlaps.

    Of several comparisons the one that finds the smallest change is told; where they disagree on the direction, none.
    While feedback is overdue, nothing is said: rewards that are to come are taken for missing.
    """
    overdue = _pooled(place, "overdue_share", place.now - timedelta(seconds=_LATELY_S), place.now)
    if overdue is not None and overdue.n >= _FEW_EVENTS and overdue.mean > _OVERDUE:
        return Reading(detail=f"{overdue.mean:.0%} of the feedback is overdue")
    end = last_mature_bucket(place.experiment.specification, place.now)
    middle = _between_buckets(end - timedelta(seconds=rule.window_s), rule.window_s)
    now = _rewards(place, middle, end)
    compared = [
        _compared(now, before, rule.level, name)
        for name, before in _references(place, rule, middle, end)
        if before.n >= 2 and before.mean
    ]
    if now.n < 2 or not compared:
        return Reading(sample=now.n, detail="no rewards to compare with")
    least = min(compared, key=lambda reading: abs(reading.value or 0.0))
    if len({(reading.value or 0.0) > 0 for reading in compared}) > 1:
        return replace(least, value=0.0)
    return least


def _between_buckets(moment: datetime, window_s: float) -> datetime:
    """The nearest full hour, for windows of an hour and more: mature buckets are hours, and belong to one side."""
    hour = 3600
    if window_s < hour:
        return moment
    return datetime.fromtimestamp((moment.timestamp() + hour / 2) // hour * hour, moment.tzinfo)


def _references(place: _Place, rule: Change, middle: datetime, end: datetime) -> Iterator[tuple[str, _Rewards]]:
    """What the window is compared with: that before it, and the same hours a season ago, if there are enough rewards.

    Of then only hours are known, so an hour more on either side is taken.
    """
    yield "before", _rewards(place, middle - timedelta(seconds=rule.reference_s), middle)
    season, more = timedelta(seconds=rule.season_s), timedelta(seconds=max(rule.window_s, 3600))
    if end - season + more <= middle:
        then = _rewards(place, middle - season - more, end - season + more)
        if then.n >= rule.min_sample:
            yield f"{rule.season_s / 3600:g} h ago", then


def _compared(now: _Rewards, before: _Rewards, level: float, name: str) -> Reading:
    """The interval is Welch's, by the normal approximation: `min_sample` exposures on either side make it good."""
    difference = now.mean - before.mean
    margin = NormalDist().inv_cdf((1 + level) / 2) * sqrt(now.variance / now.n + before.variance / before.n)
    return Reading(
        value=difference / abs(before.mean),
        sample=min(now.n, before.n),
        interval=(difference - margin, difference + margin),
        detail=f"{now.mean:.4g} now, {before.mean:.4g} {name}",
    )


def _rewards(place: _Place, since: datetime, until: datetime) -> _Rewards:
    """Those of a window's exposures, of the present epoch."""
    experiment, reward = place.experiment, place.experiment.specification.reward
    sums = store.reward_sums(place.connection, experiment.key, experiment.epoch, reward.metric, (since, until))
    n, total, squares = float(sums.observed), sums.sum, sums.sum_of_squares
    if reward.missing == "default":
        counted = store.traffic(place.connection, experiment.key, (since, until), epoch=experiment.epoch)
        silent = max(counted.exposures - sums.observed, 0)
        n, total, squares = n + silent, total + silent * reward.default, squares + silent * reward.default**2
    if not n:
        return _Rewards()
    return _Rewards(n=n, mean=total / n, variance=max(squares / n - (total / n) ** 2, 0.0))


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


def _absence(place: _Place, rule: Absence) -> Reading:
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
    """A fallback is a failure: the intended recommendation was not given, whatever the status of the answer."""
    long, short = place.traffic(rule.window_s), place.traffic(rule.short_window_s)
    counts = [Counts(failed=window.fallbacks, total=window.decisions) for window in (long, short)]
    return Reading(
        value=burn_rate(counts[0], counts[1], rule.objective),
        sample=long.decisions,
        detail=f"{long.fallbacks} of {long.decisions} and {short.fallbacks} of {short.decisions} decisions failed",
    )


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
    Absence: _one(_absence),
    Staleness: _one(_staleness),
    SloBurn: _one(_burn),
}
