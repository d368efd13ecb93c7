"""Whether a proxy tells what the business metric would: rank correlations, the order of the arms, and a verdict.

Business metrics are on top, online proxies under them, offline metrics at the bottom. docs/quality.md has the
definitions and the rule. numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from monitoring.lists import FloatArray, IntArray
from monitoring.rank_correlation import Correlation, Pairs, rank_correlation

__all__ = [
    "MARGIN",
    "MIN_CELLS",
    "MIN_DAYS",
    "MIN_UNITS",
    "MIN_VARIED",
    "ArmOrders",
    "Association",
    "Verdict",
    "VerdictWord",
    "by_cells",
    "by_units",
    "compare_arms",
    "judge",
]

VerdictWord = Literal["trust", "weak", "contradicts", "unknown"]

MIN_UNITS: Final = 30
MIN_CELLS: Final = 10
MIN_DAYS: Final = 10  # for an interval: days are drawn, and of fewer it is too narrow
MIN_VARIED: Final = 10  # units with another value than the most common one, for an interval
MARGIN: Final = 0.1  # correlations up to there are of no use, however sure they are
MIN_ARMS_ALONE: Final = (
    5  # fewer arms agree by chance too often when units say nothing: 1 of 24 orders of four is right
)

_FEW: Final = 16  # numbers of decisions up to there are strata of their own; above, each stratum is a fifth wider
_STRATA_AN_OCTAVE: Final = 4


@dataclass(frozen=True)
class Association:
    """How a proxy goes with a business metric.

    Attributes:
        pairs: units or cells with both.
        plain: over all pairs.
        adjusted: with ranks among units with as many decisions, or among the arms of one day.
    """

    pairs: int
    plain: Correlation
    adjusted: Correlation

    @classmethod
    def refused(cls, why: str, *, pairs: int = 0) -> Association:
        """Nothing can be said, and why."""
        none = Correlation(reasons={"rho": why, "interval": why})
        return cls(pairs, none, none)


@dataclass(frozen=True)
class ArmOrders:
    """The arms that have both metrics, best first; arms that are equal keep their order.

    Attributes:
        by_proxy: keys.
        by_business: keys.
        agrees: whether both orders are the same, equals included; None: there are fewer than two arms.
        same_best: whether the same arms are at the top; None likewise.
    """

    by_proxy: tuple[str, ...]
    by_business: tuple[str, ...]
    agrees: bool | None
    same_best: bool | None


@dataclass(frozen=True)
class Verdict:
    """What to make of a proxy, and why."""

    word: VerdictWord
    why: str


def by_units(
    proxy: FloatArray, business: FloatArray, decisions: IntArray, rng: np.random.Generator, *, level: float = 0.95
) -> Association:
    """Over units; in the bootstrap units are drawn.

    Who comes often has more of everything, so the adjusted figure compares units with as many decisions.

    Args:
        proxy: one value a unit, shape (n_units,); nan: it has none.
        business: likewise.
        decisions: how many each unit has, at least 1, shape (n_units,).
        rng: of the bootstrap.
        level: of the intervals.
    """
    has_both = ~(np.isnan(proxy) | np.isnan(business))
    proxy, business, strata = proxy[has_both], business[has_both], _activity(decisions[has_both])
    if proxy.size < MIN_UNITS:
        return Association.refused(f"needs {MIN_UNITS} units with both, there are {proxy.size}", pairs=proxy.size)
    varied = min(_varied(proxy), _varied(business))
    doubt = f"needs {MIN_VARIED} units that differ from the most common value, there are {varied}"
    pairs = Pairs(proxy, business, strata)
    return _association(pairs, rng, level=level, doubt=doubt if varied < MIN_VARIED else None)


def by_cells(proxy: FloatArray, business: FloatArray, rng: np.random.Generator, *, level: float = 0.95) -> Association:
    """Over cells of arm and day; in the bootstrap whole days are drawn, arms stay.

    What moves a day, such as a week-end, moves all its cells, so cells are no independent draws: with four arms,
    intervals from cells drawn one by one held the truth in 83 to 88 % instead of 95 %. For the same reason the adjusted
    figure compares the arms of one day.

    Args:
        proxy: one value a cell, shape (n_arms, n_days); nan: it has none.
        business: likewise.
        rng: of the bootstrap.
        level: of the intervals.
    """
    has_both = ~(np.isnan(proxy) | np.isnan(business))
    days = np.unique(np.nonzero(has_both)[1], return_inverse=True)[1].astype(np.int64)
    n_days = int(days.max(initial=-1)) + 1
    if days.size < MIN_CELLS:
        why = f"needs {MIN_CELLS} cells of arm and day with both, there are {days.size}"
        return Association.refused(why, pairs=days.size)
    doubt = f"needs {MIN_DAYS} days with both, there are {n_days}"
    pairs = Pairs(proxy[has_both], business[has_both], days, days)
    return _association(pairs, rng, level=level, doubt=doubt if n_days < MIN_DAYS else None)


def compare_arms(arms: Sequence[str], proxy: FloatArray, business: FloatArray) -> ArmOrders:
    """The order of the arms by either metric.

    Args:
        arms: keys.
        proxy: of each arm, shape (n_arms,); nan: it has none, and is left out.
        business: likewise.
    """
    has_both = np.flatnonzero(~(np.isnan(proxy) | np.isnan(business)))
    proxy, business = proxy[has_both], business[has_both]
    orders = [tuple(arms[has_both[i]] for i in np.argsort(-metric, kind="stable")) for metric in (proxy, business)]
    if has_both.size < 2:
        return ArmOrders(orders[0], orders[1], None, None)
    places = [np.unique(-metric, return_inverse=True)[1] for metric in (proxy, business)]
    same_best = np.array_equal(places[0] == 0, places[1] == 0)
    return ArmOrders(orders[0], orders[1], np.array_equal(places[0], places[1]), same_best)


def judge(units: Association, cells: Association, arms: ArmOrders) -> Verdict:
    """The verdict on a proxy, by the adjusted figures.

    Arms are what the proxy is to choose between, so what it says of the arms of one day comes first.
    """
    across_arms, across_units = cells.adjusted.interval, units.adjusted.interval
    if across_arms is None:
        return _by_units_alone(across_units)
    if across_arms[1] < -MARGIN:
        return Verdict("contradicts", "of the arms of a day, those with more of it have less of the business metric")
    doubt = _doubt(across_arms, across_units, arms)
    if doubt is not None:
        return Verdict("weak", doubt)
    return Verdict("trust", "arms and units with more of it have more of the business metric; the best arm is the same")


def _doubt(across_arms: tuple[float, float], across_units: tuple[float, float] | None, arms: ArmOrders) -> str | None:
    """What keeps a proxy from being trusted that does not contradict."""
    if across_arms[0] <= MARGIN:
        return "it does not tell the arms of a day apart as the business metric does, or not surely"
    if not arms.same_best:
        return "it tells arms apart as the business metric does, but another arm is the best by it"
    if across_units is not None and across_units[0] <= MARGIN:
        return "arms agree, but units with more of it do not surely have more of the business metric"
    if across_units is None and len(arms.by_proxy) < MIN_ARMS_ALONE:
        return f"{len(arms.by_proxy)} arms agree by chance too often, and units do not tell"
    return None


def _by_units_alone(across_units: tuple[float, float] | None) -> Verdict:
    if across_units is not None and across_units[1] < -MARGIN:
        return Verdict("contradicts", "units with more of it have less of the business metric; arms cannot tell yet")
    if across_units is not None and across_units[0] > MARGIN:
        return Verdict("weak", "units with more of it have more of the business metric; arms cannot tell yet")
    return Verdict("unknown", "arms cannot tell yet, and units do not")


def _association(pairs: Pairs, rng: np.random.Generator, *, level: float, doubt: str | None) -> Association:
    """Both correlations; without intervals if there is a doubt."""
    together = Pairs(pairs.x, pairs.y, np.zeros_like(pairs.strata), pairs.blocks)
    plain, adjusted = (rank_correlation(each, rng, level=level) for each in (together, pairs))
    if doubt is not None:
        plain, adjusted = _without_interval(plain, doubt), _without_interval(adjusted, doubt)
    return Association(pairs.n, plain, adjusted)


def _without_interval(correlation: Correlation, why: str) -> Correlation:
    if correlation.rho is None:
        return correlation
    return Correlation(correlation.rho, None, {"interval": why})


def _activity(decisions: IntArray) -> IntArray:
    """Stratum of units with as many decisions; many decisions share one with similar numbers."""
    above = _FEW + np.floor(_STRATA_AN_OCTAVE * np.log2(np.maximum(decisions, 1) / _FEW))
    return np.where(decisions <= _FEW, decisions, above).astype(np.int64)


def _varied(values: FloatArray) -> int:
    """How many values are not the most common one."""
    counts = np.unique(values, return_counts=True)[1]
    return int(values.size - counts.max(initial=0))
