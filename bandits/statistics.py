"""Additive reward statistics: all that a policy knows about the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmStatistics:
    """Count, sum and sum of squares of the rewards of each arm.

    They add up: the statistics of two sets of outcomes together are `first.merge(second)`, so shards, time
    buckets and replicas need no coordination. Counts are floats because a decaying memory weights outcomes.

    Attributes:
        n: number of outcomes, ndarray of shape (n_arms,), 0 or more.
        sum: Σr, the sum of the rewards, ndarray of shape (n_arms,), in units of the reward.
        sum_of_squares: Σr², ndarray of shape (n_arms,), 0 or more.

    Raises:
        ValueError: when shapes differ, a number is not finite, or a count or a sum of squares is negative.
    """

    n: FloatArray
    sum: FloatArray
    sum_of_squares: FloatArray

    def __post_init__(self) -> None:
        for name in ("n", "sum", "sum_of_squares"):
            object.__setattr__(self, name, _frozen_vector(name, getattr(self, name)))
        if not self.n.shape == self.sum.shape == self.sum_of_squares.shape:
            shapes = (self.n.shape, self.sum.shape, self.sum_of_squares.shape)
            raise ValueError(f"n, sum and sum_of_squares need one entry per arm each, got shapes {shapes}")
        for name in ("n", "sum_of_squares"):
            _refuse_negative(name, getattr(self, name))

    @classmethod
    def zeros(cls, n_arms: int) -> ArmStatistics:
        """The statistics of `n_arms` arms that have no outcome yet."""
        return cls(n=np.zeros(n_arms), sum=np.zeros(n_arms), sum_of_squares=np.zeros(n_arms))

    @classmethod
    def of(cls, rewards: Sequence[Sequence[float] | FloatArray]) -> ArmStatistics:
        """The statistics of raw rewards, one sequence of rewards per arm."""
        arrays = [np.asarray(arm, dtype=np.float64) for arm in rewards]
        return cls(
            n=np.array([float(arm.size) for arm in arrays]),
            sum=np.array([arm.sum() for arm in arrays]),
            sum_of_squares=np.array([arm @ arm for arm in arrays]),
        )

    @property
    def n_arms(self) -> int:
        """Number of arms."""
        return self.n.size

    @property
    def mean(self) -> FloatArray:
        """Mean reward of each arm, ndarray of shape (n_arms,); nan where an arm has no outcome."""
        mean = np.full(self.n_arms, np.nan)
        np.divide(self.sum, self.n, out=mean, where=self.n > 0)
        return mean

    def merge(self, other: ArmStatistics) -> ArmStatistics:
        """The statistics of both sets of outcomes together.

        Raises:
            ValueError: when the numbers of arms differ.
        """
        if self.n_arms != other.n_arms:
            raise ValueError(f"cannot merge the statistics of {self.n_arms} and of {other.n_arms} arms")
        return ArmStatistics(
            n=self.n + other.n,
            sum=self.sum + other.sum,
            sum_of_squares=self.sum_of_squares + other.sum_of_squares,
        )

    def select(self, indices: npt.NDArray[np.intp]) -> ArmStatistics:
        """The statistics of some arms, in the order of `indices`."""
        return ArmStatistics(n=self.n[indices], sum=self.sum[indices], sum_of_squares=self.sum_of_squares[indices])


def frozen(array: npt.ArrayLike) -> FloatArray:
    """A read-only float64 copy, so that a value handed out cannot change behind its owner's back."""
    copy = np.array(array, dtype=np.float64)
    copy.setflags(write=False)
    return copy


def _frozen_vector(name: str, array: npt.ArrayLike) -> FloatArray:
    vector = frozen(array)
    if vector.ndim != 1:
        raise ValueError(f"{name} must have shape (n_arms,), got {vector.shape}")
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise ValueError(f"{name} of arm {bad[0]} is {vector[bad[0]]}, not a finite number")
    return vector


def _refuse_negative(name: str, vector: FloatArray) -> None:
    bad = np.flatnonzero(vector < 0)
    if bad.size:
        raise ValueError(f"{name} of arm {bad[0]} is {vector[bad[0]]}, below 0")
