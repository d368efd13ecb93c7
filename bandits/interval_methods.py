"""Three ways from a sample to an interval: normal, bootstrap, and one that allows peeking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Protocol

import numpy as np

from bandits.asymptotic import boundary
from bandits.estimates import Sample
from bandits.statistics import FloatArray

__all__ = ["NORMAL", "Bootstrap", "ConfidenceSequence", "IntervalMethod", "Normal"]

# Numbers drawn at a time by the bootstrap: 8 MB each of indices and of resampled values.
_BLOCK: Final = 1 << 20


class IntervalMethod(Protocol):
    """From a sample to an interval for the quantity that it estimates."""

    @property
    def level(self) -> float:
        """Confidence level, within (0, 1)."""

    def interval(self, sample: Sample) -> tuple[float, float]:
        """Lower and upper end, in units of the estimate."""


@dataclass(frozen=True, kw_only=True)
class Normal:
    """value ± z standard errors: quick, and right for many rows whose terms are not too skewed."""

    level: float = 0.95

    def __post_init__(self) -> None:
        _check_level(self.level)

    def interval(self, sample: Sample) -> tuple[float, float]:
        """See `IntervalMethod.interval`."""
        return _around(sample.value, NormalDist().inv_cdf((1 + self.level) / 2) * sample.standard_error)


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """Percentiles of the estimates from resampled rows: follows skewed terms, as rare rewards with large weights.

    Rows are drawn with replacement, and ratios are renormalised in each resample. Memory is bounded: about
    10⁶ indices at a time, or one resample's.

    Attributes:
        rng: source of the resamples; each interval takes the next numbers from it.
        resamples: how many, 1 or more.
        level: confidence level, within (0, 1).

    Reference:
        Efron and Tibshirani, "An introduction to the bootstrap" (1993), section 13.3.
    """

    rng: np.random.Generator
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        _check_level(self.level)
        if self.resamples < 1:
            raise ValueError(f"resamples must be 1 or more, got {self.resamples}")

    def interval(self, sample: Sample) -> tuple[float, float]:
        """See `IntervalMethod.interval`."""
        block = max(_BLOCK // sample.n, 1)
        sizes = [min(block, self.resamples - start) for start in range(0, self.resamples, block)]
        values = np.concatenate([sample.combine(self._resample(sample, size)) for size in sizes])
        tail = (1 - self.level) / 2
        lower, upper = np.nanquantile(values, [tail, 1 - tail])
        return float(lower), float(upper)

    def _resample(self, sample: Sample, size: int) -> FloatArray:
        """The columns' means in `size` resamples, shape (n_columns, size)."""
        rows = self.rng.integers(0, sample.n, size=(size, sample.n))
        return np.stack([column[rows].mean(axis=1) for column in sample.columns])


@dataclass(frozen=True, kw_only=True)
class ConfidenceSequence:
    """An interval that stays right however often the growing log is looked at; wider than the others.

    It also holds when the logging policy learned from the log: propensities were known before each row, so
    the rows' errors are a martingale. For ratios it is applied to their linearised terms.

    Attributes:
        level: confidence level over all looks, within (0, 1).

    Reference:
        `bandits.asymptotic`.
    """

    level: float = 0.95

    def __post_init__(self) -> None:
        _check_level(self.level)

    def interval(self, sample: Sample) -> tuple[float, float]:
        """See `IntervalMethod.interval`."""
        radius = sample.standard_deviation * boundary(np.array(float(sample.n)), alpha=1 - self.level)
        return _around(sample.value, float(radius))


def _around(value: float, radius: float) -> tuple[float, float]:
    return value - radius, value + radius


def _check_level(level: float) -> None:
    if not (math.isfinite(level) and 0 < level < 1):
        raise ValueError(f"a confidence level lies between 0 and 1, got {level:g}; 0.95 is usual")


NORMAL: Final = Normal()
