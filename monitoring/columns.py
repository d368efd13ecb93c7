"""Features as columns: numbers or categories, with values missing, and counted side by side for two windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from monitoring.lists import FloatArray, IntArray

__all__ = ["RARE", "Column", "Counts", "Kind", "Values", "Windows"]

Kind = Literal["numeric", "categorical", "binary"]

RARE: Final = "(rare)"  # the label of categories that were pooled

_FEW_VALUES: Final = 5  # numbers with so few distinct values are categories
_MIN_EXPECTED: Final = 5.0  # of a category, in the smaller window: Cochran's rule for χ² tables


@dataclass(frozen=True, eq=False)
class Column:
    """The values of one feature in one window, row by row.

    Attributes:
        values: float64 when all values are numbers, else text; shape (n_rows,). Undefined where missing.
        present: which rows have a value, ndarray of shape (n_rows,).
    """

    values: npt.NDArray[Any]
    present: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, values: Values) -> Column:
        """From numbers, or words and booleans, which are categories; None and nan are missing.

        Raises:
            ValueError: when the values have more than one dimension, or a number is infinite.
        """
        if isinstance(values, Column):
            return values
        array = values if isinstance(values, np.ndarray) else _objects(values)
        if array.ndim != 1:
            raise ValueError(f"a feature is one value per row, got shape {array.shape}")
        if array.dtype.kind in "iuf":
            return cls._of_numbers(array.astype(np.float64))
        present = np.array([value is not None and value == value for value in array.tolist()], dtype=bool)  # noqa: PLR0124
        if array.dtype.kind == "O" and _all_numbers(array[present].tolist()):
            return cls._of_numbers(np.where(present, array, np.nan).astype(np.float64))
        return cls(array.astype(np.str_), present)

    @classmethod
    def _of_numbers(cls, numbers: FloatArray) -> Column:
        if np.isinf(numbers).any():
            raise ValueError("a feature's numbers must be finite; give nan where a value is missing")
        return cls(numbers, ~np.isnan(numbers))

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers. A column without any value is."""
        return self.values.dtype.kind == "f" or not self.present.any()

    @property
    def known(self) -> npt.NDArray[Any]:
        """The values that are there."""
        return self.values[self.present]

    def select(self, rows: npt.NDArray[Any]) -> Column:
        """Some rows, by index or mask."""
        return Column(self.values[rows], self.present[rows])

    def __len__(self) -> int:
        return self.values.size


Values = Column | npt.NDArray[Any] | Iterable[object]


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each category occurs in two windows.

    Attributes:
        values: the categories, numbers or text, ndarray of shape (n_categories,).
        table: ndarray of shape (2, n_categories): reference, current.
    """

    values: npt.NDArray[Any]
    table: IntArray

    def label(self, at: int) -> str:
        """The category at that place, as text."""
        value = self.values[at]
        return f"{value:g}" if isinstance(value, float) else str(value)

    @property
    def shares(self) -> FloatArray:
        """Share of each category within its window, ndarray of shape (2, n_categories)."""
        shares: FloatArray = self.table / self.table.sum(axis=1, keepdims=True)
        return shares

    def expected_least(self) -> FloatArray:
        """Count to expect of each category in the smaller window, ndarray of shape (n_categories,)."""
        rows = self.table.sum(axis=1)
        least: FloatArray = self.table.sum(axis=0) * (rows.min() / rows.sum())
        return least

    def pooled(self) -> Counts:
        """The same with rare categories, of which fewer than 5 are to be expected, counted as one.

        If that one is still rare, the rarest of the others joins it.
        """
        order = np.argsort(-self.table.sum(axis=0), kind="stable")
        expected = self.expected_least()[order]
        kept = int(np.count_nonzero(expected >= _MIN_EXPECTED))
        if kept == expected.size:
            return self
        if expected[kept:].sum() < _MIN_EXPECTED:
            kept = max(0, kept - 1)
        table, values = self.table[:, order], self.values[order[:kept]].astype(object)
        rest = table[:, kept:].sum(axis=1, keepdims=True)
        return Counts(np.append(values, RARE), np.hstack([table[:, :kept], rest]))


@dataclass(frozen=True, eq=False)
class Windows:
    """The values of one feature in the reference window and in the current one, missing values dropped."""

    reference: npt.NDArray[Any]
    current: npt.NDArray[Any]

    @classmethod
    def of(cls, reference: Column, current: Column) -> Windows:
        """A feature that is not all numbers in both windows is categorical in both."""
        pair = (reference.known, current.known)
        if not (reference.numeric and current.numeric):
            pair = (pair[0].astype(np.str_), pair[1].astype(np.str_))
        return cls(*pair)

    @property
    def n(self) -> int:
        """Rows of the smaller window."""
        return min(self.reference.size, self.current.size)

    @property
    def kind(self) -> Kind:
        """Binary with up to two distinct values in both windows together; numbers with up to five are categories."""
        distinct = self.counts.values.size
        if distinct <= 2:
            return "binary"
        return "numeric" if self.numeric and distinct > _FEW_VALUES else "categorical"

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers, however few."""
        return self.reference.dtype.kind == "f"

    @cached_property
    def counts(self) -> Counts:
        """Each distinct value counted in both windows."""
        values, at = np.unique(np.concatenate([self.reference, self.current]), return_inverse=True)
        halves = at[: self.reference.size], at[self.reference.size :]
        table = np.stack([np.bincount(half, minlength=values.size) for half in halves])
        return Counts(values, table)


def _objects(values: Iterable[object]) -> npt.NDArray[Any]:
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def _all_numbers(values: list[object]) -> bool:
    return all(isinstance(value, int | float | np.number) and not isinstance(value, bool) for value in values)
