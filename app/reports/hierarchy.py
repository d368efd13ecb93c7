"""The metric hierarchy of an experiment: business metrics, the proxies under them, and what these are worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

import numpy as np
import sqlalchemy as sa

from app.errors import InvalidInput, NotFound
from app.learning import last_mature_bucket
from app.reports.edges import edges_of
from app.reports.hierarchy_shapes import ArmValue, DayValue, NodeReport, QualityReport, UnitSample
from app.reports.measures import Level, Measure, computed_measures, declared_measures, level_of
from app.specification import Specification
from app.store import experiments, metric_values
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.hierarchy import OutcomeWindow, UnitSums, cell_sums, unit_sums

__all__ = ["quality_report"]

_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_USUAL_DAYS, _MOST_DAYS, _MOST_CELLS = 28, 92, 500_000
_MOST_UNITS: Final = 10_000
_PATIENCE_S: Final = 10.0

_NO_BUSINESS: Final = (
    "no metric of level business is declared; PATCH the experiment with metrics that have one, as "
    '{"key": "revenue", "level": "business", "aggregation": "sum"}, and send feedback for it'
)
_NO_PROXY: Final = "there is no online or offline metric to compare with the business metrics"
_NOTHING: Final = "no exposure that counts is mature in this window"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """What was read."""

    window: OutcomeWindow
    measures: Sequence[Measure]
    units: UnitSums


def quality_report(
    database: Database,
    key: str,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    level: float = 0.95,
    aside: Callable[[Callable[[], Any]], Any] = lambda compute: compute(),
) -> QualityReport:
    """The metric hierarchy in a window of whole UTC days.

    Args:
        database: where to read.
        key: the experiment's.
        now: which exposures are mature is judged by it.
        since: the window begins with its day; None: 28 days before the end.
        until: the window ends before this moment, or with its day; None: now.
        level: of the intervals, between 0 and 1.
        aside: runs a long computation so that it does not hold up requests.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: the window is empty or too long.
    """
    with database.transaction(snapshot=True) as connection:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise NotFound(f"There is no experiment {key!r}")
        read = _read(connection, experiment, now, since=since, until=until)
    nodes = [_node(measure, read.window) for measure in read.measures]
    edges, reasons = aside(lambda: edges_of(read.measures, read.window.arms, read.units.decisions, level=level))
    return QualityReport(
        experiment=key,
        data_as_of=now,
        since=read.window.since,
        until=read.window.until,
        level=level,
        sample=UnitSample(units=read.units.decisions.size, share=read.units.share, since=read.units.read_from),
        nodes=nodes,
        edges=edges,
        unavailable=_reasons(read.measures, nodes) | reasons,
    )


def _read(
    connection: sa.Connection, experiment: Experiment, now: datetime, *, since: datetime | None, until: datetime | None
) -> _Read:
    specification = experiment.specification
    arms = tuple(arm.key for arm in experiments.arms_of(connection, experiment.key))
    metrics = _in_order(specification)
    start, end = _window(now, since, until, most=_MOST_CELLS // (len(arms) * len(metrics)))
    window = OutcomeWindow(
        experiment=experiment.key,
        arms=arms,
        metrics=metrics,
        since=start,
        until=end,
        mature_bucket=last_mature_bucket(specification, now),
    )
    units = unit_sums(connection, window, most=_MOST_UNITS, patience_s=_PATIENCE_S)
    declared = declared_measures(specification, metrics, cell_sums(connection, window), units)
    offline = metric_values.read(
        connection, experiment.key, since=start, until=end, levels=["offline"], window_s=int(_DAY.total_seconds())
    )
    known = {measure.key: measure for measure in computed_measures(offline, arms, start, window.n_days)}
    known |= {measure.key: measure for measure in declared}
    rank = get_args(Level).index
    return _Read(window=window, measures=sorted(known.values(), key=lambda m: (rank(m.level), m.key)), units=units)


def _in_order(specification: Specification) -> tuple[str, ...]:
    """Keys of all metrics that feedback may carry, the business ones first."""
    rank = get_args(Level).index
    return tuple(sorted(specification.metric_keys, key=lambda key: (rank(level_of(specification, key)), key)))


def _window(now: datetime, since: datetime | None, until: datetime | None, *, most: int) -> tuple[datetime, datetime]:
    """Whole days.

    Raises:
        InvalidInput: it is empty or too long.
    """
    most = max(1, min(most, _MOST_DAYS))
    end = -(-(min(until or now, now) - _EPOCH) // _DAY) * _DAY + _EPOCH
    if end < _EPOCH + 2 * _MOST_DAYS * _DAY:
        raise InvalidInput.at("#", f"query parameter until is too early: the window would end at {end.isoformat()}")
    start = end - min(_USUAL_DAYS, most) * _DAY if since is None else (since - _EPOCH) // _DAY * _DAY + _EPOCH
    if start >= end:
        raise InvalidInput.at("#", f"query parameter since must be before {end.isoformat()}, the end of the window")
    if end - start > most * _DAY:
        days = f"{(end - start) // _DAY} days are too many: with its arms and metrics this experiment may have {most}"
        raise InvalidInput.at("#", f"{days}; move since or until")
    return start, end


def _node(measure: Measure, window: OutcomeWindow) -> NodeReport:
    counts = measure.n.sum(axis=1)
    by_arm = zip(window.arms, measure.arms.tolist(), counts.tolist(), strict=True)
    days = zip(measure.days.tolist(), measure.day_n.tolist(), strict=True)
    return NodeReport(
        metric=measure.key,
        level=measure.level,
        value=_known(measure.value),
        n=int(measure.day_n.sum()),
        arms=[ArmValue(arm=arm, value=_known(value), n=int(n)) for arm, value, n in by_arm],
        trend=[
            DayValue(day=window.since + number * _DAY, value=value, n=int(n))
            for number, (value, n) in enumerate(days)
            if n > 0
        ],
    )


def _reasons(measures: Sequence[Measure], nodes: Sequence[NodeReport]) -> dict[str, str]:
    """Why values of nodes are null, or there are no edges."""
    reasons = {f"#/nodes/{at}/value": _NOTHING for at, node in enumerate(nodes) if node.value is None}
    for at, node in enumerate(nodes):
        reasons |= {f"#/nodes/{at}/arms/{i}/value": _NOTHING for i, arm in enumerate(node.arms) if arm.value is None}
    if not any(measure.level == "business" for measure in measures):
        reasons["#/edges"] = _NO_BUSINESS
    elif all(measure.level == "business" for measure in measures):
        reasons["#/edges"] = _NO_PROXY
    return reasons


def _known(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return value if np.isfinite(value) else None
