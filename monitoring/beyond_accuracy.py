"""What lists are beside accurate: novel, diverse, surprising, fair to the catalogue, and whole.

Lists are item indices in rank order, an int array of shape (n_lists, k_max) padded with −1, cut at k. A repeated item
counts once, at its first rank; items outside the catalogue are left out, and counted as `unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
import numpy.typing as npt

from monitoring.exposure import entropy, exposure, gini
from monitoring.lists import Block, FloatArray, IntArray, ItemSets, ListMetric, Sets, blocks, one_set_each, per_list
from monitoring.popularity import Popularity
from monitoring.vectors import UnitVectors

__all__ = [
    "ColdShare",
    "Coverage",
    "IntraListDiversity",
    "ListHealth",
    "Novelty",
    "Personalization",
    "PopularityBias",
    "cold_share",
    "coverage",
    "intra_list_diversity",
    "list_health",
    "novelty",
    "personalization",
    "popularity_bias",
    "serendipity",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Novelty(ListMetric):
    """Novelty of each list, in bits; `unseen` is the share of recommended slots with an item without interactions."""

    unseen: float


@dataclass(frozen=True, kw_only=True, eq=False)
class IntraListDiversity(ListMetric):
    """Diversity of each list, within [0, 2]; `skipped_pairs` had an item without a vector."""

    skipped_pairs: int


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of the catalogue is recommended.

    Attributes:
        share: distinct items recommended ÷ catalogue, within [0, 1].
        items: distinct items recommended.
        entropy: of the exposure, −Σ p log2 p in bits, 0 to log2 of the catalogue; nan when nothing is recommended.
        unknown: slots with items outside the catalogue, which are not counted.
    """

    share: float
    items: int
    entropy: float
    unknown: int


@dataclass(frozen=True, kw_only=True)
class Personalization:
    """How different the lists are: `value` within [0, 1], nan for fewer than two of the `evaluated` non-empty lists."""

    value: float
    evaluated: int
    skipped: int
    unknown: int


@dataclass(frozen=True, kw_only=True, eq=False)
class PopularityBias:
    """How much popular items are preferred.

    Attributes:
        average_popularity: mean pop(i) of each list, within [0, 1]; its mean is the ARP.
        popularity_quantile: mean popularity quantile of each list, within (0, 1); ½ for a random choice.
        gini: inequality of exposure over the whole catalogue, 0 (all alike) to 1 − 1/n_items (one item only).
        long_tail_share: share of slots outside the most popular items that make 80 % of the interactions.
    """

    average_popularity: ListMetric
    popularity_quantile: ListMetric
    gini: float
    long_tail_share: float


@dataclass(frozen=True, kw_only=True)
class ListHealth:
    """Whether lists are whole; shares are of all units asked for, within [0, 1].

    Attributes:
        units: number of lists, the empty ones included.
        with_list: share with at least one known item.
        full: share with k distinct known items.
        with_repeats: share in which an item stands twice.
        mean_fill: mean of distinct known items ÷ k.
        normalised_entropy: entropy of exposure ÷ log2 of the catalogue.
        unknown: slots with items outside the catalogue.
    """

    units: int
    with_list: float
    full: float
    with_repeats: float
    mean_fill: float
    normalised_entropy: float
    unknown: int


@dataclass(frozen=True, kw_only=True)
class ColdShare:
    """Share of units without history, and of the catalogue's items without interactions, within [0, 1]."""

    units: float
    items: float


def novelty(recommended: npt.ArrayLike, popularity: Popularity, k: int) -> Novelty:
    """Mean over each list of −log2 pop(i), in bits, 0 to log2 U; an item without interactions takes pop = 1/U.

    Mean inverse user frequency: Zhou et al. (2010), "Solving the apparent diversity-accuracy dilemma". Empty lists
    are left out.
    """
    bits = _padded(-np.log2(np.maximum(popularity.users, 1) / popularity.n_users))
    unseen = _padded(popularity.users == 0)

    def measure(block: Block) -> tuple[FloatArray, FloatArray, IntArray]:
        return _list_mean(bits, block), unseen[block.items].sum(axis=1), block.filled

    (values, n_unseen, filled), unknown, repeats = per_list(recommended, k, measure, n_items=popularity.n_items)
    return Novelty(values=values, unknown=unknown, repeats=repeats, unseen=_quotient(n_unseen.sum(), filled.sum()))


def intra_list_diversity(
    recommended: npt.ArrayLike, vectors: npt.ArrayLike | UnitVectors, k: int
) -> IntraListDiversity:
    """Mean of 1 − cosine over the pairs of each list's items, within [0, 2]: Ziegler et al. (2005).

    Pairs with an item whose vector is zero are left out and counted; lists without any other pair are left out. The
    sum over pairs comes from the length of the sum of the vectors, so a list costs O(k), not O(k²).

    Args:
        recommended: shape (n_lists, k_max).
        vectors: item vectors, shape (n_items, n_dimensions), finite.
        k: cut-off.
    """
    unit = UnitVectors.of(vectors)

    def measure(block: Block) -> tuple[FloatArray, IntArray]:
        n = unit.usable[block.items].sum(axis=1)
        total = unit.vectors[block.items].sum(axis=1)
        pairs = n * (n - 1)
        cosine = (np.einsum("ij,ij->i", total, total) - n) / np.maximum(pairs, 1)
        value = np.where(pairs > 0, np.clip(1 - cosine, 0, 2), np.nan)
        return value, (block.filled * (block.filled - 1) - pairs) // 2

    (values, left_out), unknown, repeats = per_list(
        recommended, k, measure, n_items=unit.n_items, width=unit.n_dimensions
    )
    return IntraListDiversity(values=values, unknown=unknown, repeats=repeats, skipped_pairs=int(left_out.sum()))


def serendipity(
    recommended: npt.ArrayLike, relevant: Sets, history: Sets, vectors: npt.ArrayLike | UnitVectors, k: int
) -> ListMetric:
    """Mean over each list of relevance × unexpectedness, within [0, 2], as Microsoft's recommenders define it.

    Unexpectedness is 1 − mean cosine to the items of the unit's history (Zhang et al., 2012, "Auralist"); relevance
    is whether the item is in `relevant`. A zero vector has cosine 0 to all. Lists without history, and empty ones,
    are left out.

    Args:
        recommended: shape (n_lists, k_max).
        relevant: per list, the items that feedback says were relevant.
        history: per list, the items its unit interacted with before.
        vectors: item vectors, shape (n_items, n_dimensions), finite.
        k: cut-off.
    """
    unit = UnitVectors.of(vectors)
    hits, past = (one_set_each(recommended, sets) for sets in (relevant, history))

    def measure(block: Block) -> tuple[FloatArray]:
        cosine = np.einsum("ijd,id->ij", unit.vectors[block.items], unit.centroids(past, block))
        total = ((hits.find(block) >= 0) * (1 - cosine)).sum(axis=1)
        defined = (past.sizes_in(block) > 0) & (block.filled > 0)
        return (np.where(defined, total / np.maximum(block.filled, 1), np.nan),)

    (values,), unknown, repeats = per_list(recommended, k, measure, n_items=unit.n_items, width=unit.n_dimensions)
    return ListMetric(values=values, unknown=unknown, repeats=repeats)


def coverage(recommended: npt.ArrayLike, k: int, *, n_items: int) -> Coverage:
    """Distinct items recommended ÷ the catalogue of `n_items`, and the entropy of their exposure."""
    counts, unknown = exposure(recommended, k, n_items=n_items)
    items = int(np.count_nonzero(counts))
    return Coverage(share=items / n_items, items=items, entropy=entropy(counts), unknown=unknown)


def personalization(recommended: npt.ArrayLike, k: int, *, n_items: int) -> Personalization:
    """1 − mean over pairs of non-empty lists of |A∩B| / √(|A||B|), within [0, 1]: 0 when all lists are the same.

    Exact, and no pair is built: with w_u = 1/√|L_u| and s_i = Σ_{u∋i} w_u, the sum over all ordered pairs, each list
    with itself included, is Σ s_i².
    """
    weight, evaluated, lists, unknown = np.zeros(n_items), 0, 0, 0
    for block in blocks(recommended, k, n_items=n_items):
        share = np.repeat(1 / np.sqrt(np.maximum(block.filled, 1)), block.filled)
        weight += np.bincount(block.items[block.items >= 0], weights=share, minlength=n_items)
        evaluated += int(np.count_nonzero(block.filled))
        lists, unknown = lists + len(block.items), unknown + int(block.unknown.sum())
    similarity = _quotient(float(weight @ weight) - evaluated, evaluated * (evaluated - 1))
    value = float(np.clip(1 - similarity, 0, 1))
    return Personalization(value=value, evaluated=evaluated, skipped=lists - evaluated, unknown=unknown)


def popularity_bias(recommended: npt.ArrayLike, popularity: Popularity, k: int) -> PopularityBias:
    """Popularity of what is recommended, and how unequally it is shown.

    Average recommendation popularity: Yin et al. (2012), "Challenging the long tail recommendation". Gini:
    Σ_j (2j − n − 1) c_(j) ÷ n Σ c, exposures in ascending order, items that were never shown included.
    """
    share, quantile = _padded(popularity.share), _padded(popularity.quantile)

    def measure(block: Block) -> tuple[FloatArray, FloatArray]:
        return _list_mean(share, block), _list_mean(quantile, block)

    (average, quantiles), unknown, repeats = per_list(recommended, k, measure, n_items=popularity.n_items)
    counts, _ = exposure(recommended, k, n_items=popularity.n_items)
    return PopularityBias(
        average_popularity=ListMetric(values=average, unknown=unknown, repeats=repeats),
        popularity_quantile=ListMetric(values=quantiles, unknown=unknown, repeats=repeats),
        gini=gini(counts),
        long_tail_share=_quotient(counts[popularity.long_tail].sum(), counts.sum()),
    )


def list_health(recommended: npt.ArrayLike, k: int, *, n_items: int) -> ListHealth:
    """Empty, short and repetitive lists, and how evenly the catalogue of `n_items` is shown."""
    (filled, repeated), unknown, _ = per_list(
        recommended, k, lambda block: (block.filled, block.repeats > 0), n_items=n_items
    )
    counts, _ = exposure(recommended, k, n_items=n_items)
    return ListHealth(
        units=filled.size,
        with_list=_quotient(np.count_nonzero(filled), filled.size),
        full=_quotient(np.count_nonzero(filled == k), filled.size),
        with_repeats=_quotient(repeated.sum(), filled.size),
        mean_fill=_quotient(filled.sum(), k * filled.size),
        normalised_entropy=_quotient(entropy(counts), float(np.log2(n_items))),
        unknown=unknown,
    )


def cold_share(history: Sets, popularity: Popularity) -> ColdShare:
    """Share of units without history, one set each in `history`, and of items without interactions."""
    sizes = ItemSets.of(history).sizes
    return ColdShare(
        units=_quotient(np.count_nonzero(sizes == 0), sizes.size), items=float(np.mean(popularity.users == 0))
    )


def _padded(of_items: npt.ArrayLike) -> FloatArray:
    """A quantity of each item, and at last 0, which empty slots, being −1, take."""
    return np.append(np.asarray(of_items, dtype=np.float64), 0.0)


def _list_mean(padded: FloatArray, block: Block) -> FloatArray:
    total = padded[block.items].sum(axis=1)
    return np.where(block.filled > 0, total / np.maximum(block.filled, 1), np.nan)


def _quotient(part: SupportsFloat, whole: SupportsFloat) -> float:
    return float(part) / float(whole) if float(whole) else np.nan
