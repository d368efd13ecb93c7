"""The edges of the metric hierarchy: each proxy under each business metric."""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from app.reports.hierarchy_shapes import ArmOrderReport, AssociationReport, EdgeReport
from app.reports.measures import Measure
from monitoring.hierarchy import ArmOrders, Association, by_cells, by_units, compare_arms, judge

__all__ = ["edges_of"]

_SEED: Final = 0  # the same figures at each look at the same data
_PATIENCE_S: Final = 10.0

_NO_UNITS: Final = "it is computed from lists, not from what units did"
_NO_ORDER: Final = "needs two arms with both"
_TOO_LONG: Final = "there were too many to compute; ask for a shorter window, or declare fewer metrics"


def edges_of(
    measures: Sequence[Measure], arms: Sequence[str], decisions: npt.NDArray[np.int64], *, level: float
) -> tuple[list[EdgeReport], dict[str, str]]:
    """Every edge, and why figures of them are null, by JSON pointer.

    Args:
        measures: all metrics.
        arms: keys, in the order of the measures.
        decisions: of each unit, in the order of the measures.
        level: of the intervals.
    """
    rng, began = np.random.default_rng(_SEED), time.monotonic()
    edges: list[EdgeReport] = []
    reasons: dict[str, str] = {}
    for proxy, business in _pairs(measures):
        if time.monotonic() - began > _PATIENCE_S:
            units = cells = Association.refused(_TOO_LONG)
        else:
            units = _over_units(proxy, business, decisions, rng, level)
            cells = by_cells(proxy.cells, business.cells, rng, level=level)
        orders = compare_arms(arms, proxy.arms, business.arms)
        pointer = f"#/edges/{len(edges)}"
        reasons |= {f"{pointer}/{path}": why for path, why in _reasons(units, cells, orders).items()}
        verdict = judge(units, cells, orders)
        edges.append(
            EdgeReport(
                proxy=proxy.key,
                business=business.key,
                by_units=_association(units),
                by_cells=_association(cells),
                arms=_orders(orders),
                verdict=verdict.word,
                why=verdict.why,
            )
        )
    return edges, reasons


def _pairs(measures: Sequence[Measure]) -> Iterator[tuple[Measure, Measure]]:
    for business in (measure for measure in measures if measure.level == "business"):
        for proxy in (measure for measure in measures if measure.level != "business"):
            yield proxy, business


def _over_units(
    proxy: Measure, business: Measure, decisions: npt.NDArray[np.int64], rng: np.random.Generator, level: float
) -> Association:
    if proxy.units is None or business.units is None:
        return Association.refused(_NO_UNITS)
    return by_units(proxy.units, business.units, decisions, rng, level=level)


def _reasons(units: Association, cells: Association, orders: ArmOrders) -> dict[str, str]:
    """Why figures of an edge are null, by their place in it."""
    reasons = {} if orders.agrees is not None else dict.fromkeys(("arms/agrees", "arms/same_best"), _NO_ORDER)
    for place, association in (("by_units", units), ("by_cells", cells)):
        reasons |= {f"{place}/{name}": why for name, why in association.plain.reasons.items()}
        reasons |= {f"{place}/adjusted_{name}": why for name, why in association.adjusted.reasons.items()}
    return reasons


def _association(association: Association) -> AssociationReport:
    return AssociationReport(
        pairs=association.pairs,
        rho=association.plain.rho,
        interval=association.plain.interval,
        adjusted_rho=association.adjusted.rho,
        adjusted_interval=association.adjusted.interval,
    )


def _orders(orders: ArmOrders) -> ArmOrderReport:
    return ArmOrderReport(
        order_by_proxy=orders.by_proxy,
        order_by_business=orders.by_business,
        agrees=orders.agrees,
        same_best=orders.same_best,
    )
