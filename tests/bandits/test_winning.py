from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.beta import BetaPosterior
from bandits.statistics import FloatArray
from bandits.winning import expected_loss, expected_maximum, maximum, probability_best

Arms = list[tuple[float, float]]

HARD: dict[str, Arms] = {
    "three alike": [(2, 400), (2, 401), (2.5, 400)],
    "rare rewards": [(1, 1e8), (2, 1e8), (1, 2e8)],
    "tight beside flat": [(5e7, 5e7), (1, 1)],
    "tight between two flat": [(3e4, 7e4), (1, 3), (0.5, 1)],
    "U-shaped": [(0.1, 0.1), (0.1, 0.2), (0.3, 0.1)],
    "U-shaped beside tight": [(0.1, 0.1), (500, 500), (0.1, 3)],
    "mixed": [(0.1, 1e6), (40, 1e6), (3, 1e5), (1, 1e4)],
    "nearly certain": [(1e6, 1), (1e5, 0.1), (30, 1)],
}


def _posterior(arms: Arms) -> BetaPosterior:
    return BetaPosterior(np.array([a for a, _ in arms]), np.array([b for _, b in arms]))


def _large(seed: int, n_arms: int = 1000) -> BetaPosterior:
    """Arms of very different certainty around the same rate, which no arm dominates."""
    rng = np.random.default_rng(seed)
    n = 10 ** rng.uniform(0, 7, n_arms)
    rate = np.clip(0.05 + 0.2 * rng.normal(size=n_arms) / np.sqrt(n), 0, 1)
    return BetaPosterior(0.1 + n * rate, 0.1 + n * (1 - rate))


def _by_trapezoids(arms: Arms) -> FloatArray:
    """P(best) with scipy's distribution functions, by trapezoids: on smooth tails they converge fast.

    Densities are divided by their own sums, so no normalising constant is shared with the code under test.
    """
    alpha, beta = (np.array(side)[:, None] for side in zip(*arms, strict=True))
    mode, scale = np.log(alpha / beta), np.sqrt(1 / alpha + 1 / beta)
    low, high = (mode - 28 / alpha - 12 * scale).min(), (mode + 28 / beta + 12 * scale).max()
    z = np.arange(low, high, 0.3 * min(scale.min(), 1))
    log_density = alpha * scipy.special.log_expit(z) + beta * scipy.special.log_expit(-z)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    density /= density.sum(axis=1, keepdims=True)
    # The smaller of x and 1 − x is the precise one.
    left = scipy.special.betainc(alpha, beta, scipy.special.expit(z))
    right = scipy.special.betaincc(beta, alpha, scipy.special.expit(-z))
    distribution = np.where(z < 0, left, right)
    others = [np.prod(np.delete(distribution, arm, axis=0), axis=0) for arm in range(len(arms))]
    probabilities: FloatArray = np.sum(density * np.array(others), axis=1)
    return probabilities


@pytest.mark.parametrize("arms", HARD.values(), ids=HARD.keys())
def test_agrees_with_scipy(arms: Arms) -> None:
    """To 1e-8, another rule with scipy's distribution functions (good to 4e-9) agrees."""
    np.testing.assert_allclose(probability_best(_posterior(arms)), _by_trapezoids(arms), rtol=0, atol=1e-8)


@pytest.mark.parametrize("arms", HARD.values(), ids=HARD.keys())
def test_double_resolution_changes_nothing(arms: Arms) -> None:
    """Hard cases are within 1e-10 of panels half as wide, and their raw sum within 1e-10 of 1."""
    coarse, fine = maximum(_posterior(arms)), maximum(_posterior(arms), resolution=2)
    np.testing.assert_allclose(coarse.probability_best, fine.probability_best, atol=1e-10)
    assert coarse.expected_maximum == pytest.approx(fine.expected_maximum, rel=1e-10)
    assert abs(coarse.defect) < 1e-10


@pytest.mark.parametrize("seed", range(4))
def test_double_resolution_changes_nothing_with_1000_arms(seed: int) -> None:
    """A thousand arms of mixed certainty are as exact as three."""
    coarse, fine = maximum(_large(seed)), maximum(_large(seed), resolution=2)
    np.testing.assert_allclose(coarse.probability_best, fine.probability_best, atol=1e-10)
    assert abs(coarse.defect) < 1e-10


@given(
    arms=st.lists(
        st.tuples(*[st.floats(-1, 8.5).map(lambda exponent: float(10**exponent))] * 2), min_size=1, max_size=8
    )
)
@settings(max_examples=150, deadline=None)
def test_double_resolution_changes_nothing_anywhere(arms: Arms) -> None:
    """For any parameters from 0.1 to 3e8, probabilities move by less than 1e-8 at double resolution."""
    coarse, fine = maximum(_posterior(arms)), maximum(_posterior(arms), resolution=2)
    np.testing.assert_allclose(coarse.probability_best, fine.probability_best, atol=1e-8)
    assert coarse.probability_best.sum() == pytest.approx(1, abs=1e-12)
    assert abs(coarse.defect) < 1e-8


@pytest.mark.parametrize(("a", "b"), [((3, 5), (4, 4)), ((40, 960), (55, 945)), ((1, 1), (2, 7)), ((9, 1), (300, 30))])
def test_two_arms_have_a_closed_form(a: tuple[int, int], b: tuple[int, int]) -> None:
    """P(θ_b > θ_a) is Miller's finite sum (Formulas for Bayesian A/B testing, 2013) when α_b is whole."""
    terms = (
        scipy.special.betaln(a[0] + i, a[1] + b[1])
        - math.log(b[1] + i)
        - scipy.special.betaln(1 + i, b[1])
        - scipy.special.betaln(*a)
        for i in range(b[0])
    )
    exact = math.fsum(math.exp(term) for term in terms)
    assert probability_best(_posterior([a, b]))[1] == pytest.approx(exact, abs=1e-11)


@pytest.mark.parametrize("n_arms", [1, 2, 10, 1000])
def test_power_distributions_have_a_closed_form(n_arms: int) -> None:
    """For Beta(a_i, 1), P_i = a_i/Σa and E[max] = Σa/(Σa + 1), whatever the number of arms."""
    shape: FloatArray = 10 ** np.random.default_rng(n_arms).uniform(-1, 3, n_arms)
    posterior = BetaPosterior(shape, np.ones(n_arms))
    total = shape.sum()
    np.testing.assert_allclose(probability_best(posterior), shape / total, atol=1e-12)
    assert expected_maximum(posterior) == pytest.approx(total / (total + 1), rel=1e-12)
    np.testing.assert_allclose(
        expected_loss(posterior), total / (total + 1) - shape / (shape + 1), rtol=1e-9, atol=1e-14
    )


@pytest.mark.parametrize("n_arms", [1, 3, 1000])
@pytest.mark.parametrize("arm", [(1, 1), (0.1, 0.1), (2, 400), (1, 1e8), (5e7, 5e7)])
def test_equal_arms_share_equally(arm: tuple[float, float], n_arms: int) -> None:
    """Arms that nothing tells apart have the same probability, to the bit."""
    probabilities = probability_best(_posterior([arm] * n_arms))
    assert np.all(probabilities == probabilities[0])
    assert probabilities[0] == pytest.approx(1 / n_arms, rel=1e-13)


@pytest.mark.parametrize("n_arms", [10, 1000])
def test_agrees_with_drawing(n_arms: int) -> None:
    """Ten groups of arms win drawn contests as often as predicted; false alarm 10 · P(|Z| > 5.5) < 4e-7."""
    draws = 20_000_000 // max(n_arms, 20)
    posterior = _large(seed=7, n_arms=n_arms)
    rng = np.random.default_rng(20261124)
    wins = np.zeros(n_arms)
    largest = 0.0
    for _ in range(20):
        sample = rng.beta(posterior.alpha, posterior.beta, size=(draws // 20, n_arms))
        wins += np.bincount(sample.argmax(axis=1), minlength=n_arms)
        largest += float(sample.max(axis=1).sum())
    played = draws // 20 * 20
    probabilities = probability_best(posterior)
    order = np.argsort(probabilities)
    for group in np.array_split(order, 10):
        expected = probabilities[group].sum()
        deviation = math.sqrt(max(played * expected * (1 - expected), 4))
        assert abs(wins[group].sum() - played * expected) < 5.5 * deviation
    # θ lies within [0, 1], so its standard deviation is at most ½.
    assert largest / played == pytest.approx(expected_maximum(posterior), abs=5.5 * 0.5 / math.sqrt(played))


def test_an_arm_that_cannot_win_has_probability_0() -> None:
    """An arm whose whole support lies below another's is left out of the integration."""
    assert probability_best(_posterior([(1, 1e6), (1e5, 1e5)])).tolist() == [0, 1]


def test_order_of_arms_does_not_matter() -> None:
    """A permutation of the arms permutes the probabilities to the bit."""
    posterior = _large(seed=3, n_arms=57)
    order = np.random.default_rng(1).permutation(57)
    assert np.array_equal(probability_best(posterior.select(order)), probability_best(posterior)[order])


def test_single_arm_loses_nothing() -> None:
    """With one arm there is nothing to choose: it is the best, and serving it costs nothing."""
    posterior = _posterior([(3, 900)])
    assert probability_best(posterior).tolist() == [1]
    assert expected_loss(posterior)[0] == pytest.approx(0, abs=1e-15)


def test_a_failed_quadrature_is_refused() -> None:
    """Panels far too wide for the densities raise instead of answering."""
    with pytest.raises(ArithmeticError, match="the quadrature failed"):
        probability_best(_posterior([(3e4, 7e4), (1, 3)]), resolution=0.05)
