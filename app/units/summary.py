"""A unit beside everybody: what is counted of it, and of the whole experiment in the same days."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from app.errors import CroupierError
from app.ids import new_id
from app.serving.allocations import Allocations
from app.serving.decide import choose
from app.store import units
from app.store.database import cursor_of
from app.store.decisions import DecisionRow
from app.store.units import Population, Range
from app.units.shapes import Assigned, Figures, Summary, UnitExperiment

__all__ = ["summarise"]

# A unit with more decisions than that is no person.
_MOST_DECISIONS = 2_000
_DAY = timedelta(days=1)
_DRAWN = ("policy", "warm_up")


@dataclass(frozen=True, kw_only=True)
class _Log:
    """A unit's decisions, oldest first, which of them are exposures, and what came of these."""

    decisions: Sequence[DecisionRow]
    exposed: frozenset[UUID]
    outcomes: Mapping[UUID, Mapping[str, float]]

    def of(self, experiment: str) -> "_Log":
        """Those of one experiment."""
        mine = [decision for decision in self.decisions if decision.experiment == experiment]
        return _Log(decisions=mine, exposed=self.exposed, outcomes=self.outcomes)


def summarise(
    connection: sa.Connection,
    allocations: Allocations,
    *,
    unit: str,
    since: datetime,
    until: datetime,
    experiment: str | None,
) -> Summary:
    """The figures of the whole UTC days that a range touches: old statistics are kept by the day.

    Args:
        connection: where to read.
        allocations: what the unit would get now is chosen from.
        unit: whose.
        since: start of the range.
        until: its end, after its start.
        experiment: only this one; None: all that the unit has a decision of, or that have an override for it.
    """
    first, end = _start_of_day(since), _start_of_day(until - timedelta(microseconds=1)) + _DAY
    days = Range.between(first, end)
    found = units.newest(cursor_of(connection), unit, days, experiment=experiment, limit=_MOST_DECISIONS + 1)
    log = _read_log(connection, found[:_MOST_DECISIONS][::-1])
    named = [key for key in units.naming(connection, unit) if experiment in (None, key)]
    keys = sorted({decision.experiment for decision in log.decisions}.union(named))
    return Summary(
        since=first,
        until=end,
        cut=len(found) > _MOST_DECISIONS,
        experiments=[
            _beside(allocations, key, unit, log.of(key), units.population(connection, key, first, end)) for key in keys
        ],
    )


def _start_of_day(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _read_log(connection: sa.Connection, decisions: Sequence[DecisionRow]) -> _Log:
    cursor = cursor_of(connection)
    awaiting = [decision.decision_id for decision in decisions if decision.awaits_confirmation]
    confirmed = {UUID(row["decision_id"]) for row in units.events_about(cursor, "exposures", awaiting)}
    outcomes: dict[UUID, dict[str, float]] = {}
    for row in units.events_about(cursor, "outcomes", [decision.decision_id for decision in decisions]):
        outcomes.setdefault(UUID(row["decision_id"]), {})[row["metric"]] = row["value"]
    return _Log(
        decisions=decisions,
        exposed=frozenset(
            d.decision_id
            for d in decisions
            if d.learnable and (not d.awaits_confirmation or d.decision_id in confirmed)
        ),
        outcomes=outcomes,
    )


def _beside(allocations: Allocations, experiment: str, unit: str, log: _Log, population: Population) -> UnitExperiment:
    served = allocations.find(experiment)
    specification = served.specification
    metric = specification.reward.metric
    exposed = [decision.decision_id for decision in log.decisions if decision.decision_id in log.exposed]
    totals: dict[str, float] = {}
    for name, value in (pair for decision_id in exposed for pair in log.outcomes.get(decision_id, {}).items()):
        totals[name] = totals.get(name, 0.0) + value
    mine = Population(
        arms=dict(Counter(decision.arm for decision in log.decisions)), exposures=len(exposed), totals=totals
    )
    return UnitExperiment(
        experiment=experiment,
        metric=metric,
        assignment=specification.assignment,
        assigned=_assigned(allocations, experiment, unit),
        unit=_figures(mine, metric, [decision.items for decision in log.decisions]),
        population=_figures(population, metric),
    )


def _figures(counted: Population, metric: str, lists: Sequence[Sequence[str]] | None = None) -> Figures:
    """What follows from the counts; `lists` are the unit's, oldest first."""
    decisions = sum(counted.arms.values())
    return Figures(
        decisions=decisions,
        exposures=counted.exposures,
        reward_rate=counted.totals.get(metric, 0.0) / counted.exposures if counted.exposures else None,
        value_per_decision={name: total / decisions for name, total in sorted(counted.totals.items()) if decisions},
        arms=dict(sorted(counted.arms.items())),
        distinct_items=None if lists is None else len({item for shown in lists for item in shown}),
        repeat_exposure=None if lists is None else _repeat_exposure(lists),
    )


def _repeat_exposure(lists: Sequence[Sequence[str]]) -> float | None:
    """Share of places that held an item of an earlier list; None without any place."""
    seen: set[str] = set()
    places = repeats = 0
    for shown in lists:
        places += len(shown)
        repeats += sum(item in seen for item in shown)
        seen.update(shown)
    return repeats / places if places else None


def _assigned(allocations: Allocations, experiment: str, unit: str) -> Assigned | None:
    """What the unit would get now; None: nothing, since the experiment gives no recommendations."""
    served = allocations.find(experiment)
    try:
        choice = choose(served, unit, new_id())
    except CroupierError:  # it is neither running nor paused
        return None
    if choice.reason in _DRAWN and served.race is None:
        return Assigned(reason=choice.reason, arm=None, propensity=None)
    return Assigned(reason=choice.reason, arm=served.arms[choice.arm].key, propensity=choice.propensity)
