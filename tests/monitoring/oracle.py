"""The definitions of the metrics, written out in plain Python, slot by slot and pair by pair."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

Vector = Sequence[float]


def slots(items: Sequence[int], k: int, n_items: int) -> list[int | None]:
    """The first k slots, the missing ones too; None where nothing, an unknown item or a repeat stands."""
    seen: set[int] = set()
    result: list[int | None] = []
    for item in [*items, *[-1] * k][:k]:
        counts = 0 <= item < n_items and item not in seen
        result.append(item if counts else None)
        seen |= {item} if counts else set()
    return result


def known(items: Sequence[int], k: int, n_items: int) -> list[int]:
    """The distinct known items among the first k slots."""
    return [item for item in slots(items, k, n_items) if item is not None]


def ranking(items: Sequence[int], gains: Mapping[int, float], k: int, n_items: int) -> dict[str, float]:
    """All ranking metrics of one list with relevant items."""
    hits = [item in gains for item in slots(items, k, n_items)]
    got = sum(
        gains[item] / math.log2(rank + 2)
        for rank, item in enumerate(slots(items, k, n_items))
        if item is not None and item in gains
    )
    ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(sorted(gains.values(), reverse=True)[:k]))
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    return {
        "precision": sum(hits) / k,
        "recall": sum(hits) / len(gains),
        "hit_rate": float(any(hits)),
        "average_precision": sum(precisions) / len(gains),
        "average_precision_min": sum(precisions) / min(k, len(gains)),
        "ndcg": got / ideal,
        "reciprocal_rank": 1 / (hits.index(True) + 1) if any(hits) else 0.0,
    }


def cosine(first: Vector, second: Vector) -> float | None:
    """None when a vector is zero."""
    lengths = math.hypot(*first) * math.hypot(*second)
    return sum(a * b for a, b in zip(first, second, strict=True)) / lengths if lengths else None


def diversity(items: Sequence[int], vectors: Sequence[Vector]) -> tuple[float, int]:
    """Mean of 1 − cosine over all pairs that have one, nan without any; and the number of those that do not."""
    pairs = [cosine(vectors[a], vectors[b]) for a, b in combinations(items, 2)]
    distances = [1 - each for each in pairs if each is not None]
    return (sum(distances) / len(distances) if distances else math.nan), len(pairs) - len(distances)


def serendipity(items: Sequence[int], relevant: set[int], history: set[int], vectors: Sequence[Vector]) -> float:
    """Mean of relevance × unexpectedness."""
    if not items or not history:
        return math.nan
    unexpected = [
        1 - sum(cosine(vectors[item], vectors[past]) or 0.0 for past in history) / len(history) for item in items
    ]
    return sum(value for item, value in zip(items, unexpected, strict=True) if item in relevant) / len(items)


def personalization(lists: Sequence[Sequence[int]]) -> float:
    """1 − mean similarity over the pairs of lists that are not empty."""
    pairs = list(combinations([set(items) for items in lists if items], 2))
    return 1 - sum(len(a & b) / math.sqrt(len(a) * len(b)) for a, b in pairs) / len(pairs) if pairs else math.nan


def gini(counts: Sequence[int]) -> float:
    """Mean absolute difference of two items' exposures ÷ twice their mean."""
    total = sum(counts)
    if not total:
        return math.nan
    return sum(abs(a - b) for a in counts for b in counts) / (2 * len(counts) * total)
