from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from bandits.sample_ratio import ExposureShares, sample_ratio


def _shares(counts: Sequence[Sequence[float]], propensities: Sequence[Sequence[float]]) -> ExposureShares:
    return ExposureShares.of(np.array(counts), np.array(propensities))


def test_shares_add_up_over_allocations() -> None:
    """Observed, expected and variance are sums over allocations, in one go or merged."""
    counts, p = [[30, 70], [500, 400]], [[0.4, 0.6], [0.5, 0.5]]
    together = _shares(counts, p)
    merged = _shares(counts[:1], p[:1]).merge(_shares(counts[1:], p[1:]))
    for shares in (together, merged):
        np.testing.assert_allclose(shares.observed, [530, 470])
        np.testing.assert_allclose(shares.expected, [490, 510])
        np.testing.assert_allclose(shares.variance, [24 + 225, 24 + 225])


def test_statistic_is_the_deviation_over_the_boundary() -> None:
    """|M|/N against √(V/N) times the boundary at α/K."""
    result = sample_ratio(_shares([[5_300, 4_700]], [[0.5, 0.5]]))
    n, alpha = 10_000, 0.01 / 2
    rho2 = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / 5_000
    width = math.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * math.log(math.sqrt(n * rho2 + 1) / alpha))
    expected = 0.03 / (0.5 * width)
    assert result.statistic == pytest.approx(expected, rel=1e-12)
    assert result.deviations.tolist() == pytest.approx([expected, -expected])
    assert result.ok is False


def test_exact_shares_are_ok() -> None:
    """Shares as planned deviate by 0; an arm that could not be chosen is not judged."""
    result = sample_ratio(_shares([[600, 400, 0]], [[0.6, 0.4, 0.0]]))
    assert result.ok is True
    assert result.statistic == 0
    assert result.deviations[:2].tolist() == [0, 0]
    assert math.isnan(result.deviations[2])
    assert result.shares.observed.tolist() == [600, 400, 0]


def test_a_choice_that_could_not_be_is_a_mismatch() -> None:
    """Exposures of an arm whose propensity was 0 are infinitely many too many."""
    result = sample_ratio(_shares([[600, 399, 1]], [[0.6, 0.4, 0.0]]))
    assert result.ok is False
    assert result.statistic == np.inf


def test_there_is_no_verdict_before_500_decisions() -> None:
    """Too few decisions, or none: no verdict, however unequal."""
    for count in (0, 499):
        result = sample_ratio(_shares([[count, 0]], [[0.5, 0.5]]))
        assert result.ok is None
        assert math.isnan(result.statistic)
    assert sample_ratio(_shares([[500, 0]], [[0.5, 0.5]])).ok is False


def test_arms_with_small_shares_are_judged_later() -> None:
    """Ten exposures where one was expected prove little if the arm is one of many; with 21 expected it is judged."""
    few = sample_ratio(_shares([[990, 10]], [[0.999, 0.001]]))
    assert few.ok is None
    enough = sample_ratio(_shares([[20_900, 100]], [[0.999, 0.001]]))
    assert enough.ok is False


def test_false_alarms_are_rare_with_many_small_shares() -> None:
    """Of 1,000 runs with 50 arms, 49 of them small, looked at 100 times, P(more than 33 at 1 %) < 1e-8."""
    rng = np.random.default_rng(20261124)
    p = np.full(50, 0.002)
    p[0] = 1 - 49 * 0.002
    observed, alarm = np.zeros((1_000, 50)), np.zeros(1_000, dtype=bool)
    for look in range(1, 101):
        observed += rng.multinomial(200, p, size=1_000)
        excess = observed - 200 * look * p
        suspects = np.flatnonzero(~alarm & (np.abs(excess) > 3 * np.sqrt(200 * look * p)).any(axis=1))
        for run in suspects:
            alarm[run] = sample_ratio(_shares([observed[run].tolist()], [p.tolist()])).ok is False
    assert alarm.sum() <= 33


def test_smaller_alpha_allows_more() -> None:
    """The same deviation is a smaller multiple of what a stricter test allows."""
    shares = _shares([[5_200, 4_800]], [[0.5, 0.5]])
    statistics = [sample_ratio(shares, alpha=alpha).statistic for alpha in (0.1, 0.01, 1e-6)]
    assert statistics == sorted(statistics, reverse=True)


def test_propensities_that_do_not_sum_to_1_are_refused() -> None:
    """Expected decisions must amount to the observed ones."""
    with pytest.raises(ValueError, match="propensities sum to"):
        _shares([[10, 10]], [[0.5, 0.4]])


def test_shapes_must_agree() -> None:
    """One entry per arm each."""
    with pytest.raises(ValueError, match="one entry per arm"):
        ExposureShares(observed=np.ones(2), expected=np.ones(2), variance=np.ones(3))
