from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.statistics import ArmStatistics

REWARDS = st.lists(st.lists(st.integers(-1000, 1000).map(float), max_size=20), min_size=3, max_size=3)


def _vectors(statistics: ArmStatistics) -> list[list[float]]:
    return [statistics.n.tolist(), statistics.sum.tolist(), statistics.sum_of_squares.tolist()]


@given(first=REWARDS, second=REWARDS)
def test_merge_equals_the_statistics_of_all_rewards(first: list[list[float]], second: list[list[float]]) -> None:
    """Statistics are additive: merging two parts gives the statistics of the whole."""
    whole = ArmStatistics.of([a + b for a, b in zip(first, second, strict=True)])
    assert _vectors(ArmStatistics.of(first).merge(ArmStatistics.of(second))) == _vectors(whole)


def test_zeros_are_neutral() -> None:
    """Merging with no outcomes changes nothing."""
    statistics = ArmStatistics.of([[1, 0], [2.5]])
    assert _vectors(statistics.merge(ArmStatistics.zeros(2))) == _vectors(statistics)


def test_mean_is_nan_without_outcomes() -> None:
    """No data is not a mean of 0."""
    mean = ArmStatistics.of([[1, 0], []]).mean
    assert mean[0] == 0.5
    assert np.isnan(mean[1])


def test_select_takes_arms_in_the_order_asked_for() -> None:
    """Selecting arms keeps each arm's three numbers together."""
    selected = ArmStatistics.of([[1], [2, 2], [3]]).select(np.array([2, 1]))
    assert _vectors(selected) == [[1, 2], [3, 4], [9, 8]]


def test_arrays_are_read_only_copies() -> None:
    """Neither the caller's array nor the statistics' own can change them afterwards."""
    counts = np.array([1.0])
    statistics = ArmStatistics(n=counts, sum=counts, sum_of_squares=counts)
    counts[0] = 7
    assert statistics.n[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        statistics.n[0] = 7


@pytest.mark.parametrize(
    ("n", "total", "squares", "message"),
    [
        ([1, 1], [1], [1, 1], "one entry per arm each"),
        ([[1]], [[1]], [[1]], r"shape \(n_arms,\)"),
        ([1, -1], [0, 0], [0, 0], "n of arm 1 is -1"),
        ([1, 1], [0, float("nan")], [0, 0], "sum of arm 1 is nan"),
        ([1, 1], [0, 0], [float("inf"), 0], "sum_of_squares of arm 0 is inf"),
        ([1, 1], [0, 0], [0, -2], "sum_of_squares of arm 1 is -2"),
    ],
)
def test_broken_statistics_are_refused(n: list[float], total: list[float], squares: list[float], message: str) -> None:
    """Wrong shapes, numbers that are not finite and negative counts are refused, naming the arm."""
    with pytest.raises(ValueError, match=message):
        ArmStatistics(n=np.array(n), sum=np.array(total), sum_of_squares=np.array(squares))


def test_merging_different_numbers_of_arms_is_refused() -> None:
    """Statistics of different experiments cannot be added by accident."""
    with pytest.raises(ValueError, match="2 and of 3 arms"):
        ArmStatistics.zeros(2).merge(ArmStatistics.zeros(3))
