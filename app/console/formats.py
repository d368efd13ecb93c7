"""What templates do with values: numbers in words, times in the viewer's own zone, a day as a line."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from flask import Flask
from markupsafe import Markup

from app.console.pictures import distributions
from app.wording import interval, number, percent, seconds, signed, size

__all__ = ["as_json", "install", "moment", "sparkline"]

_SPARKLINE: Final = (
    '<svg class="spark" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{words}">'
    '<title>{words}</title><polyline points="{points}"/></svg>'
)


def install(app: Flask) -> None:
    """Gives templates these as filters."""
    for filter_ in (distributions, interval, moment, number, percent, seconds, signed, size, sparkline):
        app.jinja_env.filters[filter_.__name__] = filter_


def moment(value: datetime | str | None) -> Markup:
    """A time that a script shows in the viewer's zone; UTC on hover, and without the script. ISO 8601 will do."""
    if value is None:
        return Markup("–")
    text = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    stamp, plain = text.isoformat(timespec="seconds"), text.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, plain, plain)


def sparkline(values: Sequence[float | None], label: str = "", *, span: str = "a day ago") -> Markup:
    """A line of a day, as a picture that says in words what it shows."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="quiet">–</span>')
    width, height = 96, 22
    low, high = min(known), max(known)
    spread = (high - low) or 1.0
    step = (width - 4) / (len(values) - 1)
    points = " ".join(
        f"{2 + i * step:.0f},{height - 3 - (height - 6) * (value - low) / spread:.1f}"
        for i, value in enumerate(values)
        if value is not None
    )
    words = f"{label}: {number(known[0])} {span}, {number(known[-1])} now; lowest {number(low)}, highest {number(high)}"
    return Markup(_SPARKLINE).format(  # noqa: S704 - ours; what is put in is escaped
        w=width, h=height, words=words, points=points
    )


def as_json(value: Any) -> Any:  # noqa: ANN401 - whatever a chart needs
    """Rounds numbers for a chart: six digits are more than a screen shows."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, list | tuple) else value
