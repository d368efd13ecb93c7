from __future__ import annotations

import math

import numpy as np
import pytest

from bandits.drift_robust import AllocationCounts, contrasts, robust_lifts, robust_means, scores
from bandits.statistics import ArmStatistics, FloatArray

ALPHA = 0.05
PROPENSITIES = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0]])
GUESSES = np.array([[0.1, 0.3, 0.25], [0.4, 0.1, 0.9]])


def _decisions(rng: np.random.Generator) -> list[tuple[int, int, float]]:
    """Allocation, arm and reward of 300 decisions under two allocations; arm 2 is drained in the second."""
    return [(a, int(rng.choice(3, p=PROPENSITIES[a])), float(rng.integers(0, 4))) for a in (0, 1) for _ in range(150)]


def _counts(decisions: list[tuple[int, int, float]]) -> AllocationCounts:
    n, total, squares = np.zeros((3, 2, 3))
    for allocation, arm, reward in decisions:
        n[allocation, arm] += 1
        total[allocation, arm] += reward
        squares[allocation, arm] += reward**2
    return AllocationCounts(propensities=PROPENSITIES, guesses=GUESSES, n=n, sum=total, sum_of_squares=squares)


def _scores_one_by_one(decisions: list[tuple[int, int, float]]) -> FloatArray:
    """ξ by decision and arm, nan where the arm was not eligible."""
    table = np.full((len(decisions), 3), np.nan)
    for row, (allocation, arm, reward) in enumerate(decisions):
        p, m = PROPENSITIES[allocation], GUESSES[allocation]
        for i in range(3):
            if p[i] > 0:
                table[row, i] = m[i] + ((reward - m[i]) / p[i] if i == arm else 0)
    return table


def test_sums_equal_those_over_single_decisions() -> None:
    """What follows from an allocation's counts is what adding up each decision's scores gives."""
    decisions = _decisions(np.random.default_rng(1))
    table = _scores_one_by_one(decisions)
    total = scores(_counts(decisions)).total()
    assert total.n.tolist() == [300, 300, 150]
    np.testing.assert_allclose(total.sum, np.nansum(table, axis=0), rtol=1e-12)
    np.testing.assert_allclose(total.sum_of_squares, np.nansum(table**2, axis=0), rtol=1e-12)


@pytest.mark.parametrize("control", [0, 2])
def test_contrasts_equal_those_over_single_decisions(control: int) -> None:
    """The same for ξ_i − ξ_control, over decisions at which both arms were eligible."""
    decisions = _decisions(np.random.default_rng(2))
    table = _scores_one_by_one(decisions)
    table = table - table[:, [control]]
    table[:, control] = np.nan  # it has no lift over itself
    total = contrasts(_counts(decisions), control).total()
    assert total.n.tolist() == (~np.isnan(table)).sum(axis=0).tolist()
    np.testing.assert_allclose(total.sum, np.nansum(table, axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total.sum_of_squares, np.nansum(table**2, axis=0), rtol=1e-12)


def test_scores_are_unbiased_whatever_the_guess() -> None:
    """The expectation of a score over choice and reward is the arm's rate; exactly, by enumeration."""
    p, rates, guesses = np.array([0.1, 0.9]), np.array([0.3, 0.7]), np.array([0.9, 0.0])
    expected = np.zeros(2)
    for arm in (0, 1):
        for reward, chance in ((1.0, rates[arm]), (0.0, 1 - rates[arm])):
            chosen = np.eye(2)[[arm]]
            counts = AllocationCounts(
                propensities=p[None],
                guesses=guesses[None],
                n=chosen,
                sum=chosen * reward,
                sum_of_squares=chosen * reward,
            )
            expected += p[arm] * chance * scores(counts).sum[0]
    np.testing.assert_allclose(expected, rates, rtol=1e-14)


def test_half_width_is_the_formula() -> None:
    """Deviation times √(2(nρ²+1)/(n²ρ²) · ln(√(nρ²+1)/α)), around Σξ/N."""
    n, rewarded = 8_000, np.array([100.0])
    sums = ArmStatistics(n=np.array([n]), sum=np.array([0.2 * n]), sum_of_squares=np.array([0.5 * n]))
    interval = robust_means(sums, rewarded, alpha=ALPHA)
    rho2 = (-2 * math.log(ALPHA) + math.log(1 - 2 * math.log(ALPHA))) / 5_000
    width = math.sqrt(2 * (n * rho2 + 1) / (n**2 * rho2) * math.log(math.sqrt(n * rho2 + 1) / ALPHA))
    half = math.sqrt(0.5 - 0.2**2) * width
    assert interval.lower[0] == pytest.approx(0.2 - half, rel=1e-12)
    assert interval.upper[0] == pytest.approx(0.2 + half, rel=1e-12)


def test_there_is_no_figure_before_the_burn_in() -> None:
    """An arm needs 100 rewarded outcomes; a lift needs them of both arms; the control has no lift."""
    sums = ArmStatistics(n=np.full(4, 9e3), sum=np.full(4, 900.0), sum_of_squares=np.full(4, 900.0))
    rewarded = np.array([100.0, 99.0, 400.0, 0.0])
    assert np.isfinite(robust_means(sums, rewarded, alpha=ALPHA).lower).tolist() == [True, False, True, False]
    assert np.isfinite(robust_lifts(sums, rewarded, 2, alpha=ALPHA).upper).tolist() == [True, False, False, False]
    assert np.isnan(robust_lifts(sums, rewarded, 1, alpha=ALPHA).upper).all()


def test_outcomes_without_propensity_are_refused() -> None:
    """An arm that could not be chosen cannot have outcomes."""
    counts = np.ones((2, 3))
    with pytest.raises(ValueError, match="arm 2 has outcomes under allocation 1"):
        AllocationCounts(propensities=PROPENSITIES, guesses=GUESSES, n=counts, sum=counts, sum_of_squares=counts)


def test_shapes_must_agree() -> None:
    """All counts have one row per allocation and one column per arm."""
    with pytest.raises(ValueError, match=r"\(n_allocations, n_arms\)"):
        AllocationCounts(
            propensities=PROPENSITIES, guesses=GUESSES, n=np.ones(3), sum=np.ones(3), sum_of_squares=np.ones(3)
        )
