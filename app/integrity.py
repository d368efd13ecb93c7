"""Whether traffic is what it seems: figures of closed windows of five minutes, for alerts.

- `unit_concentration`: the probability that two decisions of a window are of one unit (Simpson's index, unbiased).
  Units that ask for very much, such as bots, raise it; more or less traffic of the same kind does not.
- `overdue_share`: of the events of the reward metric that were received in the window, the share that came after the
  attribution window in which they occurred. The learner has counted them as missing by then.
- `repeated_share`: of the events received that name an item, the share that says again, under another event_id, what an
  earlier one has said.
"""

from datetime import UTC, datetime, timedelta
from math import sqrt

from msgspec.structs import replace

from app.store import experiments, integrity
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.integrity import UnitCounts
from app.store.metric_values import MetricValue, put

__all__ = ["WINDOW", "last_closed", "measure"]

WINDOW = timedelta(minutes=5)
# What was received in a window is committed a little later.
_SETTLED = timedelta(seconds=30)
# Events are looked for among the decisions of so many attribution windows, but for no more than a day.
_ATTRIBUTION_WINDOWS = 4
_FURTHEST = timedelta(days=1)


def last_closed(now: datetime) -> datetime:
    """The end of the last window that is over."""
    width = WINDOW.total_seconds()
    return datetime.fromtimestamp((now - _SETTLED).timestamp() // width * width, UTC)


def measure(database: Database, until: datetime) -> int:
    """Works out and keeps the figures of the window that ends then, of all experiments; returns how many.

    Raises:
        Unavailable: the database is away.
    """
    since = until - WINDOW
    with database.transaction() as connection:
        known = {experiment.key: experiment for experiment in experiments.all_of(connection)}
        oldest = since - _reach([*known.values()])
        counted = integrity.units(connection, since, until)
        received = integrity.events(connection, since, until, oldest=oldest)
        values = [_concentration(each, since) for each in counted]
        values += [_share("overdue_share", each.experiment, since, each.overdue, each.rewards) for each in received]
        values += [_share("repeated_share", each.experiment, since, each.repeats, each.placed) for each in received]
        put(connection, values)
    return len(values)


def _reach(known: list[Experiment]) -> timedelta:
    """How far back the decisions may lie that events are about."""
    windows = (timedelta(seconds=_ATTRIBUTION_WINDOWS * e.specification.reward.window_s) for e in known)
    return min(max(windows, default=_FURTHEST), _FURTHEST)


def _concentration(counts: UnitCounts, since: datetime) -> MetricValue:
    """The U-statistic of order 2 and its standard error (Hoeffding, Annals of Mathematical Statistics 1948, §5)."""
    n = counts.decisions
    figure = _figure("unit_concentration", counts.experiment, since, n)
    if n < 3:
        return figure
    same = counts.pairs / (n * (n - 1))
    thrice = counts.triples / (n * (n - 1) * (n - 2))
    variance = (4 * (n - 2) * max(thrice - same**2, 0) + 2 * (same - same**2)) / (n * (n - 1))
    return replace(figure, value=same, detail={"error": sqrt(variance)})


def _share(metric: str, experiment: str, since: datetime, part: int, whole: int) -> MetricValue:
    figure = _figure(metric, experiment, since, whole)
    return replace(figure, value=part / whole) if whole else figure


def _figure(metric: str, experiment: str, since: datetime, n: int) -> MetricValue:
    """A figure that there is nothing to measure of, yet."""
    width_s = int(WINDOW.total_seconds())
    return MetricValue(experiment=experiment, level="data", window_start=since, window_s=width_s, metric=metric, n=n)
