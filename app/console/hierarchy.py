"""The hierarchy of an experiment's metrics as a tree: business metrics, and the proxies under each with what they tell.

Its figures take a second or two, so it is a page of its own, which the experiment's page takes in when it is open, and
a worker remembers it for some minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from flask import Blueprint, current_app

from app.console.rendering import rendered
from app.console.security import services, viewers
from app.reports import EdgeReport, NodeReport, QualityReport, quality_report

__all__ = ["Reports", "blueprint"]

blueprint = Blueprint("hierarchy", __name__, url_prefix="/experiments/<key>/metrics")

_KEPT: Final = timedelta(minutes=5)
_MOST: Final = 100
_VERDICTS: Final = ("trust", "weak", "contradicts", "unknown")
_USUAL_CUT: Final = "@10"


class Reports:
    """The reports that this worker has made lately."""

    def __init__(self) -> None:
        self._known: dict[str, QualityReport] = {}

    def of(self, key: str, now: datetime) -> QualityReport:
        """A report that is at most some minutes old."""
        known = self._known.get(key)
        if known is None or now - known.data_as_of > _KEPT:
            parts = services()
            known = quality_report(parts.database, key, now, aside=parts.aside)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = known
        return known


@dataclass(frozen=True, kw_only=True)
class _Branch:
    """A business metric with its proxies; `others` are those that are shown on demand."""

    node: NodeReport
    proxies: Sequence[tuple[NodeReport, EdgeReport]]
    others: Sequence[tuple[NodeReport, EdgeReport]]


@blueprint.get("")
@viewers
def show(key: str) -> str:
    """The page."""
    reports: Reports = current_app.extensions["hierarchies"]
    report = reports.of(key, datetime.now(UTC))
    nodes = {node.metric: node for node in report.nodes}
    branches = [_branch(node, report, nodes) for node in report.nodes if node.level == "business"]
    return rendered("hierarchy.html", key=key, report=report, branches=branches, nodes=report.nodes)


def _branch(node: NodeReport, report: QualityReport, nodes: dict[str, NodeReport]) -> _Branch:
    """Proxies that feedback tells come first, then those computed from lists; the most trusted before others."""
    edges = [edge for edge in report.edges if edge.business == node.metric]
    pairs = sorted(((nodes[edge.proxy], edge) for edge in edges), key=_order)
    usual = [pair for pair in pairs if _is_usual(pair[0].metric)]
    return _Branch(node=node, proxies=usual, others=[pair for pair in pairs if pair not in usual])


def _order(pair: tuple[NodeReport, EdgeReport]) -> tuple[bool, int, str]:
    return pair[0].level != "online", _VERDICTS.index(pair[1].verdict), pair[0].metric


def _is_usual(metric: str) -> bool:
    """Of metrics with several cut-offs one is enough at first."""
    return "@" not in metric or metric.endswith(_USUAL_CUT)
