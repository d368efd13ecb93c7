from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bandits.posteriors import Posterior
from bandits.remaining import value_remaining
from bandits.winning import probability_best
from tests.bandits.families import HARD, gamma, scaled_beta, student


def _remaining(posterior: Posterior, **options: float) -> tuple[float, float | None]:
    found = value_remaining(posterior, np.random.default_rng(1), n_draws=200_000, **options)
    return found.absolute, found.relative


def test_two_normal_arms_have_a_closed_form() -> None:
    """The gain over the better of two is max(0, θ₁ − θ₀), a normal cut at 0; to 1 %, five standard errors and more."""
    absolute, _ = _remaining(student([(10, 1, 1e9), (9, 2, 1e9)]))
    assert absolute == pytest.approx(scipy.stats.norm(-1, np.sqrt(5)).ppf(0.95), rel=0.02)


def test_the_relative_value_is_of_the_best_arm() -> None:
    """With a best arm that is known, it is the absolute one divided by its mean."""
    absolute, relative = _remaining(gamma([(1e9, 1e8), (9, 1)]))
    assert relative == pytest.approx(absolute / 10, rel=1e-3)


@pytest.mark.parametrize(
    ("posterior", "has_ratio"),
    [
        (student([(0, 1, 5), (-1, 1, 5)]), False),
        (student([(10, 1, 50), (9, 1, 50)]), True),
        (student([(3, 1, 5), (2, 1, 5)]), False),
        (scaled_beta([(2, 2), (3, 2)]), False),
        (gamma([(0.1, 1), (1, 1)]), True),
    ],
)
def test_there_is_no_ratio_to_what_may_be_0(posterior: Posterior, *, has_ratio: bool) -> None:
    """A best mean that is 0 or less with a probability of 0.001 leaves the absolute value alone."""
    absolute, relative = _remaining(posterior)
    assert absolute >= 0
    assert (relative is not None) is has_ratio


def test_it_falls_as_arms_become_certain_and_is_0_for_one_arm() -> None:
    """More evidence leaves less to gain; a single arm has no rival."""
    values = [_remaining(student([(10, scale, 30), (9.5, scale, 30)]))[0] for scale in (2, 0.5, 0.1)]
    assert values == sorted(values, reverse=True)
    assert _remaining(student([(1, 1, 5)])) == (0, None)


@pytest.mark.parametrize("posterior", HARD.values(), ids=HARD)
def test_the_arm_it_is_about_is_the_most_probable_best(posterior: Posterior) -> None:
    """`best` has the largest P(best), and the same seed gives the same value."""
    first, second = (value_remaining(posterior, np.random.default_rng(5), n_draws=100) for _ in range(2))
    assert first == second
    assert first.best == probability_best(posterior).argmax()


def test_the_level_is_that_of_the_quantile() -> None:
    """A higher level leaves more possible."""
    posterior = gamma([(3, 1), (2, 1)])
    assert _remaining(posterior, level=0.5)[0] < _remaining(posterior, level=0.99)[0]
