"""From rows of the log to features: flat columns of contexts, scores and rewards, one value per unit."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitoring.columns import Column
from monitoring.units import per_unit

__all__ = ["CONTEXT", "REWARD", "SCORE", "Rows", "Scalar", "flat", "frequent"]

CONTEXT: Final = "context/"
SCORE: Final = "score/"
REWARD: Final = "reward/"

Scalar = str | float | bool | None

# A context is the client's: whatever it holds, the monitor's memory is bounded.
_OTHERS: Final = 0.2
_MOST_LEAVES: Final = 200  # of one context
_LONGEST_NAME: Final = 100
_LONGEST_WORD: Final = 64
_LARGEST: Final = 1e100


class Rows:
    """Rows of one window, and what makes values of them that are as good as independent.

    A unit has one value per piece of time as wide as the current window: the mean of its numbers, or its latest
    category. Where units come in several pieces, as in a long reference, (unit, piece) pairs are drawn at random, so
    that a value has 0.2 others of its unit beside it on average. Each pair has the same chance, so that frequent units
    are as frequent as they are within one current window.

    Args:
        units: of each row, in the order of time.
        pieces: number of the piece of time that each row lies in.
        seed: of the draw.
    """

    def __init__(self, units: Sequence[str], pieces: Sequence[int], *, seed: int) -> None:
        unit = np.unique(np.asarray(units, dtype=np.str_), return_inverse=True)[1]
        piece = np.asarray(pieces, dtype=np.int64)
        piece -= piece.min(initial=0)
        span = int(piece.max(initial=0)) + 1
        self._pairs = unit * span + piece
        distinct = np.unique(self._pairs)
        sizes = np.bincount(distinct // span)
        others = float((sizes**2).sum() / max(sizes.sum(), 1)) - 1
        self._drawn = np.random.default_rng(seed).random(distinct.size) * others < _OTHERS

    def column(self, values: Sequence[Any]) -> Column:
        """The values of a feature, given one per row."""
        return per_unit(values, self._pairs).select(self._drawn)


def flat(context: Mapping[str, Any]) -> dict[str, Scalar]:
    """The scalars of a context, by their keys joined with dots; lists are left out, and so are names too long.

    Example:
        >>> flat({"device": "tv", "geo": {"country": "FR"}, "seen": [1, 2]})
        {'device': 'tv', 'geo.country': 'FR'}
    """
    found: dict[str, Scalar] = {}
    for name, value in _leaves("", context):
        if len(found) == _MOST_LEAVES:
            break
        if 0 < len(name) <= _LONGEST_NAME:
            found[name] = value
    return found


def frequent(contexts: Iterable[Mapping[str, object]], *, most: int) -> list[str]:
    """The names that most contexts have, in their order; of equally frequent ones, the first."""
    frequency = Counter(name for context in contexts for name in context)
    return sorted(sorted(frequency, key=lambda name: (-frequency[name], name))[:most])


def _leaves(prefix: str, value: object) -> Iterator[tuple[str, Scalar]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _leaves(f"{prefix}.{key}" if prefix else str(key), member)
    elif value is None or isinstance(value, bool):
        yield prefix, value
    elif isinstance(value, str):
        yield prefix, value[:_LONGEST_WORD]
    elif isinstance(value, int | float):
        yield prefix, value if abs(value) < _LARGEST else str(value)[:_LONGEST_WORD]
