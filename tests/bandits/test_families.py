"""All families of posteriors against scipy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bandits.gamma import GammaPosterior
from bandits.posteriors import Posterior
from bandits.student import StudentPosterior
from tests.bandits.families import HARD, ORDINARY, gamma, marginals, student

ALL = {**ORDINARY, **HARD}
WIDE = student([(5, 2, nu) for nu in (2.0001, 3, 7.5, 40, 1e4, 1e9)])
COUNTS = gamma([(a, b) for a in (0.1, 0.5, 1, 30, 1e5, 1e9) for b in (1e-3, 1, 1e6)])
POSTERIORS: dict[str, Posterior] = {**ALL, "t of all degrees": WIDE, "Gamma of all shapes": COUNTS}


@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_moments_agree_with_scipy(posterior: Posterior) -> None:
    """Mean and standard deviation are those of the distribution."""
    expected = marginals(posterior)
    np.testing.assert_allclose(posterior.mean, [m.mean() for m in expected], rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(posterior.standard_deviation, [m.std() for m in expected], rtol=1e-9)


@pytest.mark.parametrize("probability", [0.001, 0.025, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_quantile_has_its_probability(posterior: Posterior, probability: float) -> None:
    """Scipy's distribution function at the quantile is the probability, to 2e-7 of the smaller tail."""
    quantile = posterior.quantile(probability)
    pairs = list(zip(marginals(posterior), quantile, strict=True))
    found = [m.cdf(x) for m, x in pairs] if probability <= 0.5 else [m.sf(x) for m, x in pairs]
    tail = min(probability, 1 - probability)
    np.testing.assert_allclose(found, tail, rtol=2e-7)


@pytest.mark.parametrize("probability", [1e-6, 1 - 1e-6])
def test_far_quantiles_of_large_counts_are_those_of_the_expansion(probability: float) -> None:
    """With 1e9 counts scipy's lower tail is wrong by 73 % at 1e-6; Cornish and Fisher's expansion is not."""
    z = scipy.stats.norm.ppf(probability)
    quantile = gamma([(1e9, 1e6)]).quantile(probability)
    assert (quantile[0] * 1e6 - 1e9) / 1e9**0.5 == pytest.approx(z + (z**2 - 1) / (3 * 1e9**0.5), abs=1e-7)


@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_interval_is_made_of_two_quantiles(posterior: Posterior) -> None:
    """The equal-tailed interval leaves half of the rest on each side."""
    lower, upper = posterior.interval(0.9)
    np.testing.assert_allclose(lower, posterior.quantile(0.05), rtol=1e-12)
    np.testing.assert_allclose(upper, posterior.quantile(0.95), rtol=1e-12)
    assert np.all(lower < upper)


@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
def test_support_leaves_out_next_to_nothing(posterior: Posterior) -> None:
    """Less than 1e-14 of the mass lies beyond each end of an arm's support."""
    lower, upper = (posterior.value(end) for end in posterior.support)
    expected = marginals(posterior)
    assert all(m.cdf(x) < 1e-14 for m, x in zip(expected, lower, strict=True))
    assert all(m.sf(x) < 1e-14 for m, x in zip(expected, upper, strict=True))


@pytest.mark.parametrize("posterior", ORDINARY.values(), ids=ORDINARY)
def test_log_density_agrees_with_scipy(posterior: Posterior) -> None:
    """The density per unit of z is scipy's density times the derivative of the value."""
    lower, upper = posterior.support
    z = np.linspace(lower.max() / 4, upper.min() / 4, 31)
    step = 1e-5
    derivative = (posterior.value(z + step) - posterior.value(z - step)) / (2 * step)
    for found, distribution in zip(posterior.log_density(z[None, :]), marginals(posterior), strict=True):
        np.testing.assert_allclose(found, distribution.logpdf(posterior.value(z)) + np.log(derivative), atol=1e-8)


@pytest.mark.parametrize("posterior", ORDINARY.values(), ids=ORDINARY)
def test_draws_are_of_the_distribution(posterior: Posterior) -> None:
    """Of 100,000 draws as many lie under each of five quantiles as should; false alarm 20 · P(|Z| > 6) < 1e-7."""
    draws = posterior.sample(np.random.default_rng(3), 100_000)
    assert draws.shape == (100_000, posterior.n_arms)
    for probability in (0.01, 0.2, 0.5, 0.8, 0.99):
        below = (draws < posterior.quantile(probability)).mean(axis=0)
        assert np.all(np.abs(below - probability) < 6 * np.sqrt(probability * (1 - probability) / 100_000))


@pytest.mark.parametrize("posterior", ALL.values(), ids=ALL)
def test_a_selection_is_of_the_same_arms(posterior: Posterior) -> None:
    """Selected arms keep their parameters, and with them all that follows."""
    order = np.arange(posterior.n_arms)[::-1]
    selected = posterior.select(order)
    assert selected.as_mapping(0) == posterior.as_mapping(posterior.n_arms - 1)
    np.testing.assert_array_equal(selected.mean, posterior.mean[order])
    np.testing.assert_allclose(selected.quantile(0.3), posterior.quantile(0.3)[order], rtol=1e-9)


@pytest.mark.parametrize(
    ("shape", "rate"), [([1, 0.05], [1, 1]), ([1, 1], [1, 0]), ([1, np.nan], [1, 1]), ([1, 1], [1, np.inf])]
)
def test_gamma_parameters_outside_the_range_are_refused(shape: list[float], rate: list[float]) -> None:
    """Shapes below 0.1, rates of 0 and what is not finite are refused, naming the arm."""
    with pytest.raises(ValueError, match="arm 1 has Gamma"):
        GammaPosterior(np.array(shape), np.array(rate))


@pytest.mark.parametrize("row", [(np.nan, 1, 2, 1), (0, 0, 2, 1), (0, 1, 1, 1), (0, 1, 2, 0), (0, 1, np.inf, 1)])
def test_student_parameters_outside_the_range_are_refused(row: tuple[float, ...]) -> None:
    """A mean without variance, a scale of 0 and what is not finite are refused, naming the arm."""
    vectors = [np.array([sound, value]) for sound, value in zip((0, 1, 2, 1), row, strict=True)]
    with pytest.raises(ValueError, match="arm 1 has"):
        StudentPosterior(*vectors)
