"""Who is the best, for Student-t, Gamma and rescaled Beta posteriors: the bars are those of Beta ones."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
import scipy.integrate
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.posteriors import Posterior
from bandits.winning import expected_loss, expected_maximum, maximum, probability_best
from tests.bandits.families import HARD, ORDINARY, Rows, gamma, many, marginals, student


def _power(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda exponent: float(10**exponent))


@pytest.mark.parametrize("posterior", ORDINARY.values(), ids=ORDINARY)
def test_two_arms_agree_with_scipy(posterior: Posterior) -> None:
    """P(θ₁ > θ₀) and E[max] are scipy's one-dimensional integrals, to 1e-8 and 1e-7."""
    a, b = marginals(posterior)
    breaks = np.unique(
        np.concatenate([m.ppf([1e-12, 1e-6, 0.01, 0.3, 0.7, 0.99, 1 - 1e-6, 1 - 1e-12]) for m in (a, b)])
    )

    def integral(f: object) -> float:
        pairs = itertools.pairwise(breaks)
        return math.fsum(scipy.integrate.quad(f, x, y, epsabs=1e-13, epsrel=1e-12)[0] for x, y in pairs)

    assert probability_best(posterior)[1] == pytest.approx(integral(lambda x: b.pdf(x) * a.cdf(x)), abs=1e-8)
    expected = integral(lambda x: x * (b.pdf(x) * a.cdf(x) + a.pdf(x) * b.cdf(x)))
    assert expected_maximum(posterior) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(("a", "b"), [((3, 5), (4, 4)), ((1, 1), (2, 7)), ((40, 30), (55, 45))])
def test_two_gamma_arms_have_a_closed_form(a: tuple[int, int], b: tuple[int, int]) -> None:
    """θ₀b₀/(θ₀b₀ + θ₁b₁) is Beta(a₀, a₁), so P(θ₁ > θ₀) is its distribution function at b₀/(b₀ + b₁)."""
    exact = scipy.special.betainc(a[0], b[0], a[1] / (a[1] + b[1]))
    assert probability_best(gamma([a, b]))[1] == pytest.approx(exact, abs=1e-12)


def test_exponential_arms_have_a_closed_form() -> None:
    """The largest of 30 exponential means is on average the harmonic number, and each as often the best."""
    winner = maximum(gamma([(1, 2 - 1e-9 * k) for k in range(30)]))
    np.testing.assert_allclose(winner.probability_best, 1 / 30, rtol=1e-7)
    assert winner.expected_maximum == pytest.approx(math.fsum(1 / k for k in range(1, 31)) / 2, rel=1e-7)


def test_cauchy_like_arms_have_their_mean() -> None:
    """Of two t with hardly more than 2 degrees of freedom, E[max] is that of scipy's integral of 1 − F² − F(−)²."""
    (m, _) = marginals(student([(0, 1, 2.0001)] * 2))
    # E[max] of two = ∫_0^∞ 1 − F² − (1 − F)² dx = 2 ∫_0^∞ F (1 − F) dx, in log x.
    exact = scipy.integrate.quad(lambda u: 2 * m.cdf(np.exp(u)) * m.sf(np.exp(u)) * np.exp(u), -40, 40, limit=500)[0]
    assert expected_maximum(student([(0, 1, 2.0001)] * 2)) == pytest.approx(exact, abs=1e-8)


@pytest.mark.parametrize("posterior", HARD.values(), ids=HARD)
def test_double_resolution_changes_nothing(posterior: Posterior) -> None:
    """Hard cases are within 1e-8 of panels half as wide, also in units of the largest deviation."""
    coarse, fine = maximum(posterior), maximum(posterior, resolution=2)
    np.testing.assert_allclose(coarse.probability_best, fine.probability_best, rtol=0, atol=1e-8)
    scale = float(posterior.standard_deviation.max())
    assert coarse.expected_maximum == pytest.approx(fine.expected_maximum, rel=1e-13, abs=1e-8 * scale)
    assert abs(coarse.defect) < 1e-8


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["student", "gamma"])
def test_double_resolution_changes_nothing_with_1000_arms(kind: str, seed: int) -> None:
    """A thousand arms of mixed certainty are as exact as three."""
    posterior = many(kind, seed)
    coarse, fine = maximum(posterior), maximum(posterior, resolution=2)
    np.testing.assert_allclose(coarse.probability_best, fine.probability_best, rtol=0, atol=1e-10)
    assert abs(coarse.defect) < 1e-10


_T_ARMS = st.lists(
    st.tuples(st.floats(-5, 5), _power(-4, 2), _power(-5, 9).map(lambda e: 2 + e)), min_size=1, max_size=7
)
_GAMMA_ARMS = st.lists(st.tuples(_power(-1, 9), _power(-3, 9)), min_size=1, max_size=7)


@given(rows=st.one_of(_T_ARMS, _GAMMA_ARMS))
@settings(max_examples=200, deadline=None)
def test_double_resolution_changes_nothing_anywhere(rows: Rows) -> None:
    """For any parameters within the limits, probabilities move by less than 1e-8 at double resolution and sum to 1."""
    posterior = gamma(rows) if len(rows[0]) == 2 else student(rows)
    coarse, fine = maximum(posterior), maximum(posterior, resolution=2)
    np.testing.assert_allclose(coarse.probability_best, fine.probability_best, rtol=0, atol=1e-8)
    assert coarse.probability_best.sum() == pytest.approx(1, abs=1e-12)
    assert abs(coarse.defect) < 1e-8
    assert coarse.expected_maximum >= posterior.mean.max() - 1e-8 * posterior.standard_deviation.max()


@given(rows=_T_ARMS, moved=st.floats(-1e3, 1e3), factor=_power(-3, 3))
@settings(max_examples=60, deadline=None)
def test_units_do_not_matter(rows: Rows, moved: float, factor: float) -> None:
    """Numbers in cents and from another zero have the same best arms."""
    elsewhere = [(factor * (m + moved), factor * s, nu) for m, s, nu in rows]
    # Moved locations lose digits relative to the tightest arm: 1e3 of 1e-4 loses eleven of sixteen.
    np.testing.assert_allclose(probability_best(student(rows)), probability_best(student(elsewhere)), rtol=0, atol=1e-7)


@pytest.mark.parametrize("n_arms", [1, 3, 1000])
@pytest.mark.parametrize(
    "posterior", [student([(5, 2, 2.001)]), student([(5, 1e-4, 1e8)]), gamma([(0.1, 1)]), gamma([(1e9, 1e3)])]
)
def test_equal_arms_share_equally(posterior: Posterior, n_arms: int) -> None:
    """Arms that nothing tells apart have the same probability, to the bit."""
    probabilities = probability_best(posterior.select(np.zeros(n_arms, dtype=np.intp)))
    assert np.all(probabilities == probabilities[0])
    assert probabilities[0] == pytest.approx(1 / n_arms, rel=1e-13)


@pytest.mark.parametrize("posterior", [student([(5, 2, 2.001)]), student([(5, 1e-4, 1e8)]), gamma([(0.1, 1)])])
def test_single_arm_loses_nothing(posterior: Posterior) -> None:
    """With one arm there is nothing to choose: it is the best, and serving it costs nothing."""
    assert probability_best(posterior).tolist() == [1]
    assert expected_loss(posterior)[0] == pytest.approx(0, abs=2e-8)


@pytest.mark.parametrize("posterior", HARD.values(), ids=HARD)
def test_agrees_with_drawing(posterior: Posterior) -> None:
    """Arms win drawn contests as often as predicted; false alarm 3 · P(|Z| > 6) < 1e-8 a case."""
    draws = posterior.sample(np.random.default_rng(20261124), 400_000)
    wins = np.bincount(draws.argmax(axis=1), minlength=posterior.n_arms) / len(draws)
    expected = probability_best(posterior)
    assert np.all(np.abs(wins - expected) < 6 * np.sqrt(np.maximum(expected * (1 - expected), 1e-5) / len(draws)))


@pytest.mark.parametrize("kind", ["student", "gamma"])
def test_a_thousand_arms_are_quick(kind: str) -> None:
    """P(best) of a thousand arms takes less than 100 ms on a quiet core: the best of five tries, in processor time."""
    posterior = many(kind, 5)
    spent = []
    for _ in range(5):
        begun = time.thread_time()
        maximum(posterior)
        spent.append(time.thread_time() - begun)
    assert min(spent) < 0.1
