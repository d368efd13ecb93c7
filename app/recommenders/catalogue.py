"""The items that can be recommended: an immutable view of the `items` table, shared by all requests."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["Catalogue", "CatalogueItem"]

_Vector: TypeAlias = Sequence[float] | npt.NDArray[np.float32]
_Array = TypeVar("_Array", bound=npt.NDArray[Any])


# Rows that are put into an array at once: numpy lets no other thread run meanwhile.
_PIECE = 1000


class CatalogueItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One row of the `items` table; as JSON, one item of `PUT /v1/items`.

    It refers to nothing that could refer to it, so the garbage collector need not look through 10⁵ of them.
    """

    item_id: str
    title: str = ""
    category: str | None = None
    features: Sequence[float] | npt.NDArray[np.float32] | None = None  # any scale: only the direction counts
    popularity: float = 0.0  # visits, sales, a share: any unit, at least 0


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Items in the order of their ids, one row each, in arrays that cannot be written to."""

    version: int  # of the table when it was read
    ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[str | None, ...]
    rows: dict[str, int]  # item id → row
    features: npt.NDArray[np.float32]  # (n_items, n_features), rows of length 1; all zero without features
    featured: npt.NDArray[np.bool_]  # (n_items,): has features
    misfits: int  # items whose features were ignored: another length than most items', or not finite
    popularity: npt.NDArray[np.float64]  # (n_items,), shares: adds up to 1
    score: npt.NDArray[np.float64]  # (n_items,), expected share of the rewards: see `with_rewards`
    order: npt.NDArray[np.intp]  # (n_items,), rows by falling score, equal scores by id

    @classmethod
    def build(cls, items: Iterable[CatalogueItem], version: int) -> Self:
        """The catalogue of these items; off the request path, about a second for 10⁵ items.

        Raises:
            ValueError: an item id occurs twice.
        """
        listed = sorted(items, key=lambda item: item.item_id)
        rows = {item.item_id: row for row, item in enumerate(listed)}
        if len(rows) < len(listed):
            repeated = Counter(item.item_id for item in listed).most_common(1)[0][0]
            raise ValueError(f"item id {repeated!r} occurs more than once: ids are unique")
        features, misfits = _unit_rows([item.features for item in listed])
        popularity = _shares([item.popularity for item in listed])
        return cls(
            version=version,
            ids=tuple(item.item_id for item in listed),
            titles=tuple(item.title for item in listed),
            categories=tuple(item.category for item in listed),
            rows=rows,
            features=features,
            featured=_frozen(np.any(features != 0, axis=1)),
            misfits=misfits,
            popularity=popularity,
            score=popularity,
            order=_descending(popularity),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def with_rewards(self, rewards: Mapping[str, float], *, prior_weight: float) -> "Catalogue":
        """This catalogue, scored by popularity and rewards together; everything else is shared, not copied.

        The score is the posterior mean of a Dirichlet-multinomial model, the expected share of rewards that
        go to each item (Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.4):

            score_i = (prior_weight · popularity_i + rewards_i) / (prior_weight + Σ rewards)

        so catalogue popularity counts as much as `prior_weight` observed rewards, and fades as rewards come.

        Args:
            rewards: item id → (decayed) reward count; unknown ids and counts not above 0 are ignored.
            prior_weight: weight of the catalogue's popularity, in rewards; above 0.
        """
        counts = np.zeros(len(self))
        for item_id, count in rewards.items():
            if item_id in self.rows and 0 < count < np.inf:
                counts[self.rows[item_id]] = count
        score = (prior_weight * self.popularity + counts) / (prior_weight + counts.sum())
        return msgspec.structs.replace(self, score=_frozen(score), order=_descending(score))


def _unit_rows(vectors: Sequence[_Vector | None]) -> tuple[npt.NDArray[np.float32], int]:
    """Feature vectors as rows of length 1 (zero without features), and how many were ignored as misfits.

    While a new model's vectors are being loaded, the table may hold two lengths: the commoner one counts.
    """
    sizes = [0 if vector is None else len(vector) for vector in vectors]
    lengths = Counter(size for size in sizes if size)
    length = max(lengths, key=lambda length: (lengths[length], length), default=0)
    fitting = [row for row, size in enumerate(sizes) if size and size == length]
    matrix = np.zeros((len(vectors), length))
    for start in range(0, len(fitting), _PIECE):
        rows = fitting[start : start + _PIECE]
        matrix[rows] = np.array([vectors[row] for row in rows])
    finite = np.isfinite(matrix).all(axis=1, keepdims=True)
    matrix = np.where(finite, matrix, 0.0)
    largest = np.abs(matrix).max(axis=1, keepdims=True, initial=0.0)  # divided out first: squares may overflow
    matrix /= np.where(largest > 0, largest, 1.0)
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit = (matrix / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return _frozen(unit), lengths.total() - len(fitting) + int((~finite).sum())


def _shares(popularity: Sequence[float]) -> npt.NDArray[np.float64]:
    """Popularity as shares that add up to 1; equal shares when no item has any. Bad values count as 0."""
    raw = np.array(popularity, dtype=np.float64)
    valid = np.where(np.isfinite(raw) & (raw > 0), raw, 0.0)
    scaled = valid / (valid.max(initial=0.0) or 1.0)  # divided out first: the sum may overflow
    total = scaled.sum()
    return _frozen(scaled / total if total > 0 else np.full(len(raw), 1 / max(len(raw), 1)))


def _descending(score: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Rows by falling score; equal scores keep the order of their ids."""
    return _frozen(np.argsort(-score, kind="stable"))


def _frozen(array: _Array) -> _Array:
    """The array, made read-only."""
    array.flags.writeable = False
    return array
