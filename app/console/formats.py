"""How numbers and times look: sensible digits, and the viewer's own zone."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from flask import Flask
from markupsafe import Markup

__all__ = ["ago", "install", "moment", "number", "percent", "sparkline"]

_NONE: Final = "–"
_SPARKLINE: Final = (
    '<svg class="spark" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{words}">'
    '<title>{words}</title><polyline points="{points}"/></svg>'
)
_LARGE: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


def install(app: Flask) -> None:
    """Gives templates these as filters."""
    for filter_ in (number, signed, percent, moment, ago, sparkline, seconds, interval, size):
        app.jinja_env.filters[filter_.__name__] = filter_


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, whole numbers whole up to 9,999, thousands as k."""
    if value is None or not math.isfinite(value):
        return _NONE
    if abs(value) < 1e4 and float(value).is_integer():
        return f"{value:,.0f}"
    for unit, name in _LARGE:
        if abs(value) >= unit / (10 if name == "k" else 1):
            scaled = value / (1e3 if name == "k" else unit)
            return f"{_plain(scaled, digits)} {name}"
    return _plain(value, digits)


def signed(value: float | None, digits: int = 3) -> str:
    """A difference: with its sign."""
    return _NONE if value is None else ("+" if value > 0 else "−" if value < 0 else "±") + number(abs(value), digits)


def percent(value: float | None, digits: int = 1) -> str:
    """A share; never rounded to a certainty."""
    if value is None or not math.isfinite(value):
        return _NONE
    smallest = 10.0**-digits
    shown = 100 * value
    if 0 < shown < smallest / 2:
        return f"< {smallest:.{digits}f} %"
    if 100 - smallest / 2 < shown < 100:
        return f"> {100 - smallest:.{digits}f} %"
    return f"{shown:.{digits}f} %" if 0 < shown < 100 else f"{shown:.0f} %"


def interval(value: Sequence[float] | None, digits: int = 3) -> str:
    """Its two ends."""
    return _NONE if value is None else f"{_ends(value[0], digits)} … {_ends(value[1], digits)}"


def seconds(value: float | None) -> str:
    """A duration, in the unit that suits it."""
    if value is None or not math.isfinite(value):
        return _NONE
    for unit, name in ((1e-3, "ms"), (1, "s"), (60, "min"), (3600, "h"), (86_400, "d")):
        if value < {"ms": 1, "s": 120, "min": 7200, "h": 172_800}.get(name, math.inf):
            return f"{_plain(value / unit, 2 if value / unit < 10 else 3)} {name}"
    return _NONE


def size(value: float) -> str:
    """Bytes."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit:
            return f"{_plain(value / unit, 3)} {name}"
    return f"{value:.0f} B"


def moment(value: datetime | None) -> Markup:
    """A time that a script shows in the viewer's zone; UTC on hover, and without the script."""
    if value is None:
        return Markup("–")
    text = value.astimezone(UTC)
    stamp, plain = text.isoformat(timespec="seconds"), text.strftime("%Y-%m-%d %H:%M UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(stamp, plain, plain)


def ago(value: datetime | None, now: datetime) -> str:
    """How long ago, roughly."""
    return _NONE if value is None else f"{seconds(max((now - value).total_seconds(), 0))} ago"


def sparkline(values: Sequence[float | None], label: str = "", width: int = 96, height: int = 22) -> Markup:
    """A line of a day, as a picture that says in words what it shows."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Markup('<span class="quiet">–</span>')
    low, high = min(known), max(known)
    spread = (high - low) or 1.0
    step = (width - 4) / (len(values) - 1)
    points = " ".join(
        f"{2 + i * step:.0f},{height - 3 - (height - 6) * (value - low) / spread:.1f}"
        for i, value in enumerate(values)
        if value is not None
    )
    words = (
        f"{label}: {number(known[0])} a day ago, {number(known[-1])} now; lowest {number(low)}, highest {number(high)}"
    )
    return Markup(_SPARKLINE).format(  # noqa: S704 - ours; what is put in is escaped
        w=width, h=height, words=words, points=points
    )


def _plain(value: float, digits: int) -> str:
    """Significant digits without exponent, while that is readable."""
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude < -5:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(digits - 1 - magnitude, 0)}f}"


def _ends(value: float, digits: int) -> str:
    return number(value, digits).replace("-", "−")


def as_json(value: Any) -> Any:  # noqa: ANN401 - whatever a chart needs
    """Rounds numbers for a chart: six digits are more than a screen shows."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: as_json(part) for key, part in value.items()}
    return [as_json(part) for part in value] if isinstance(value, list | tuple) else value
