"""Level `offline`: lists judged by what their units liked, and by what was known before. By the arm that made them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from app.batch.figures import ALL_ARMS, RANKING, Figure, Figures, Scored, groups, means_by_arm
from app.batch.gathering import Reference, WindowLists
from monitoring import beyond_accuracy
from monitoring.exposure import exposure, gini
from monitoring.lists import FloatArray, ItemSets, ListMetric
from monitoring.popularity import Popularity
from monitoring.vectors import UnitVectors

__all__ = ["Items", "note_offline"]

_PAIRS_AT_ONCE: Final = 1 << 20  # of lists and the items of their units' sets

_Indices = npt.NDArray[np.intp]
_Mask = npt.NDArray[np.bool_]
_NOTHING: Final = Figure(np.nan, 0)


@dataclass(frozen=True, eq=False)
class Items:
    """What lists can hold.

    Attributes:
        size: of the catalogue; of all items that were met if there is none.
        has_catalogue: whether there is one.
        vectors: of its items; None: none has features.
    """

    size: int
    has_catalogue: bool
    vectors: UnitVectors | None


@dataclass(frozen=True, eq=False)
class _Judging:
    """What is judged: `rows` are the lists of arms that give any; others have nothing to measure."""

    figures: Figures
    lists: WindowLists
    reference: Reference
    items: Items
    rows: _Mask

    def add_means(self, metric: str, values: FloatArray, k: int) -> None:
        """Keeps a metric that each list has a value of."""
        for arm, figure in means_by_arm(values, self.lists.served, self.lists.arms).items():
            self.figures.add(metric, arm, figure, k=k)


def note_offline(figures: Figures, lists: WindowLists, reference: Reference, items: Items, ks: Sequence[int]) -> None:
    """Everything of this level."""
    rows = lists.of_listing_arms(lists.served)
    judging = _Judging(figures, lists, reference, items, rows)
    for k in ks:
        _note_accuracy(judging, k)
        _note_serendipity(judging, k)
        for arm, mine in groups(lists.arms, lists.served):
            for metric, figure in _beyond_accuracy(lists.items[mine & rows], reference.popularity, items, k):
                figures.add(metric, arm, figure, k=k)
    for arm, mine in groups(lists.arms, lists.served):
        units = np.unique(lists.unit[mine & rows])
        cold = np.count_nonzero(reference.history.sizes[units] == 0)
        figures.add("cold_unit_share", arm, Figure(cold / units.size, units.size) if units.size else _NOTHING)
    figures.add("cold_item_share", ALL_ARMS, _cold_items(reference.popularity, items))


def _note_accuracy(judging: _Judging, k: int) -> None:
    lists, liked = judging.lists, judging.lists.liked_by_unit
    for metric, score in RANKING.items():

        def judge(part: _Indices, score: Scored = score) -> FloatArray:
            return score(lists.items[part], liked.take(lists.unit[part]), k).values

        judging.add_means(metric, _in_parts(lists, judging.rows, liked, judge), k)


def _note_serendipity(judging: _Judging, k: int) -> None:
    lists, past, vectors = judging.lists, judging.reference.history, judging.items.vectors
    values = np.full(len(lists), np.nan)
    if vectors is not None:

        def judge(part: _Indices) -> FloatArray:
            liked, before = (sets.take(lists.unit[part]) for sets in (lists.liked_by_unit, past))
            return beyond_accuracy.serendipity(lists.items[part], liked, before, vectors, k).values

        values = _in_parts(lists, judging.rows, past, judge)
    judging.add_means("serendipity", values, k)


def _in_parts(lists: WindowLists, rows: _Mask, sets: ItemSets, judge: Callable[[_Indices], FloatArray]) -> FloatArray:
    """A value for each list, nan where `rows` is not: some at a time, since a unit's set is repeated for each list."""
    values = np.full(len(lists), np.nan)
    chosen = np.flatnonzero(rows)
    part = np.cumsum(sets.sizes[lists.unit[chosen]]) // _PAIRS_AT_ONCE
    for each in np.split(chosen, np.flatnonzero(np.diff(part)) + 1):
        values[each] = judge(each)
    return values


def _beyond_accuracy(
    lists: npt.NDArray[np.int32], popularity: Popularity | None, items: Items, k: int
) -> Iterator[tuple[str, Figure]]:
    """What lists are beside accurate, whoever they were for."""
    yield from _popularity(lists, popularity, k)
    diversity = _NOTHING
    if items.vectors is not None:
        diversity = _mean_of(beyond_accuracy.intra_list_diversity(lists, items.vectors, k))
    yield "intra_list_diversity", diversity
    personal = beyond_accuracy.personalization(lists, k, n_items=max(1, items.size))
    yield "personalization", Figure(personal.value, personal.evaluated)
    yield from _health(lists, items, k)


def _popularity(lists: npt.NDArray[np.int32], popularity: Popularity | None, k: int) -> Iterator[tuple[str, Figure]]:
    if popularity is None or not len(lists):
        names = ("novelty", "unseen_share", "average_popularity", "popularity_quantile", "long_tail_share")
        yield from ((name, _NOTHING) for name in names)
        return
    novelty = beyond_accuracy.novelty(lists, popularity, k)
    yield "novelty", _mean_of(novelty)
    yield "unseen_share", Figure(novelty.unseen, novelty.evaluated)
    bias = beyond_accuracy.popularity_bias(lists, popularity, k)
    yield "average_popularity", _mean_of(bias.average_popularity)
    yield "popularity_quantile", _mean_of(bias.popularity_quantile)
    yield "long_tail_share", Figure(bias.long_tail_share, novelty.evaluated)


def _health(lists: npt.NDArray[np.int32], items: Items, k: int) -> Iterator[tuple[str, Figure]]:
    n = len(lists)
    health = beyond_accuracy.list_health(lists, k, n_items=max(1, items.size))
    yield "with_list_share", Figure(health.with_list, n)
    yield "full_share", Figure(health.full, n)
    yield "repeats_share", Figure(health.with_repeats, n)
    yield "mean_fill", Figure(health.mean_fill, n)
    slots = int(np.count_nonzero(lists[:, :k] >= 0))
    yield "unknown_share", Figure(health.unknown / slots, slots) if slots else _NOTHING
    if items.has_catalogue and n:
        coverage = beyond_accuracy.coverage(lists, k, n_items=items.size)
        yield "coverage", Figure(coverage.share, n)
        yield "coverage_entropy", Figure(coverage.entropy, n)
        yield "normalised_entropy", Figure(health.normalised_entropy, n)
        yield "gini", Figure(gini(exposure(lists, k, n_items=items.size)[0]), n)
    else:  # what is not known to exist cannot be covered
        yield from ((name, _NOTHING) for name in ("coverage", "coverage_entropy", "normalised_entropy", "gini"))


def _cold_items(popularity: Popularity | None, items: Items) -> Figure:
    if popularity is None or not items.has_catalogue:
        return _NOTHING
    return Figure(float(np.mean(popularity.users == 0)), items.size)


def _mean_of(metric: ListMetric) -> Figure:
    return Figure(metric.mean, metric.evaluated)
