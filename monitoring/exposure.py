"""How often each item of the catalogue is recommended, and how evenly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitoring.lists import IntArray, blocks

__all__ = ["entropy", "exposure", "gini"]


def exposure(recommended: npt.ArrayLike, k: int, *, n_items: int) -> tuple[IntArray, int]:
    """In how many lists each item stands within k, ndarray of shape (n_items,), and the number of unknown slots."""
    counts, unknown = np.zeros(n_items, dtype=np.int64), 0
    for block in blocks(recommended, k, n_items=n_items):
        counts += np.bincount(block.items[block.items >= 0], minlength=n_items)
        unknown += int(block.unknown.sum())
    return counts, unknown


def entropy(counts: IntArray) -> float:
    """Shannon's entropy of exposure, −Σ p log2 p, in bits; nan when nothing was shown."""
    shown = counts[counts > 0] / max(1, counts.sum())
    return float(-(shown @ np.log2(shown)) + 0.0) if shown.size else np.nan


def gini(counts: IntArray) -> float:
    """Gini coefficient of exposure, Σ_j (2j − n − 1) c_(j) ÷ n Σ c, within [0, 1); nan when nothing was shown."""
    n, total = counts.size, int(counts.sum())
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float(ranks @ np.sort(counts)) / (n * total) if total else np.nan
