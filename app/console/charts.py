"""Data of charts: bounded, as JSON for the script and as a table for everybody else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from flask import Response, json, render_template

from app.console.formats import as_json
from app.reports.timeline import Series

__all__ = ["MOST_LINES", "Chart", "answer"]

MOST_LINES: Final = 7  # more cannot be told apart
_MOST_ROWS: Final = 120

Kind = Literal["line", "stack", "density"]
Format = Literal["number", "percent"]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a chart shows.

    Attributes:
        title: with the quantity and its unit.
        kind: how it is drawn.
        format: of its values.
        x: times in seconds since 1970; of a density, mean rewards.
        series: a line each, in the order of the legend.
        range: of the time axis; None: as far as there are figures.
        events: what is marked on the time axis: `at` (seconds), `kind`, `text`.
        colours: arms in the order of the colours, so that one has the same in every chart; empty: that of the series.
        thresholds: of alerts: what they are, and their values, drawn as lines across.
        note: what the figures are, in a sentence.
    """

    title: str
    kind: Kind
    format: Format
    x: Sequence[float]
    series: Sequence[Series]
    range: tuple[float, float] | None = None
    events: Sequence[dict[str, Any]] = field(default=())
    colours: Sequence[str] = ()
    thresholds: Sequence[tuple[str, float]] = ()
    note: str = ""


def answer(chart: Chart, form: str, *, back: tuple[str, str]) -> Response:
    """The chart as JSON, or as a page with a table and the way back: its name and URL."""
    if form == "json":
        body = {
            "kind": chart.kind,
            "range": chart.range,
            "format": chart.format,
            "x": as_json(chart.x) if chart.kind == "density" else [round(x) for x in chart.x],
            "series": [
                {**_as_json(series), "colour": _colour(chart, place)} for place, series in enumerate(chart.series)
            ],
            "thresholds": [{"label": label, "value": value} for label, value in chart.thresholds],
            "events": [{**event, "at": round(event["at"].timestamp())} for event in chart.events],
        }
        return Response(json.dumps(body, separators=(",", ":")), content_type="application/json")
    return Response(render_template("chart.html", chart=chart, rows=_rows(chart), banded=_is_banded(chart), back=back))


def _as_json(series: Series) -> dict[str, Any]:
    parts = {"label": series.arm, "values": series.values, "lower": series.lower, "upper": series.upper}
    return {name: as_json(part) for name, part in parts.items() if len(part)}


def _colour(chart: Chart, place: int) -> int:
    arm = chart.series[place].arm
    return chart.colours.index(arm) if arm in chart.colours else place


def _is_banded(chart: Chart) -> bool:
    return any(len(series.lower) for series in chart.series)


def _rows(chart: Chart) -> list[dict[str, Any]]:
    """Rows of the table, the newest first, thinned out where there are many."""
    every = -(-len(chart.x) // _MOST_ROWS) or 1
    places = range(len(chart.x) - 1, -1, -every) if chart.kind != "density" else range(0, len(chart.x), every)
    return [
        {
            "x": chart.x[i] if chart.kind == "density" else datetime.fromtimestamp(chart.x[i], UTC),
            "cells": [
                (s.values[i], (s.lower[i], s.upper[i]) if len(s.lower) and s.lower[i] is not None else None)
                for s in chart.series
            ],
        }
        for i in places
    ]
