"""An estimate, and the sample of rows that it is computed from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bandits.statistics import FloatArray

__all__ = ["Estimate", "Sample", "effective_sample_size"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimated value of a target policy.

    Attributes:
        value: estimated mean reward under the target, in units of the reward.
        standard_error: of `value`; infinite for a single row.
        interval: lower and upper end, for the true mean reward.
        level: the interval's confidence level, as 0.95.
        effective_sample_size: (Σw)²/Σw² of the weights used, 0 to n rows; None where no weights are used.
        max_weight: the largest weight used; None where no weights are used.
        zero_weight_share: share of rows whose weight is 0, which say nothing about the target; None likewise.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    level: float
    effective_sample_size: float | None = None
    max_weight: float | None = None
    zero_weight_share: float | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows whose mean is an estimate, or whose means are its parts: mean(terms) + mean(numerator)/mean(weights).

    Attributes:
        columns: (terms,), or (terms, numerator, weights) for a ratio; ndarrays of shape (n,) each.
    """

    columns: tuple[FloatArray] | tuple[FloatArray, FloatArray, FloatArray]

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.columns[0].size

    @property
    def value(self) -> float:
        """The estimate."""
        return float(self.combine(np.array([column.mean() for column in self.columns])))

    def combine(self, means: FloatArray) -> FloatArray:
        """The estimate from the columns' means, shape (n_columns, ...); nan where no row has weight."""
        if len(self.columns) == 1:
            return np.asarray(means[0])
        ratio = np.full(np.shape(means[1]), np.nan)
        np.divide(means[1], means[2], out=ratio, where=means[2] > 0)
        return np.asarray(means[0] + ratio)

    @property
    def deviations(self) -> FloatArray:
        """What each row adds to n times the estimate's error, shape (n,): for a ratio, by the delta method."""
        terms: FloatArray = self.columns[0] - self.columns[0].mean()
        if len(self.columns) == 1:
            return terms
        _, numerator, weights = self.columns
        ratio = numerator.mean() / weights.mean()
        return np.asarray(terms + (numerator - ratio * weights) / weights.mean())

    @property
    def standard_deviation(self) -> float:
        """Of a row's deviation: √n standard errors; infinite for a single row.

        Means divide by n − 1. Ratios divide by n, as in Owen, "Monte Carlo theory, methods and examples"
        (2013), equation 9.9.
        """
        degrees = self.n - 1 if len(self.columns) == 1 else self.n
        deviations = self.deviations
        return math.sqrt(float(deviations @ deviations) / degrees) if self.n > 1 else math.inf

    @property
    def standard_error(self) -> float:
        """Of the estimate; infinite for a single row."""
        return self.standard_deviation / math.sqrt(self.n)


def effective_sample_size(weights: FloatArray) -> float:
    """How many equally weighted rows are worth as much: (Σw)²/Σw², 0 when no row has weight.

    Reference: Kong, "A note on importance sampling using standardized weights" (1992).
    """
    largest = float(weights.max())
    if largest == 0:
        return 0.0
    scaled = weights / largest  # squares of weights up to 1e300 would not be finite
    return float(scaled.sum() ** 2 / (scaled @ scaled))
