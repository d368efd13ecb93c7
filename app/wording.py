"""Numbers as people read them: sensible digits, and no share that looks more certain than it is."""

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["interval", "number", "percent", "seconds", "signed", "size"]

_NONE: Final = "–"
_LARGE: Final = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))
_TINY: Final = 1e-5


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
    if abs(value) < _TINY:
        return f"{'−' if value < 0 else ''}< 0.00001"
    return _plain(value, digits).replace("-", "−")


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
    return _NONE if value is None else f"{number(value[0], digits)} … {number(value[1], digits)}"


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


def _plain(value: float, digits: int) -> str:
    """Significant digits without exponent, while that is readable."""
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    return f"{value:,.{max(digits - 1 - magnitude, 0)}f}"
