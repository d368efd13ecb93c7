from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats

from bandits.beta import BetaPosterior
from bandits.quadrature import NODES, TAILS, WEIGHTS
from bandits.statistics import FloatArray

GRID = np.array([0.1, 0.5, 1, 2, 7.5, 60, 1e3, 1e5])
ALPHA, BETA = (side.ravel() for side in np.meshgrid(GRID, GRID))
POSTERIOR = BetaPosterior(ALPHA, BETA)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95, 0.999, 0.99999])
def test_interval_agrees_with_scipy(level: float) -> None:
    """Credible intervals equal scipy's inverse of the incomplete beta function to 1e-9 of the value."""
    lower, upper = POSTERIOR.interval(level)
    np.testing.assert_allclose(lower, scipy.special.betaincinv(ALPHA, BETA, (1 - level) / 2), rtol=1e-9)
    np.testing.assert_allclose(upper, scipy.special.betaincinv(ALPHA, BETA, (1 + level) / 2), rtol=1e-9)


@pytest.mark.parametrize("probability", [1e-6, 0.025, 0.5, 0.975, 1 - 1e-6])
def test_quantile_of_power_distributions_is_exact(probability: float) -> None:
    """Quantiles of Beta(a, 1) and Beta(1, b) equal their closed forms to 1e-9, with up to 1e8 outcomes."""
    shape = np.array([0.1, 1, 30, 1e4, 1e8])
    ones = np.ones_like(shape)
    rising = BetaPosterior(shape, ones).quantile(probability)
    falling = BetaPosterior(ones, shape).quantile(probability)
    np.testing.assert_allclose(rising, probability ** (1 / shape), rtol=1e-9)
    np.testing.assert_allclose(falling, -np.expm1(np.log1p(-probability) / shape), rtol=1e-9)


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.99])
def test_quantile_has_its_probability_with_very_much_data(probability: float) -> None:
    """With 1e8 outcomes, scipy's distribution function at the quantile is the probability to 1e-8."""
    alpha, beta = np.array([2, 5e7, 1e6, 1e8]), np.array([1e8, 5e7, 1e8, 1e8])
    quantile = BetaPosterior(alpha, beta).quantile(probability)
    np.testing.assert_allclose(scipy.special.betainc(alpha, beta, quantile), probability, atol=1e-8)


def test_moments_agree_with_scipy() -> None:
    """Mean and standard deviation are those of the Beta distribution."""
    np.testing.assert_allclose(POSTERIOR.mean, scipy.stats.beta.mean(ALPHA, BETA), rtol=1e-13)
    np.testing.assert_allclose(POSTERIOR.standard_deviation, scipy.stats.beta.std(ALPHA, BETA), rtol=1e-12)


def test_log_density_agrees_with_scipy() -> None:
    """The density per unit of logit x is scipy's density times x(1 − x)."""
    z = np.linspace(-6, 6, 25)
    x = scipy.special.expit(z)
    expected = scipy.stats.beta.logpdf(x, ALPHA[:, None], BETA[:, None]) + np.log(x * (1 - x))
    np.testing.assert_allclose(POSTERIOR.log_density(z[None, :]), expected, rtol=1e-9, atol=1e-9)


def test_support_leaves_out_next_to_nothing() -> None:
    """Less than 1e-14 of the mass lies beyond each end of an arm's support."""
    lower, upper = POSTERIOR.support
    assert np.all(scipy.special.betainc(ALPHA, BETA, scipy.special.expit(lower)) < 1e-14)
    assert np.all(scipy.special.betainc(BETA, ALPHA, scipy.special.expit(-upper)) < 1e-14)


@pytest.mark.parametrize(("alpha", "beta"), [([1, 0.05], [1, 1]), ([1, np.nan], [1, 1]), ([1, 1], [1, np.inf])])
def test_parameters_outside_the_validated_range_are_refused(alpha: list[float], beta: list[float]) -> None:
    """Parameters below 0.1 or not finite are refused, naming the arm."""
    with pytest.raises(ValueError, match="arm 1 has Beta"):
        BetaPosterior(np.array(alpha), np.array(beta))


def test_unequal_numbers_of_parameters_are_refused() -> None:
    """Each arm needs both parameters."""
    with pytest.raises(ValueError, match="one entry per arm each"):
        BetaPosterior(np.ones(2), np.ones(3))


@pytest.mark.parametrize("probability", [-0.1, 0.0, 1.0, float("nan")])
def test_quantiles_outside_the_range_are_refused(probability: float) -> None:
    """A probability outside (0, 1) has no quantile."""
    with pytest.raises(ValueError, match="must be within"):
        POSTERIOR.quantile(probability)


@pytest.mark.parametrize("degree", range(24))
def test_tail_matrix_integrates_polynomials_exactly(degree: int) -> None:
    """From each node to 1, and over the whole panel, powers up to 23 are integrated to rounding."""
    powers: FloatArray = NODES**degree
    np.testing.assert_allclose(powers @ TAILS, (1 - NODES ** (degree + 1)) / (degree + 1), atol=1e-14)
    assert powers @ WEIGHTS == pytest.approx((1 - (-1.0) ** (degree + 1)) / (degree + 1), abs=1e-14)
