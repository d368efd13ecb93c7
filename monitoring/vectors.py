"""Item vectors, made ready for cosines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from monitoring.lists import Block, FloatArray, ItemSets

__all__ = ["UnitVectors"]

_PIECE_NUMBERS: Final = 1 << 20  # numbers of histories held at once


@dataclass(frozen=True, eq=False)
class UnitVectors:
    """Vectors of length 1, and zero vectors left as they are; the last row is zero, for empty slots (−1).

    Attributes:
        vectors: ndarray of shape (n_items + 1, n_dimensions).
        usable: which are not zero, ndarray of shape (n_items + 1,).
    """

    vectors: FloatArray
    usable: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, vectors: npt.ArrayLike | UnitVectors) -> UnitVectors:
        """From item vectors of shape (n_items, n_dimensions); made once, they serve many calls.

        Raises:
            ValueError: when they have another shape, or a number is not finite.
        """
        if isinstance(vectors, UnitVectors):
            return vectors
        given = np.asarray(vectors, dtype=np.float64)
        if given.ndim != 2 or not np.isfinite(given).all():
            raise ValueError(f"vectors must be finite and of shape (n_items, n_dimensions), got shape {given.shape}")
        unit = np.zeros((given.shape[0] + 1, given.shape[1]))
        # Divided by the largest number first, so that no square over- or underflows.
        scale = np.abs(given).max(axis=1, keepdims=True, initial=0.0)
        np.divide(given, scale, out=unit[:-1], where=scale > 0)
        length = np.linalg.norm(unit, axis=1, keepdims=True)
        np.divide(unit, length, out=unit, where=length > 0)
        return cls(unit, length[:, 0] > 0)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return len(self.vectors) - 1

    @property
    def n_dimensions(self) -> int:
        """Length of each vector."""
        return int(self.vectors.shape[1])

    def centroids(self, sets: ItemSets, block: Block) -> FloatArray:
        """Mean unit vector of each of the block's sets, ndarray of shape (n_rows, n_dimensions); 0 for empty sets.

        Long histories are added up piece by piece, so that memory does not grow with them.
        """
        begin, rows = int(sets.offsets[block.first]), sets.rows(block)
        sums = np.zeros((len(block.items), self.n_dimensions))
        step = max(1, _PIECE_NUMBERS // max(1, self.n_dimensions))
        for at in range(0, rows.size, step):
            piece = rows[at : at + step]
            starts = np.flatnonzero(np.diff(piece, prepend=-1))
            items = np.minimum(sets.items[begin + at : begin + at + piece.size], self.n_items)  # unknown: zero
            sums[piece[starts]] += np.add.reduceat(self.vectors[items], starts, axis=0)
        return sums / np.maximum(sets.sizes_in(block), 1)[:, None]
