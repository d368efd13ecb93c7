"""Every experiment in a row."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import numpy as np

from app.specification import Specification, priors_of
from app.store import alerts as alert_store
from app.store import experiments, timeline
from app.store.allocations import AllocationRecord
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.timeline import MetricStep, Steps, TotalStep
from bandits.statistics import ArmStatistics
from bandits.winning import maximum

__all__ = ["Leaders", "Overview", "Row", "Totals", "overview"]

_MOST_ALERTS: Final = 1000
_HOURS: Final = 24
_HOUR: Final = timedelta(hours=1)
_REMEMBERED: Final = 2000

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """A figure of a day: the whole, and step by step."""

    whole: float | None
    steps: Sequence[float | None] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment."""

    key: str
    state: str
    policy: str
    arms: int
    leader: str | None  # the arm that is the most probable to be the best; None: nothing is known
    probability_best: float | None
    metric: str
    reward: Totals  # mean per exposure; of outcomes that came so far
    decisions: Totals
    fallbacks: int
    business_metric: str | None
    business: Totals | None
    alerts: Sequence[Mapping[str, Any]] = field(default=())


@dataclass(frozen=True, kw_only=True)
class Overview:
    """A page of experiments, and what fires in all of them."""

    rows: Sequence[Row]
    firing: Mapping[str, Sequence[Mapping[str, Any]]]  # alerts by experiment


class Leaders:
    """Who leads in each experiment, by the allocation in force. That never changes, so it is worked out once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[str | None, float | None]] = {}

    def of(self, specification: Specification, allocation: AllocationRecord) -> tuple[str | None, float | None]:
        """The arm that is the most probable to be the best, and that probability; None: nothing is known."""
        place = allocation.experiment, allocation.number
        if place not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[place] = _leader(specification, allocation)
        return self._known[place]


@dataclass(frozen=True, kw_only=True)
class _Day:
    """What was read of all experiments."""

    width: int  # steps
    totals: Mapping[str, Sequence[TotalStep]]
    outcomes: Mapping[tuple[str, str], Sequence[MetricStep]]
    alerts: Mapping[str, Sequence[Mapping[str, Any]]]


def overview(
    database: Database,
    now: datetime,
    *,
    leaders: "Leaders",
    containing: str = "",
    after: str = "",
    limit: int = 100,
    aside: Callable[[Callable[[], list[Row]]], list[Row]] = lambda compute: compute(),
) -> Overview:
    """Experiments in the order of their keys, a page at a time, each with what its last day was like.

    Args:
        database: where to read.
        now: the day ends with it.
        leaders: remembers who leads.
        containing: only keys that this is a part of.
        after: only keys that come after this one.
        limit: most experiments.
        aside: runs a long computation so that it does not hold up requests.
    """
    steps = Steps(since=now - _HOURS * _HOUR, until=now, width_s=_HOUR.total_seconds())
    with database.transaction(snapshot=True) as connection:
        keys = [
            experiment.key
            for experiment in experiments.listed(connection, after=after, limit=limit, containing=containing)
        ]
        pairs = experiments.with_allocation(connection, keys)
        metrics = sorted({metric for e, _ in pairs for metric in _metrics(e.specification) if metric})
        counted = timeline.totals(connection, keys, steps)
        rewarded = timeline.metric_totals(connection, keys, metrics, steps)
        fires = alert_store.page(connection, experiment=None, states=["firing"], before=None, limit=_MOST_ALERTS)
    day = _Day(
        width=_HOURS,
        totals=_grouped(counted, lambda row: row.experiment),
        outcomes=_grouped(rewarded, lambda row: (row.experiment, row.metric)),
        alerts=_grouped(fires, lambda alert: str(alert["experiment"])),
    )
    ordered = sorted(pairs, key=lambda pair: pair[0].key)
    rows = aside(lambda: [_row(experiment, allocation, day, leaders) for experiment, allocation in ordered])
    return Overview(rows=rows, firing=dict(sorted(day.alerts.items())))


def _metrics(specification: Specification) -> tuple[str, str | None]:
    """The reward's metric, and the first business one."""
    business = next((m.key for m in specification.metrics if m.level == "business"), None)
    return specification.reward.metric, business


def _grouped(rows: Iterable[Value], key: Callable[[Value], Hashable]) -> Mapping[Any, list[Value]]:
    found: dict[Hashable, list[Value]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return found


def _row(experiment: Experiment, allocation: AllocationRecord, day: _Day, leaders: "Leaders") -> Row:
    specification = experiment.specification
    metric, business = _metrics(specification)
    leader, best = leaders.of(specification, allocation)
    totals = day.totals.get(experiment.key, [])
    shown = {row.step: row.exposures for row in totals}
    decisions = {row.step: row.decisions for row in totals}
    return Row(
        key=experiment.key,
        state=experiment.state,
        policy=specification.policy.kind,
        arms=len(specification.arms),
        leader=leader,
        probability_best=best,
        metric=metric,
        reward=_per(day.outcomes.get((experiment.key, metric), []), shown, day.width),
        decisions=Totals(whole=sum(decisions.values()), steps=[decisions.get(step, 0) for step in range(day.width)]),
        fallbacks=sum(row.fallbacks for row in totals),
        business_metric=business,
        business=_per(day.outcomes.get((experiment.key, business), []), shown, day.width) if business else None,
        alerts=day.alerts.get(experiment.key, []),
    )


def _per(outcomes: Iterable[MetricStep], shown: Mapping[int, float], width: int) -> Totals:
    """Sums per exposure."""
    sums = {row.step: row.sum for row in outcomes}
    n = sum(shown.values())
    steps = [sums.get(step, 0.0) / shown[step] if shown.get(step) else None for step in range(width)]
    return Totals(whole=sum(sums.values()) / n if n else None, steps=steps)


def _leader(specification: Specification, allocation: AllocationRecord) -> tuple[str | None, float | None]:
    """Who leads, and with which probability, by what the allocation in force was made from."""
    active = [i for i, arm in enumerate(specification.arms) if arm.state == "active"]
    sums = [allocation.evidence.get(key, {}) for key in specification.arm_keys]
    n, total, squares = np.array([[s.get(name, 0.0) for s in sums] for name in ("n", "sum", "sum_of_squares")])
    if not n.any():
        return None, None
    statistics = ArmStatistics(n=n, sum=total, sum_of_squares=squares)
    posterior = specification.reward_model.posterior(statistics, priors_of(specification)).select(np.array(active))
    best = maximum(posterior).probability_best
    return specification.arm_keys[active[int(best.argmax())]], float(best.max())
