"""The metrics of an experiment side by side: by arm and day, and by unit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from app.specification import Specification
from app.store.hierarchy import CellSums, UnitSums
from app.store.metric_values import MetricValue

__all__ = ["Level", "Measure", "computed_measures", "declared_measures", "level_of"]

Level = Literal["business", "online", "offline"]
Floats = npt.NDArray[np.float64]

_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measure:
    """One metric in a window.

    Attributes:
        key: its name; of one that is cut off at k, `name@k`.
        level: where it stands in the hierarchy.
        totals: value × n by arm and day, shape (n_arms, n_days).
        n: what the value rests on, shape (n_arms, n_days).
        day_totals: of all arms together, shape (n_days,).
        day_n: likewise.
        units: one value a unit, nan where it has none, shape (n_units,); None: it is no property of units.
    """

    key: str
    level: Level
    totals: Floats
    n: Floats
    day_totals: Floats
    day_n: Floats
    units: Floats | None

    @property
    def cells(self) -> Floats:
        """The mean of each arm on each day, shape (n_arms, n_days); nan without data."""
        return _mean(self.totals, self.n)

    @property
    def arms(self) -> Floats:
        """The mean of each arm, shape (n_arms,); nan without data."""
        return _mean(self.totals.sum(axis=1), self.n.sum(axis=1))

    @property
    def days(self) -> Floats:
        """The mean of each day, shape (n_days,); nan without data."""
        return _mean(self.day_totals, self.day_n)

    @property
    def value(self) -> float:
        """The mean; nan without data."""
        return float(_mean(self.day_totals.sum(keepdims=True), self.day_n.sum(keepdims=True))[0])


def level_of(specification: Specification, metric: str) -> Level:
    """Where a metric stands; the reward's is online unless it is declared otherwise."""
    return next((m.level for m in specification.metrics if m.key == metric), "online")


def declared_measures(
    specification: Specification, metrics: Sequence[str], cells: CellSums, units: UnitSums
) -> list[Measure]:
    """The metrics that feedback carries: means per exposure, and sums per unit.

    An exposure without an outcome counts as 0; of the reward as its default, or, with `missing: explicit`, not at all.
    """
    reward = specification.reward
    measures = []
    for index, key in enumerate(metrics):
        default = reward.default if key == reward.metric else 0.0
        is_explicit = key == reward.metric and reward.missing == "explicit"
        observed, of_units = cells.observed[index], units.observed[index]
        n = observed if is_explicit else cells.exposures
        totals = cells.sums[index] + default * (n - observed)
        sums = units.sums[index] + (0.0 if is_explicit else default * (units.decisions - of_units))
        measures.append(
            Measure(
                key=key,
                level=level_of(specification, key),
                totals=totals,
                n=n.astype(np.float64),
                day_totals=totals.sum(axis=0),
                day_n=n.sum(axis=0).astype(np.float64),
                units=np.where(of_units > 0, sums, np.nan) if is_explicit else sums,
            )
        )
    return measures


def computed_measures(
    values: Sequence[MetricValue], arms: Sequence[str], since: datetime, n_days: int
) -> Iterator[Measure]:
    """Offline metrics of whole days, by name and cut-off.

    Args:
        values: one a day, arm, metric and cut-off.
        arms: keys, in the order of the result.
        since: midnight of the first day.
        n_days: how many days there are.
    """
    place: dict[str, Any] = {arm: index for index, arm in enumerate(arms)} | {"": len(arms)}
    kinds = sorted({(value.metric, value.k) for value in values})
    tables = {kind: np.zeros((2, len(arms) + 1, n_days)) for kind in kinds}
    for value in values:
        if value.value is not None and value.arm in place:
            cell = place[value.arm], (value.window_start - since) // _DAY
            tables[value.metric, value.k][:, *cell] = value.value * value.n, value.n
    for (metric, k), (totals, n) in tables.items():
        yield Measure(
            key=f"{metric}@{k}" if k else metric,
            level="offline",
            totals=totals[:-1],
            n=n[:-1],
            day_totals=totals[-1],
            day_n=n[-1],
            units=None,
        )


def _mean(totals: Floats, n: Floats) -> Floats:
    mean: Floats = np.full(totals.shape, np.nan)
    np.divide(totals, n, out=mean, where=n > 0)
    return mean
