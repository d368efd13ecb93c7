"""Dashboards for Grafana, made from the table of instruments: `python -m monitoring.dashboards FOLDER`.

Each instrument has one panel, which follows from its kind: counters are shown as rates, histograms as quantiles,
gauges as they are. So a new instrument is on a dashboard without anybody drawing it, and none is there that is gone.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from monitoring.exposition import prometheus_name
from monitoring.instruments import INSTRUMENTS, Instrument

__all__ = ["dashboards", "main", "unit_of"]

# UCUM to Grafana. What is in braces is counted; `1` is shown as it is, since not every such figure is a share.
_UNITS: Final = {"s": "s", "By": "bytes", "1": "none"}
_QUANTILES: Final = (0.5, 0.95, 0.99)
_WIDTH, _HEIGHT = 12, 8
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
# These would make many lines of one that matters.
_NOT_SPLIT_BY: Final = {"http.request.method", "http.response.status_code", "outcome"}
_BURN_WINDOWS: Final = ("5m", "1h", "6h", "3d")


def dashboards() -> dict[str, dict[str, Any]]:
    """All dashboards in Grafana's JSON, by the names of their files."""
    service = [i for i in INSTRUMENTS if "experiment" not in i.labels]
    experiments = [i for i in INSTRUMENTS if "experiment" in i.labels]
    return {
        "croupier-service.json": _dashboard("service", [_burn(), *map(_panel, service)], variables=[]),
        "croupier-experiments.json": _dashboard("experiments", list(map(_panel, experiments)), [_experiment()]),
    }


def unit_of(instrument: Instrument) -> str:
    """The unit of an instrument's panel, as Grafana names it."""
    if instrument.unit in _UNITS:
        return _UNITS[instrument.unit]
    counted = instrument.unit.strip("{}")
    return f"suffix: {counted}s/s" if instrument.kind == "counter" else f"suffix: {counted}s"


def main(folder: Path) -> None:
    """Writes the dashboards into a folder, which is made when it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, dashboard in dashboards().items():
        (folder / name).write_text(json.dumps(dashboard, indent=2) + "\n")


def _dashboard(what: str, panels: Sequence[dict[str, Any]], variables: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "uid": f"croupier-{what}",
        "title": f"Croupier: {what}",
        "tags": ["croupier"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,  # one cross-hair for all panels
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["croupier"], "title": "Croupier", "keepTime": True}],
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, *variables]},
        "panels": [{**panel, "id": n + 1, "gridPos": _place(n)} for n, panel in enumerate(panels)],
    }


def _place(n: int) -> dict[str, int]:
    """Two panels a row."""
    return {"x": n % 2 * _WIDTH, "y": n // 2 * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}


def _experiment() -> dict[str, Any]:
    query = "label_values(croupier_decision_total, experiment)"
    return {
        "name": "experiment",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "experiment"},
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(instrument: Instrument) -> dict[str, Any]:
    queries = {"counter": _rates, "gauge": _values, "histogram": _quantiles}[instrument.kind](instrument)
    return _graph(instrument.name, instrument.help, unit_of(instrument), queries)


def _burn() -> dict[str, Any]:
    """How fast error budgets are spent; deploy/prometheus/rules/slo.yml records it."""
    queries = [(f"croupier:slo_burn:rate{window}", f"{{{{slo}}}} over {window}") for window in _BURN_WINDOWS]
    return _graph("Error budget burn", "1 spends the budget of 30 days in 30 days.", "none", queries)


def _rates(instrument: Instrument) -> list[tuple[str, str]]:
    by, legend = _split(instrument, instrument.labels)
    series = f"{prometheus_name(instrument)}_total{_selector(instrument)}"
    return [(f"sum{by} (rate({series}[$__rate_interval]))", legend)]


def _values(instrument: Instrument) -> list[tuple[str, str]]:
    """Machines are put together as the processes of one are: the newest value is that of the one that is active."""
    by, legend = _split(instrument, instrument.labels)
    combine = "sum" if instrument.merge == "livesum" else "max"
    return [(f"{combine}{by} ({prometheus_name(instrument)}{_selector(instrument)})", legend)]


def _quantiles(instrument: Instrument) -> list[tuple[str, str]]:
    by, legend = _split(instrument, [label for label in instrument.labels if label not in _NOT_SPLIT_BY], "le")
    buckets = f"{prometheus_name(instrument)}_bucket{_selector(instrument)}"
    return [
        (f"histogram_quantile({q}, sum{by} (rate({buckets}[$__rate_interval])))", f"p{q * 100:g} {legend}".strip())
        for q in _QUANTILES
    ]


def _split(instrument: Instrument, labels: Sequence[str], *more: str) -> tuple[str, str]:
    """The `by` clause of an aggregation, and the legend of what it leaves."""
    names = [label.replace(".", "_") for label in labels]
    legend = " ".join(f"{{{{{name}}}}}" for name in names)
    clause = ", ".join((*names, *more))
    return (f" by ({clause})" if clause else ""), legend or ("" if more else instrument.name)


def _selector(instrument: Instrument) -> str:
    return '{experiment=~"$experiment"}' if "experiment" in instrument.labels else ""


def _graph(title: str, description: str, unit: str, queries: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "custom": {"showPoints": "never"}}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(queries)
        ],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
