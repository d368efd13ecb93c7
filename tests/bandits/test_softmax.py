from __future__ import annotations

import math

import numpy as np
import pytest

from bandits.beta import BetaPosterior
from bandits.softmax import Softmax
from bandits.statistics import ArmStatistics, FloatArray


def _shares(temperature: float, *means: float) -> FloatArray:
    posterior = BetaPosterior(1e4 * np.array(means), 1e4 * (1 - np.array(means)))
    arms = [str(arm) for arm in range(len(means))]
    return Softmax(temperature=temperature).propensities(arms, ArmStatistics.zeros(len(means)), posterior)


def test_a_temperature_better_is_e_times_the_share() -> None:
    """Worked by hand: means 0.1 apart at τ = 0.1 have shares 1 : e : e²."""
    total = 1 + math.e + math.e**2
    np.testing.assert_allclose(_shares(0.1, 0.3, 0.4, 0.5), [1 / total, math.e / total, math.e**2 / total], rtol=1e-12)


def test_the_coldest_is_greedy_and_shares_ties() -> None:
    """At the smallest temperature exponentials of a million underflow to 0, and nothing overflows."""
    assert _shares(1e-6, 0.9, 0.1, 0.9).tolist() == [0.5, 0, 0.5]


def test_the_hottest_is_equal() -> None:
    """At the largest temperature differences of a reward of 0 or 1 do not show."""
    assert _shares(1e6, 0.9, 0.1) == pytest.approx([0.5, 0.5], abs=1e-6)
