"""What all figures of a window have in common: names, values, numbers; by arm and of all arms together."""

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from app.store.metric_values import MetricValue
from monitoring import ranking
from monitoring.lists import FloatArray, IntArray, ListMetric

__all__ = ["ALL_ARMS", "RANKING", "Figure", "Figures", "Scored", "groups", "means_by_arm"]

ALL_ARMS = ""

Scored = Callable[..., ListMetric]
RANKING: Mapping[str, Scored] = {name: getattr(ranking, name) for name in ranking.__all__}


class Figure(Struct, frozen=True):
    """A value, and how many lists, decisions or events it rests on; nan: there was nothing to measure."""

    value: float
    n: int
    detail: Mapping[str, Any] = {}


class Figures:
    """The figures of one window and level, as they are found."""

    def __init__(self, experiment: str, level: Literal["online", "offline"], start: datetime, window_s: int) -> None:
        self._window: dict[str, Any] = {
            "experiment": experiment, "level": level, "window_start": start, "window_s": window_s,
        }  # fmt: skip
        self.values: list[MetricValue] = []

    def add(self, metric: str, arm: str, figure: Figure, *, k: int = 0) -> None:
        """Keeps one figure."""
        value = float(figure.value) if math.isfinite(figure.value) else None
        self.values.append(
            MetricValue(**self._window, metric=metric, k=k, arm=arm, value=value, n=figure.n, detail=figure.detail)
        )


def groups(arms: tuple[str, ...], arm: IntArray) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """All arms together and each of them: its key, and which rows are its own, shape (n,)."""
    yield ALL_ARMS, np.ones(arm.size, dtype=bool)
    for index, key in enumerate(arms):
        yield key, arm == index


def means_by_arm(values: FloatArray, arm: IntArray, arms: tuple[str, ...]) -> dict[str, Figure]:
    """Mean over the rows that have a value, not nan, of all arms together and of each."""
    known = ~np.isnan(values)
    value, of = values[known], arm[known] + 1  # 0: nobody's
    sums, counts = (np.bincount(of, weights, minlength=len(arms) + 1) for weights in (value, None))
    figures = {ALL_ARMS: Figure(_mean(float(value.sum()), value.size), value.size)}
    for index, key in enumerate(arms, start=1):
        figures[key] = Figure(_mean(sums[index], counts[index]), int(counts[index]))
    return figures


def _mean(total: float, n: int) -> float:
    return total / n if n else math.nan
