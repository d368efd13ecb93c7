"""What rules of change are judged by: a window against what was before it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from math import sqrt
from statistics import NormalDist

from msgspec.structs import replace

from app.alerting.figures import Place, Rewards, pooled, rewards
from app.learning import last_mature_bucket
from monitoring.alert_rules import Change, Reading

__all__ = ["change"]

# How much of the feedback of so long may be overdue before nobody knows what the reward rate is.
_OVERDUE, _LATELY_S, _FEW_EVENTS = 0.1, 900.0, 20
# Of a reference: half an hour of windows of five minutes.
_FEWEST_WINDOWS = 6


def change(place: Place, rule: Change) -> Reading:
    """The window of the rule against those before it."""
    return _reward_change(place, rule) if rule.metric == "reward_rate" else _stored_change(place, rule)


def _stored_change(place: Place, rule: Change) -> Reading:
    """The last closed windows, pooled, against those before them.

    The interval is that of one more window of the reference: its standard deviation between windows, and the sampling
    error of the present. So what the figure does every day is no change.
    """
    middle = place.now - timedelta(seconds=rule.window_s)
    now = pooled(place, rule.metric, middle, place.now)
    before = pooled(place, rule.metric, middle - timedelta(seconds=rule.reference_s), middle)
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


def _reward_change(place: Place, rule: Change) -> Reading:
    """The window that ends with the last mature exposure against others, none of which it overlaps.

    Of several comparisons the one that finds the smallest change is told; where they disagree on the direction, none.
    While feedback is overdue, nothing is said: rewards that are to come are taken for missing.
    """
    overdue = pooled(place, "overdue_share", place.now - timedelta(seconds=_LATELY_S), place.now)
    if overdue is not None and overdue.n >= _FEW_EVENTS and overdue.mean > _OVERDUE:
        return Reading(detail=f"{overdue.mean:.0%} of the feedback is overdue")
    end = last_mature_bucket(place.experiment.specification, place.now)
    middle = _between_buckets(end - timedelta(seconds=rule.window_s), rule.window_s)
    now = rewards(place, middle, end)
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


def _references(place: Place, rule: Change, middle: datetime, end: datetime) -> Iterator[tuple[str, Rewards]]:
    """What the window is compared with: that before it, and the same hours a season ago, if there are enough rewards.

    Of then only hours are known, so an hour more on either side is taken.
    """
    yield "before", rewards(place, middle - timedelta(seconds=rule.reference_s), middle)
    season, more = timedelta(seconds=rule.season_s), timedelta(seconds=max(rule.window_s, 3600))
    if end - season + more <= middle:
        then = rewards(place, middle - season - more, end - season + more)
        if then.n >= rule.min_sample:
            yield f"{rule.season_s / 3600:g} h ago", then


def _compared(now: Rewards, before: Rewards, level: float, name: str) -> Reading:
    """The interval is Welch's, by the normal approximation: `min_sample` exposures on either side make it good."""
    difference = now.mean - before.mean
    margin = NormalDist().inv_cdf((1 + level) / 2) * sqrt(now.variance / now.n + before.variance / before.n)
    return Reading(
        value=difference / abs(before.mean),
        sample=min(now.n, before.n),
        interval=(difference - margin, difference + margin),
        detail=f"{now.mean:.4g} now, {before.mean:.4g} {name}",
    )
