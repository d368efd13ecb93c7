"""Page–Hinkley: whether the mean of a stream, as an arm's reward rate, has changed, decided value by value.

Page (1954), "Continuous inspection schemes"; Hinkley (1971), "Inference about the change-point from cumulative sum
tests". The sum of the deviations from the running mean, less δ each, is compared with its lowest point so far: a
difference above λ is a rise. The same upside down finds a fall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from monitoring.lists import FloatArray

__all__ = ["Change", "PageHinkley", "Side", "threshold_for"]

_OVERSHOOT: Final = 1.166  # standard deviations by which a discrete walk passes a limit, there and back

_Direction = Literal["up", "down"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of the mean: which way, after how many values it was noticed, and where it is thought to have begun."""

    direction: _Direction
    noticed_after: int
    began_after: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """One direction: the sum of deviations, its lowest value, and after how many values that was."""

    total: float = 0.0
    lowest: float = 0.0
    lowest_after: int = 0


@dataclass(frozen=True, kw_only=True)
class PageHinkley:
    """The detector after some values; `update` gives the next one.

    Attributes:
        delta: δ, half the smallest change that matters, above 0, in units of the values.
        threshold: λ, above 0, in units of the values; `threshold_for` gives one for a rate of false alarms.
        min_values: values before the first alarm, 1 or more: the running mean needs them.
        n: values seen.
        mean: of them.
        change: the first change noticed; the detector stays as it was then, until `restarted`.
        up: what looks for a rise.
        down: what looks for a fall.

    Example:
        >>> detector = PageHinkley(delta=0.05, threshold=5.0).update([0.1] * 100)
        >>> detector.change is None
        True
        >>> detector.update([0.9] * 20).change
        Change(direction='up', noticed_after=107, began_after=100)
    """

    delta: float
    threshold: float
    min_values: int = 30
    n: int = 0
    mean: float = 0.0
    change: Change | None = None
    up: Side = Side()
    down: Side = Side()

    def __post_init__(self) -> None:
        for name in ("delta", "threshold", "min_values"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")

    def update(self, values: npt.ArrayLike) -> PageHinkley:
        """The detector after more values, in their order: as one call or in many, the result is the same.

        Args:
            values: finite, shape (n_values,).

        Raises:
            ValueError: when a value is not finite, or the shape is another.
        """
        new = _checked(values)
        if self.change is not None or not new.size:
            return self
        count = self.n + np.arange(1, new.size + 1)
        mean = (self.n * self.mean + new.cumsum()) / count
        up, rise = self._advanced("up", new - mean, count)
        down, fall = self._advanced("down", mean - new, count)
        change = _first(rise, fall)
        if change is not None and change.noticed_after < count[-1]:
            return self.update(new[: change.noticed_after - self.n])
        return replace(self, n=int(count[-1]), mean=float(mean[-1]), change=change, up=up, down=down)

    def restarted(self) -> PageHinkley:
        """The same detector without a memory, for after a change."""
        return PageHinkley(delta=self.delta, threshold=self.threshold, min_values=self.min_values)

    def _advanced(
        self, direction: _Direction, deviations: FloatArray, count: npt.NDArray[np.int64]
    ) -> tuple[Side, Change | None]:
        side = self.up if direction == "up" else self.down
        totals = side.total + (deviations - self.delta).cumsum()
        lowest = np.minimum.accumulate(np.minimum(totals, side.lowest))
        after = np.maximum.accumulate(np.where(totals <= lowest, count, side.lowest_after))
        advanced = Side(total=float(totals[-1]), lowest=float(lowest[-1]), lowest_after=int(after[-1]))
        alarms = np.flatnonzero((totals - lowest > self.threshold) & (count >= self.min_values))
        if not alarms.size:
            return advanced, None
        noticed, began = int(count[alarms[0]]), int(after[alarms[0]])
        return advanced, Change(direction=direction, noticed_after=noticed, began_after=began)


def threshold_for(*, delta: float, standard_deviation: float, values_between_false_alarms: float) -> float:
    """The λ with which an unchanged stream gives a false alarm about once in so many values.

    Siegmund (1985), "Sequential Analysis", corrected for overshoot: a walk with drift −δ first exceeds λ after
    (eˣ − x − 1) ÷ (2Δ²) steps on average, Δ = δ/σ, x = 2Δ(λ/σ + 1.166). Both directions together halve that.

    Args:
        delta: δ, above 0.
        standard_deviation: σ of one value, above 0; √(p(1 − p)) of a reward rate p.
        values_between_false_alarms: on average, above 0.

    Raises:
        ValueError: when an argument is not above 0.
    """
    if not min(delta, standard_deviation, values_between_false_alarms) > 0:
        raise ValueError("delta, standard_deviation and values_between_false_alarms must be above 0")
    drift = delta / standard_deviation
    x = _solved(4 * drift**2 * values_between_false_alarms)
    return max(delta, standard_deviation * (x / (2 * drift) - _OVERSHOOT))


def _solved(target: float) -> float:
    """The x of eˣ − x − 1 = target, by bisection."""
    low, high = 0.0, math.log(target + 2) + 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if math.expm1(middle) - middle < target else (low, middle)
    return high


def _first(*changes: Change | None) -> Change | None:
    found = [change for change in changes if change is not None]
    return min(found, key=lambda change: change.noticed_after) if found else None


def _checked(values: npt.ArrayLike) -> FloatArray:
    new = np.asarray(values, dtype=np.float64)
    if new.ndim != 1 or not np.isfinite(new).all():
        raise ValueError(f"values must be finite and of shape (n_values,), got shape {new.shape}")
    return new
