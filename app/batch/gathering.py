"""From the rows of the log to arrays: lists of item numbers, who chose and made them, and what came of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from monitoring.lists import PAD, FloatArray, IntArray, ItemSets
from monitoring.popularity import Popularity

__all__ = ["NOBODY", "Index", "Reference", "WindowLists", "gather", "gather_reference"]

NOBODY: Final = -1  # the number of the arm that made the fallback list

_Row = Sequence[Any]


class Index(dict[str, int]):
    """Numbers for words, from 0 in the order in which they are first asked for."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowLists:
    """The n decisions of a window, in the order of their ids, all about one experiment.

    Attributes:
        arms: keys of the arms that were chosen or answered, ascending.
        n_units: how many units there are, numbered from 0.
        items: ndarray of shape (n, width): numbers of the items in rank order, cut at the largest k, padded with −1.
        filled: whether the list held any item, ndarray of shape (n,).
        chosen: index of the arm that was chosen, shape (n,).
        served: index of the arm whose items were given, shape (n,); `NOBODY`: none's.
        unit: shape (n,).
        counts: whether it is an exposure that is learned from, shape (n,).
        outcome: what feedback was folded into, shape (n,); nan: nothing came.
        delay_s: seconds until the first feedback, shape (n,); nan: nothing came.
        liked: of each decision the items that its own feedback was positive about.
    """

    arms: tuple[str, ...]
    n_units: int
    items: npt.NDArray[np.int32]
    filled: npt.NDArray[np.bool_]
    chosen: IntArray
    served: IntArray
    unit: IntArray
    counts: npt.NDArray[np.bool_]
    outcome: FloatArray
    delay_s: FloatArray
    liked: ItemSets

    def __len__(self) -> int:
        return self.unit.size

    def of_listing_arms(self, arm: IntArray) -> npt.NDArray[np.bool_]:
        """Decisions of arms that gave any items in the window: arms whose answer is a payload never do.

        Args:
            arm: `chosen` or `served`.

        Returns:
            ndarray of shape (n,).
        """
        listing = np.zeros(len(self.arms) + 1, dtype=bool)  # at last `NOBODY`'s, whose number is −1
        listing[arm[self.filled]] = True
        return listing[arm]

    @cached_property
    def liked_by_unit(self) -> ItemSets:
        """Of each unit the items that it gave positive feedback in the window, through any decision."""
        rows = np.repeat(np.arange(len(self)), self.liked.sizes)
        return ItemSets.from_pairs(self.unit[rows], self.liked.items, n_sets=self.n_units)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What was known before the window.

    Attributes:
        history: of each unit of the window the items that it gave positive feedback before.
        popularity: of the catalogue's items; None: nobody gave any feedback, or there is no item.
    """

    history: ItemSets
    popularity: Popularity | None


@dataclass(frozen=True)
class _Piece:
    """Some rows as arrays; arms by number, in the order in which they are met."""

    items: npt.NDArray[np.int32]
    columns: FloatArray  # filled, chosen, served, unit, counts, outcome, delay; shape (n_rows, 7)
    liked: list[int]
    liked_sizes: list[int]


def gather(
    pieces: Iterable[Sequence[_Row]], items: Index, units: Index, *, width: int, tick: Callable[[int], object]
) -> WindowLists:
    """All decisions of a window.

    Args:
        pieces: as `app.store.lists.lists` gives them.
        items: numbers of the catalogue's items; others are added.
        units: to be filled.
        width: how many slots of a list are kept.
        tick: told the number of rows after each piece.
    """
    arms = Index()
    read: list[_Piece] = []
    for piece in pieces:
        read.append(_piece(piece, arms, items, units, width))
        tick(len(piece))
    columns = np.concatenate([np.empty((0, 7)), *(piece.columns for piece in read)])
    sizes = np.concatenate([np.empty(0, dtype=np.int64), *(np.array(p.liked_sizes, dtype=np.int64) for p in read)])
    liked = np.concatenate([np.empty(0, dtype=np.int64), *(np.array(p.liked, dtype=np.int64) for p in read)])
    place = _places(arms)
    return WindowLists(
        arms=tuple(sorted(arms)),
        n_units=len(units),
        items=np.concatenate([np.empty((0, width), dtype=np.int32), *(piece.items for piece in read)]),
        filled=columns[:, 0] > 0,
        chosen=place[columns[:, 1].astype(np.int64)],
        served=place[columns[:, 2].astype(np.int64)],
        unit=columns[:, 3].astype(np.int64),
        counts=columns[:, 4] > 0,
        outcome=columns[:, 5].copy(),  # not a view, which would keep all of the columns
        delay_s=columns[:, 6].copy(),
        liked=ItemSets.from_pairs(np.repeat(np.arange(sizes.size), sizes), liked, n_sets=sizes.size),
    )


def gather_reference(
    pieces: Iterable[Sequence[_Row]], items: Index, units: Index, *, n_items: int | None, tick: Callable[[int], object]
) -> Reference:
    """What the units, and all others, liked before.

    Args:
        pieces: units and items, as `app.store.lists.interactions` gives them.
        items: numbers of items; others are added.
        units: those of the window.
        n_items: size of the catalogue; None: there is none, so that all items that are met make it.
        tick: told 0 after each piece.
    """
    n_units, parts = len(units), [np.empty((0, 2), dtype=np.int64)]
    for piece in pieces:
        parts.append(np.array([(units[unit], items[item]) for unit, item in piece], dtype=np.int64))
        tick(0)
    unit, item = np.concatenate(parts).T
    known = unit < n_units
    catalogue = len(items) if n_items is None else n_items
    everyone = ItemSets.from_pairs(unit, item, n_sets=len(units))
    return Reference(
        history=ItemSets.from_pairs(unit[known], item[known], n_sets=n_units),
        popularity=Popularity.of(everyone, n_items=catalogue) if catalogue and unit.size else None,
    )


def _piece(rows: Sequence[_Row], arms: Index, items: Index, units: Index, width: int) -> _Piece:
    columns = np.array(
        [
            (
                bool(listed),
                arms[arm],
                NOBODY if served is None else arms[served],
                units[unit],
                counts,
                np.nan if outcome is None else outcome,
                np.nan if delay is None else delay,
            )
            for arm, served, unit, listed, counts, outcome, _, _, delay in rows
        ]
    )
    liked = [_liked(row[3], row[6], row[7]) for row in rows]
    return _Piece(
        items=_padded([row[3][:width] for row in rows], items, width),
        columns=columns,
        liked=[items[item] for each in liked for item in each],
        liked_sizes=[len(each) for each in liked],
    )


def _liked(listed: Sequence[str], named: Sequence[str] | None, positions: Sequence[int] | None) -> Sequence[str]:
    """The items of positive feedback: those it names, and those at the positions that it tells instead."""
    if not positions:
        return named or ()
    return [*(named or ()), *(listed[at - 1] for at in positions if 1 <= at <= len(listed))]


def _padded(lists: Sequence[Sequence[str]], items: Index, width: int) -> npt.NDArray[np.int32]:
    lengths = np.array([len(each) for each in lists])
    padded = np.full((len(lists), width), PAD, dtype=np.int32)
    padded[np.arange(width) < lengths[:, None]] = [items[item] for each in lists for item in each]
    return padded


def _places(arms: Index) -> IntArray:
    """Where each arm stands in the order of keys; at last `NOBODY`, which its number, −1, takes."""
    place = np.full(len(arms) + 1, NOBODY, dtype=np.int64)
    for rank, key in enumerate(sorted(arms)):
        place[arms[key]] = rank
    return place
