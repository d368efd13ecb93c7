"""Thresholds of distance from the reference's own restlessness. Loads scipy: not for web workers."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import numpy as np

from monitoring.columns import Column
from monitoring.drift import Features, distance, features

__all__ = ["calibrated_thresholds"]

_LEAST_CHUNKS: Final = 5
_DEVIATIONS: Final = 3.0


def calibrated_thresholds(reference: Features, *, chunk_rows: int) -> dict[str, float]:
    """Mean + 3 standard deviations of the distances between chunks of the reference and the rest of it.

    Args:
        reference: by name of the feature, one value per row, in the order of time.
        chunk_rows: rows of a chunk: as many as the current windows will have.

    Returns:
        The threshold of each feature, and of the missing values of each that has some, for `detect_drift`.

    Raises:
        ValueError: when the reference has fewer than 5 chunks, or columns of different lengths.
    """
    columns = {name: Column.of(values) for name, values in reference.items()}
    rows = _rows(columns)
    if chunk_rows < 1 or rows < _LEAST_CHUNKS * chunk_rows:
        raise ValueError(f"{rows} rows of reference are fewer than {_LEAST_CHUNKS} chunks of {chunk_rows} rows")
    distances: dict[str, list[float]] = defaultdict(list)
    for first in range(0, rows - chunk_rows + 1, chunk_rows):
        inside = np.zeros(rows, dtype=bool)
        inside[first : first + chunk_rows] = True
        rest, chunk = ({name: column.select(at) for name, column in columns.items()} for at in (~inside, inside))
        for name, windows in features(rest, chunk).items():
            if windows.n:
                distances[name].append(distance(windows))
    return {name: float(np.mean(found) + _DEVIATIONS * np.std(found)) for name, found in distances.items()}


def _rows(columns: dict[str, Column]) -> int:
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"each feature needs one value per row; there are columns of {sorted(lengths)} rows")
    return lengths.pop() if lengths else 0
