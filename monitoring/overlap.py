"""How alike two ranked lists are: 1 when they are the same, 0 when they share nothing."""

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Final

__all__ = ["OVERLAPS", "jaccard", "rank_biased_overlap"]

# The first ten ranks weigh 86 %.
_PERSISTENCE: Final = 0.9


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """|A ∩ B| ÷ |A ∪ B|, whatever the order; 1 for two empty lists."""
    a, b = set(one), set(other)
    return len(a & b) / len(a | b) if a or b else 1.0


def rank_biased_overlap(one: Sequence[str], other: Sequence[str], *, p: float = _PERSISTENCE) -> float:
    """Rank-biased overlap, extrapolated: agreement at each depth, weighed less the deeper it is.

    Webber, Moffat and Zobel, "A similarity measure for indefinite rankings" (2010), equation 32, which takes lists of
    different lengths: what is not seen of the shorter one is thought to agree as much as what is.

    Args:
        one: different items, best first.
        other: the same; 1 for two empty lists, 0 when only one is empty.
        p: persistence, above 0 and below 1: weight of a rank relative to the one before.
    """
    if not one or not other:
        return float(not one and not other)
    short, long = sorted((len(one), len(other)))
    shared = _shared(one, other)
    agreement = sum(shared[d - 1] / d * p**d for d in range(1, long + 1))
    unseen = sum(shared[short - 1] * (d - short) / (short * d) * p**d for d in range(short + 1, long + 1))
    rest = ((shared[-1] - shared[short - 1]) / long + shared[short - 1] / short) * p**long
    return (1 - p) / p * (agreement + unseen) + rest


def _shared(one: Sequence[str], other: Sequence[str]) -> list[int]:
    """How many items the lists have in common down to each depth of the longer one."""
    a: set[str] = set()
    b: set[str] = set()
    counts = []
    for x, y in zip_longest(one, other):
        a |= {x} - {None}
        b |= {y} - {None}
        counts.append(len(a & b))
    return counts


OVERLAPS: Final[Mapping[str, Callable[[Sequence[str], Sequence[str]], float]]] = {
    "jaccard": jaccard,
    "rank_biased": rank_biased_overlap,
}
