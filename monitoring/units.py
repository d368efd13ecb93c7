"""One value per unit, because the rows of one unit are not independent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitoring.columns import Column, Values

__all__ = ["per_unit"]


def per_unit(values: Values, units: npt.ArrayLike) -> Column:
    """What a feature is for each unit: the mean of its numbers, or its latest category.

    Args:
        values: one per row, in the order of time; None and nan are missing.
        units: the unit of each row.

    Returns:
        One row per unit, in ascending order of units; missing where the unit has no value.

    Raises:
        ValueError: when there is not one unit per value.
    """
    column, of_rows = Column.of(values), np.asarray(units)
    if of_rows.shape != (len(column),):
        raise ValueError(f"{len(column)} values need one unit each, got shape {of_rows.shape}")
    distinct, at = np.unique(of_rows, return_inverse=True)
    if not column.numeric:
        return _latest(column, at, distinct.size)
    known = at[column.present]
    count = np.bincount(known, minlength=distinct.size)
    total = np.bincount(known, weights=column.known.astype(np.float64), minlength=distinct.size)
    return Column(total / np.maximum(count, 1), count > 0)


def _latest(column: Column, at: npt.NDArray[np.intp], n_units: int) -> Column:
    latest = np.full(n_units, -1)
    rows = np.flatnonzero(column.present)
    np.maximum.at(latest, at[rows], rows)
    return Column(column.values[latest], latest >= 0)
