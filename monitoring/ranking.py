"""Accuracy of ranked lists at a cut-off k.

All take item indices in rank order, an int array of shape (n_lists, k_max) padded with −1, and the relevant items of
each list (see `ItemSets.of`). Lists without a relevant item are left out and counted as skipped; a list shorter than
k has empty slots, it is never divided by its own length; a repeated item counts at its first rank only; items outside
the catalogue (`n_items`, when given) are not relevant, and counted. An empty list with relevant items scores 0.

The definitions are those of trec_eval (https://github.com/usnistgov/trec_eval); values are within [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from monitoring.lists import Block, FloatArray, IntArray, ItemSets, ListMetric, Sets, one_set_each, per_list

__all__ = ["average_precision", "hit_rate", "ndcg", "precision", "recall", "reciprocal_rank"]

_Hits = npt.NDArray[np.bool_]
_Score = Callable[[_Hits, IntArray], npt.ArrayLike]  # hits (n_rows, at most k), relevant items (n_rows,)


def precision(recommended: npt.ArrayLike, relevant: Sets, k: int, *, n_items: int | None = None) -> ListMetric:
    """Share of the k slots that hold a relevant item: Σ_{r≤k} h_r / k."""
    return _scored(recommended, relevant, k, n_items, lambda hits, _: hits.sum(axis=1) / k)


def recall(recommended: npt.ArrayLike, relevant: Sets, k: int, *, n_items: int | None = None) -> ListMetric:
    """Share of the relevant items that are in the first k slots: Σ_{r≤k} h_r / R."""
    return _scored(recommended, relevant, k, n_items, lambda hits, n_relevant: hits.sum(axis=1) / n_relevant)


def hit_rate(recommended: npt.ArrayLike, relevant: Sets, k: int, *, n_items: int | None = None) -> ListMetric:
    """Whether any of the first k slots holds a relevant item, 0 or 1."""
    return _scored(recommended, relevant, k, n_items, lambda hits, _: hits.any(axis=1).astype(np.float64))


def reciprocal_rank(recommended: npt.ArrayLike, relevant: Sets, k: int, *, n_items: int | None = None) -> ListMetric:
    """1 / rank of the first relevant item; 0 when there is none within k."""
    return _scored(recommended, relevant, k, n_items, lambda hits, _: (hits / _ranks(hits)).max(axis=1, initial=0.0))


def average_precision(
    recommended: npt.ArrayLike,
    relevant: Sets,
    k: int,
    *,
    normalise: Literal["relevant", "min"] = "relevant",
    n_items: int | None = None,
) -> ListMetric:
    """Precision at the rank of each hit, added up and divided by R: (1/R) Σ_{r≤k} h_r · (Σ_{s≤r} h_s) / r.

    Args:
        recommended: shape (n_lists, k_max).
        relevant: the relevant items of each list.
        k: cut-off.
        normalise: "relevant" divides by R, as trec_eval's map_cut does; "min" by min(k, R), so that a perfect list
            scores 1 even when more than k items are relevant.
        n_items: size of the catalogue.
    """

    def score(hits: _Hits, n_relevant: IntArray) -> FloatArray:
        total = (hits * hits.cumsum(axis=1) / _ranks(hits)).sum(axis=1)
        divisor = np.minimum(n_relevant, k) if normalise == "min" else n_relevant
        average: FloatArray = total / divisor
        return average

    if normalise not in {"relevant", "min"}:
        raise ValueError(f'normalise must be "relevant" or "min", got {normalise!r}')
    return _scored(recommended, relevant, k, n_items, score)


def ndcg(recommended: npt.ArrayLike, relevant: Sets, k: int, *, n_items: int | None = None) -> ListMetric:
    """Discounted gain of the first k slots over the largest possible: Σ_{r≤k} g_r / log2(r + 1) ÷ the ideal order's.

    Järvelin and Kekäläinen (2002), with trec_eval's discount, as its ndcg_cut. Sets with gains grade the items, and a
    gain enters as it is: give 2^grade − 1 for exponential gains. In sets without gains each item counts 1.
    """
    sets = one_set_each(recommended, relevant)

    def measure(block: Block) -> tuple[FloatArray]:
        got = sets.gains_at(sets.find(block)) @ _discounts(block.items.shape[1])
        return (_ratio(got, _ideal(sets, block, k)),)

    (values,), unknown, repeats = per_list(recommended, k, measure, n_items=n_items)
    return ListMetric(values=values, unknown=unknown, repeats=repeats)


def _scored(recommended: npt.ArrayLike, relevant: Sets, k: int, n_items: int | None, score: _Score) -> ListMetric:
    sets = one_set_each(recommended, relevant)

    def measure(block: Block) -> tuple[FloatArray]:
        n_relevant = sets.sizes_in(block)
        value = score(sets.find(block) >= 0, np.maximum(n_relevant, 1))
        return (np.where(n_relevant > 0, value, np.nan),)

    (values,), unknown, repeats = per_list(recommended, k, measure, n_items=n_items)
    return ListMetric(values=values, unknown=unknown, repeats=repeats)


def _ranks(hits: _Hits) -> IntArray:
    return np.arange(1, hits.shape[1] + 1)


def _discounts(n: int) -> FloatArray:
    discounts: FloatArray = 1 / np.log2(np.arange(2, n + 2))
    return discounts


def _ideal(sets: ItemSets, block: Block, k: int) -> FloatArray:
    """The largest discounted gain that each list can have, its k largest gains in order: ndarray of shape (n_rows,)."""
    rows, sizes = sets.rows(block), sets.sizes_in(block)
    gains = sets.gains_at(sets.offsets[block.first] + np.arange(rows.size))
    rank = np.arange(rows.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    top = rank < k
    largest_first = gains[np.lexsort((-gains, rows))]
    weights = largest_first[top] * _discounts(k)[rank[top]]
    return np.bincount(rows[top], weights=weights, minlength=len(block.items)).astype(np.float64)


def _ratio(got: FloatArray, ideal: FloatArray) -> FloatArray:
    ratio = np.full(got.shape, np.nan)
    np.divide(got, ideal, out=ratio, where=ideal > 0)
    np.minimum(ratio, 1.0, out=ratio)  # nan stays; rounding does not exceed 1
    return ratio
