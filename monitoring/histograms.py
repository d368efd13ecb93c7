"""Both windows of a feature as one small histogram, to be drawn."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from monitoring.columns import RARE, Windows
from monitoring.lists import IntArray

__all__ = ["histogram"]

_MOST_BINS: Final = 20
_TAIL: Final = 0.5  # percent of the values at either end that lie in the outermost bins, however far away


def histogram(windows: Windows) -> dict[str, Any]:
    """Counts of a feature's values in both windows, side by side, fit for JSON.

    Returns:
        `reference` and `current`, counts of the same length; with `edges` (one more) of bins of numbers, of which the
        first and the last one take what lies beyond them, too, or with `labels` of categories: the 19 most frequent
        ones, and `(rare)` for the others. Empty without values.
    """
    if not windows.n:
        return {}
    if windows.kind == "numeric":
        return _of_numbers(windows)
    return _of_categories(windows)


def _of_numbers(windows: Windows) -> dict[str, Any]:
    both = np.concatenate([windows.reference, windows.current])
    low, high = np.percentile(both, [_TAIL, 100 - _TAIL])
    edges = np.linspace(low, high if high > low else low + 1, _MOST_BINS + 1)
    halves = (
        np.histogram(np.clip(half, edges[0], edges[-1]), edges)[0] for half in (windows.reference, windows.current)
    )
    return {"edges": edges.tolist(), **_counts(np.stack(list(halves)))}


def _of_categories(windows: Windows) -> dict[str, Any]:
    counts = windows.counts
    order = np.argsort(-counts.table.sum(axis=0), kind="stable")
    kept = order if order.size <= _MOST_BINS else order[: _MOST_BINS - 1]
    table, labels = counts.table[:, kept], [counts.label(int(at)) for at in kept]
    if kept.size < order.size:
        rest = counts.table.sum(axis=1, keepdims=True) - table.sum(axis=1, keepdims=True)
        table, labels = np.hstack([table, rest]), [*labels, RARE]
    return {"labels": labels, **_counts(table)}


def _counts(table: IntArray) -> dict[str, list[int]]:
    return {"reference": table[0].tolist(), "current": table[1].tolist()}
