"""Small pictures that need no script: SVG made here, whose figures stand in a table beside them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from markupsafe import Markup

__all__ = ["Span", "bars", "distributions", "interval_line", "lanes"]

_WIDTH: Final = 300
_HEIGHT: Final = 72
_LONGEST_NAME: Final = 34


class Span(NamedTuple):
    """A part of time in which an alert fired."""

    since: datetime
    until: datetime
    severity: str


def distributions(histogram: Mapping[str, Any]) -> Markup:
    """Both windows of a feature: the reference filled, the current one as a line over it. Shares of each window."""
    reference, current = histogram["reference"], histogram["current"]
    shares = [[count / (sum(counts) or 1) for count in counts] for counts in (reference, current)]
    highest = max(*map(max, shares), 1e-12)
    width = _WIDTH / len(reference)
    tops = [[_HEIGHT * (1 - share / highest) for share in half] for half in shares]
    filled = Markup("").join(
        Markup('<rect class="then" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            i * width + 0.5, top, width - 1, _HEIGHT - top
        )
        for i, top in enumerate(tops[0])
    )
    outline = " ".join(f"{x:.1f},{top:.1f}" for i, top in enumerate(tops[1]) for x in (i * width, (i + 1) * width))
    line = Markup('<polyline class="now" points="{}"/>').format(outline)
    return _picture(filled + line, _WIDTH, _HEIGHT, "Both distributions; the table has the figures")


def bars(values: Sequence[float], labels: Sequence[str], words: str) -> Markup:
    """Bars beside each other, each with its label under it."""
    width, height = 560, 130
    highest, step = max([*values, 1e-12]), width / max(len(values), 1)
    drawn = Markup("")
    for i, (value, label) in enumerate(zip(values, labels, strict=True)):
        tall = height * value / highest
        drawn += Markup('<rect class="fill" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            i * step + 2, height - tall, step - 4, tall
        )
        drawn += Markup('<text class="quiet" text-anchor="middle" x="{:.1f}" y="{}">{}</text>').format(
            (i + 0.5) * step, height + 15, label
        )
    return _picture(drawn, width, height + 20, words)


def interval_line(
    value: float | None, ends: Sequence[float], within: tuple[float, float], *, mark: float, width: int = 260
) -> Markup:
    """An estimate and its interval on an axis that several of them share; `mark` is what they are compared with."""
    low, high = within
    scale = (width - 8) / ((high - low) or 1.0)

    def at(x: float) -> str:
        return f"{4 + (min(max(x, low), high) - low) * scale:.1f}"

    drawn = Markup('<line class="mark" x1="{0}" x2="{0}" y1="0" y2="20"/>').format(at(mark))
    if value is not None:
        drawn += Markup('<line class="span" x1="{}" x2="{}" y1="10" y2="10"/>').format(at(ends[0]), at(ends[1]))
        drawn += Markup('<circle class="dot" cx="{}" cy="10" r="3.5"/>').format(at(value))
    return _picture(drawn, width, 20, "The interval; its ends stand beside it")


def lanes(spans: Mapping[str, Sequence[Span]], since: datetime, until: datetime) -> Markup:
    """A lane for each name, with bars where it has spans. The names are part of the picture."""
    width, names, row = 1000, 220, 20
    scale = (width - names) / (until - since).total_seconds()
    drawn = Markup("")
    for at, (name, parts) in enumerate(spans.items()):
        drawn += Markup('<rect class="rail" x="{}" y="{}" width="{}" height="12" rx="2"/>').format(
            names, at * row + 4, width - names
        )
        drawn += Markup('<text x="0" y="{}">{}</text>').format(at * row + 14, _cut(name))
        for part in parts:
            x = names + (max(part.since, since) - since).total_seconds() * scale
            length = max((part.until - max(part.since, since)).total_seconds() * scale, 3)
            drawn += Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="12" rx="2"/>').format(
                part.severity, min(x, width - length), at * row + 4, length
            )
    return _picture(drawn, width, len(spans) * row + 4, "When alerts fired; the table below has each change")


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _picture(drawn: Markup, width: float, height: float, words: str) -> Markup:
    return Markup(
        '<svg class="picture" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img"'
        ' aria-label="{words}">{drawn}</svg>'
    ).format(w=width, h=height, words=words, drawn=drawn)
