"""Lists of recommended items, and sets of items, as arrays: what all metrics of quality work on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["PAD", "Block", "ItemSets", "ListMetric", "Sets", "blocks", "one_set_each", "per_list"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PAD: Final = -1  # an empty slot of a list

_BLOCK_NUMBERS: Final = 1 << 18  # numbers held at once, per working array


@dataclass(frozen=True, eq=False)
class ItemSets:
    """One set of items per list, all in one array: those that are relevant, or a unit's history.

    Attributes:
        offsets: set s is `items[offsets[s]:offsets[s + 1]]`, ndarray of shape (n_sets + 1,).
        items: item indices, ascending within a set and without repeats, ndarray of shape (n_pairs,).
        gains: how relevant each item is, above 0, ndarray of shape (n_pairs,); None when all are alike.
    """

    offsets: IntArray
    items: IntArray
    gains: FloatArray | None = None

    @classmethod
    def of(cls, sets: Sets) -> ItemSets:
        """The sets as given: boolean ndarray of shape (n_sets, n_items), or one collection of indices per list.

        Mappings from item to gain make graded sets; items of gain 0 are not in the set.
        """
        if isinstance(sets, ItemSets):
            return sets
        if isinstance(sets, np.ndarray):
            rows, items = np.nonzero(_mask(sets))
            return cls.from_pairs(rows, items, n_sets=len(sets))
        sizes = np.array([len(each) for each in sets], dtype=np.int64)
        items = np.fromiter(chain.from_iterable(sets), dtype=np.int64, count=int(sizes.sum()))
        return cls.from_pairs(np.repeat(np.arange(len(sets)), sizes), items, n_sets=len(sets), gains=_gains(sets))

    @classmethod
    def from_pairs(
        cls, sets: npt.ArrayLike, items: npt.ArrayLike, *, n_sets: int, gains: npt.ArrayLike | None = None
    ) -> ItemSets:
        """The sets of (set, item) pairs in any order, as a query gives them; a repeated pair has its largest gain.

        Args:
            sets: index of the set of each pair, 0 to n_sets − 1, shape (n_pairs,).
            items: index of the item of each pair, 0 or more, shape (n_pairs,).
            n_sets: number of sets, those without items included.
            gains: gain of each pair, 0 or more, shape (n_pairs,).

        Raises:
            ValueError: when an index or a gain is outside its range, or the lengths differ.
        """
        row, item = np.asarray(sets, dtype=np.int64), np.asarray(items, dtype=np.int64)
        gain = np.ones(row.size) if gains is None else np.asarray(gains, dtype=np.float64)
        _check_pairs(row, item, gain, n_sets)
        order = np.lexsort((-gain, item, row))
        row, item, gain = row[order], item[order], gain[order]
        kept = gain > 0
        kept[1:] &= (row[1:] != row[:-1]) | (item[1:] != item[:-1])
        offsets = np.zeros(n_sets + 1, dtype=np.int64)
        np.cumsum(np.bincount(row[kept], minlength=n_sets), out=offsets[1:])
        return cls(offsets, item[kept], None if gains is None else gain[kept])

    @property
    def sizes(self) -> IntArray:
        """Number of items of each set, ndarray of shape (n_sets,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return self.offsets.size - 1

    def take(self, sets: npt.ArrayLike) -> ItemSets:
        """Some of the sets, by their indices and in that order; one may be taken more than once."""
        taken = np.asarray(sets, dtype=np.int64)
        offsets = np.zeros(taken.size + 1, dtype=np.int64)
        np.cumsum(self.sizes[taken], out=offsets[1:])
        at = np.repeat(self.offsets[taken] - offsets[:-1], np.diff(offsets)) + np.arange(offsets[-1])
        return ItemSets(offsets, self.items[at], None if self.gains is None else self.gains[at])

    def users_by_item(self, n_items: int) -> IntArray:
        """In how many sets each item is, ndarray of shape (n_items,)."""
        counts: IntArray = np.bincount(self.items[self.items < n_items], minlength=n_items)
        return counts

    def find(self, block: Block) -> IntArray:
        """Where in `items` each slot's item stands, within the slot's own list's set; −1 where it is not in it.

        Returns:
            ndarray of the block's shape.
        """
        begin, end = self.offsets[block.first], self.offsets[block.first + len(block.items)]
        if begin == end:
            return np.full(block.items.shape, -1)
        items = self.items[begin:end]
        span = int(items.max()) + 1
        # Pairs in order are numbers in order, so one binary search finds all of them.
        pairs = self.rows(block) * span + items
        wanted = np.arange(len(block.items))[:, None] * span + block.items
        at = np.minimum(np.searchsorted(pairs, wanted), items.size - 1)
        found = (pairs[at] == wanted) & (block.items >= 0) & (block.items < span)
        return np.where(found, begin + at, -1)

    def sizes_in(self, block: Block) -> IntArray:
        """Number of items of the set of each of the block's lists, ndarray of shape (n_rows,)."""
        return np.diff(self.offsets[block.first : block.first + len(block.items) + 1])

    def rows(self, block: Block) -> IntArray:
        """Row within the block of each pair of the block's sets."""
        return np.repeat(np.arange(len(block.items)), self.sizes_in(block))

    def gains_at(self, at: IntArray) -> FloatArray:
        """Gains of the pairs that `find` found: 1 without gains, 0 where nothing was found; ndarray of `at`'s shape."""
        found = (at >= 0).astype(np.float64)
        return found if self.gains is None or not self.gains.size else found * self.gains[at]


Sets = ItemSets | npt.NDArray[Any] | Sequence[Collection[int] | Mapping[int, float]]


@dataclass(frozen=True, eq=False)
class Block:
    """Some of the lists, cut at k. Repeats and unknown items are empty slots in it, and counted.

    Attributes:
        first: index of its first list.
        items: ndarray of shape (n_rows, at most k), each item once, at its first rank; `PAD` elsewhere.
        unknown: number of slots with items outside the catalogue, ndarray of shape (n_rows,).
        repeats: number of slots with an item that stood before in the list, ndarray of shape (n_rows,).
    """

    first: int
    items: IntArray
    unknown: IntArray
    repeats: IntArray

    @property
    def filled(self) -> IntArray:
        """Number of distinct known items of each list, ndarray of shape (n_rows,)."""
        filled: IntArray = (self.items >= 0).sum(axis=1)
        return filled


@dataclass(frozen=True, kw_only=True, eq=False)
class ListMetric:
    """A metric's value for each list.

    Attributes:
        values: ndarray of shape (n_lists,); nan where the metric is not defined, so that the list is left out.
        unknown: slots within k whose item is not in the catalogue.
        repeats: slots within k whose item stood before in the same list.
    """

    values: FloatArray
    unknown: int
    repeats: int

    @property
    def evaluated(self) -> int:
        """Number of lists that have a value."""
        return int(np.count_nonzero(~np.isnan(self.values)))

    @property
    def skipped(self) -> int:
        """Number of lists that were left out."""
        return self.values.size - self.evaluated

    @property
    def mean(self) -> float:
        """Mean over the evaluated lists; nan when there are none."""
        return float(np.nansum(self.values)) / self.evaluated if self.evaluated else np.nan


def one_set_each(recommended: npt.ArrayLike, sets: Sets) -> ItemSets:
    """The sets that belong to the lists.

    Raises:
        ValueError: when there is not one per list.
    """
    checked, n_lists = ItemSets.of(sets), len(np.asarray(recommended))
    if len(checked) != n_lists:
        raise ValueError(f"{n_lists} lists need one set of items each, got {len(checked)}")
    return checked


def blocks(recommended: npt.ArrayLike, k: int, *, n_items: int | None = None, width: int = 1) -> Iterator[Block]:
    """The lists, some at a time, so that memory does not grow with their number.

    Args:
        recommended: item indices in rank order, int array of shape (n_lists, k_max), padded with −1.
        k: cut-off, 1 or more.
        n_items: size of the catalogue; indices from there on are unknown. Without it every item is known.
        width: numbers that the caller will hold per slot.

    Raises:
        ValueError: when `recommended` is no such array, or k is below 1.
    """
    lists = _checked(recommended, k)[:, :k]
    step = max(1, _BLOCK_NUMBERS // max(1, lists.shape[1] * width))
    for first in range(0, len(lists), step):
        yield _block(first, lists[first : first + step].astype(np.int64), n_items)


def per_list(
    recommended: npt.ArrayLike,
    k: int,
    measure: Callable[[Block], Sequence[npt.NDArray[Any]]],
    *,
    n_items: int | None = None,
    width: int = 1,
) -> tuple[list[FloatArray], int, int]:
    """Columns of numbers, one per list, that `measure` gives block by block.

    Returns:
        The columns, each an ndarray of shape (n_lists,); the number of unknown slots; that of repeats.
    """
    parts = [
        (measure(block), int(block.unknown.sum()), int(block.repeats.sum()))
        for block in blocks(recommended, k, n_items=n_items, width=width)
    ] or [(measure(_block(0, np.empty((0, k), dtype=np.int64), n_items)), 0, 0)]
    columns = [np.concatenate(column).astype(np.float64) for column in zip(*(part[0] for part in parts), strict=True)]
    return columns, sum(part[1] for part in parts), sum(part[2] for part in parts)


def _block(first: int, items: IntArray, n_items: int | None) -> Block:
    unknown = np.zeros(items.shape, dtype=bool) if n_items is None else items >= n_items
    items[unknown] = PAD
    repeats = np.zeros(len(items), dtype=np.int64)
    ordered = np.sort(items, axis=1)
    suspects = np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1))
    if suspects.size:
        again = _repeated(items[suspects])
        repeats[suspects] = again.sum(axis=1)
        items[suspects] = np.where(again, PAD, items[suspects])
    return Block(first, items, unknown.sum(axis=1), repeats)


def _repeated(items: IntArray) -> npt.NDArray[np.bool_]:
    """Which slots hold an item that stood before in their row."""
    order = np.argsort(items, axis=1, kind="stable")
    ordered = np.take_along_axis(items, order, axis=1)
    again = np.zeros(items.shape, dtype=bool)
    later = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    np.put_along_axis(again, order[:, 1:], later, axis=1)
    return again


def _checked(recommended: npt.ArrayLike, k: int) -> npt.NDArray[np.integer[Any]]:
    lists = np.asarray(recommended)
    if lists.ndim != 2 or lists.dtype.kind not in "iu":
        raise ValueError(f"recommended must be integers of shape (n_lists, k_max), got {lists.dtype} {lists.shape}")
    if k < 1:
        raise ValueError(f"the cut-off k must be 1 or more, got {k}")
    if lists.size and lists.min() < PAD:
        raise ValueError(f"item indices are 0 or more, and -1 is an empty slot; got {lists.min()}")
    return lists


def _check_pairs(rows: IntArray, items: IntArray, gains: FloatArray, n_sets: int) -> None:
    if not rows.shape == items.shape == gains.shape or rows.ndim != 1:
        raise ValueError(f"each pair needs a set and an item, got shapes {rows.shape}, {items.shape}, {gains.shape}")
    if rows.size and not 0 <= rows.min() <= rows.max() < n_sets:
        raise ValueError(f"sets must be within 0 to {n_sets - 1}, got {rows.min()} to {rows.max()}")
    if items.size and items.min() < 0:
        raise ValueError(f"item indices of sets are 0 or more, got {items.min()}")
    if not (np.isfinite(gains) & (gains >= 0)).all():
        raise ValueError("gains must be finite and 0 or more")


def _mask(sets: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if sets.ndim != 2 or sets.dtype != np.bool_:
        raise ValueError(f"sets as an array must be boolean of shape (n_sets, n_items), got {sets.dtype} {sets.shape}")
    return sets


def _gains(sets: Sequence[Collection[int] | Mapping[int, float]]) -> list[float] | None:
    graded = [each for each in sets if isinstance(each, Mapping)]
    if not graded:
        return None
    if len(graded) < len(sets):
        raise ValueError("either every set has gains or none: give mappings only, or collections only")
    return [float(gain) for each in graded for gain in each.values()]
