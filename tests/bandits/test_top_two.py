from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bandits.beta import BetaPosterior
from bandits.statistics import ArmStatistics, FloatArray
from bandits.top_two import TopTwo
from bandits.winning import probability_best


def _propensities(posterior: BetaPosterior, beta: float = 0.5) -> FloatArray:
    arms = [str(arm) for arm in range(posterior.n_arms)]
    return TopTwo(beta=beta).propensities(arms, ArmStatistics.zeros(posterior.n_arms), posterior)


def _by_definition(best: FloatArray, beta: float) -> list[float]:
    """The formula as it stands, in exact arithmetic; 1 − P_j as the sum of the others."""
    p = [Fraction(share) for share in best.tolist()]
    p = [share / sum(p) for share in p]
    share = Fraction(beta)
    second = [sum(p[j] * p[i] / (sum(p) - p[j]) for j in range(len(p)) if j != i and p[j] > 0) for i in range(len(p))]
    return [float(share * p[i] + (1 - share) * second[i]) for i in range(len(p))]


@given(
    counts=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=2, max_size=6),
    beta=st.sampled_from([0, 0.25, 0.5, 0.9, 1]),
)
def test_any_posterior_gives_the_formula(counts: list[tuple[int, int]], beta: float) -> None:
    """Exact fractions of the same P_i give the same propensities, as long as P_i have proportions at all."""
    posterior = BetaPosterior(np.array([a for a, _ in counts]), np.array([b for _, b in counts]))
    best = probability_best(posterior)
    if np.sort(best)[:-1].sum() > 1e-11:
        np.testing.assert_allclose(_propensities(posterior, beta), _by_definition(best, beta), rtol=1e-9, atol=1e-15)


def test_drawing_gives_the_same() -> None:
    """As Russo describes it: draw; keep with β, else draw until another arm is best. 5 σ of 400,000 draws."""
    posterior = BetaPosterior(np.array([12.0, 9.0, 5.0]), np.array([30.0, 30.0, 30.0]))
    rng = np.random.default_rng(3)
    draws = 400_000
    first, second = (rng.beta(posterior.alpha, posterior.beta, (draws, 3)).argmax(1) for _ in range(2))
    while (same := first == second).any():
        second[same] = rng.beta(posterior.alpha, posterior.beta, (int(same.sum()), 3)).argmax(1)
    arms = np.where(rng.uniform(size=draws) < 0.7, first, second)
    frequencies = np.bincount(arms, minlength=3) / draws
    np.testing.assert_allclose(_propensities(posterior, 0.7), frequencies, atol=5 * 0.5 / np.sqrt(draws))


def test_two_arms_get_beta_and_the_rest_in_the_end() -> None:
    """Worked by hand: p_1 = βP_1 + (1 − β)P_2, for two arms each is the other's only rival."""
    posterior = BetaPosterior(np.array([20.0, 10.0]), np.array([80.0, 90.0]))
    best = probability_best(posterior)
    np.testing.assert_allclose(_propensities(posterior, 0.8), 0.8 * best + 0.2 * best[::-1], rtol=1e-12)


def test_a_single_arm_gets_all() -> None:
    """There is no second."""
    assert _propensities(BetaPosterior(np.array([3.0]), np.array([9.0]))).tolist() == [1]


def test_beta_1_is_thompson_sampling() -> None:
    """Whoever always keeps the first draw deals by P_i."""
    posterior = BetaPosterior(np.array([20.0, 10.0, 9.0]), np.array([80.0, 90.0, 70.0]))
    np.testing.assert_allclose(_propensities(posterior, 1), probability_best(posterior), rtol=1e-15)


def test_a_sure_leader_keeps_beta_and_its_rivals_share_the_rest() -> None:
    """However sure (10⁸ outcomes an arm), the leader gets β, and equal rivals equal shares of 1 − β."""
    posterior = BetaPosterior(np.array([5e7, 4e7, 4e7]), np.array([5e7, 6e7, 6e7]))
    assert probability_best(posterior)[0] == 1
    assert _propensities(posterior, 0.6) == pytest.approx([0.6, 0.2, 0.2], abs=1e-12)


def test_the_likelier_rival_of_a_sure_leader_gets_more() -> None:
    """P(rival beats leader), integrated with scipy, has the same proportions within 0.03.

    The leader has 0.50, the rivals 0.43, of which one is known less well; both are best with less than 1e-20.
    """
    alpha, beta = np.array([5000.0, 4300.0, 4171.0]), np.array([5000.0, 5700.0, 5529.0])
    shares = _propensities(BetaPosterior(alpha, beta), 0.5)
    x = np.linspace(0.40, 0.53, 20_001)
    leader = scipy.stats.beta.cdf(x, alpha[0], beta[0])
    step = x[1] - x[0]
    beats = [float(scipy.stats.beta.pdf(x, alpha[arm], beta[arm]) @ leader) * step for arm in (1, 2)]
    assert 0.2 * beats[1] < beats[0] < beats[1] < 1e-20
    np.testing.assert_allclose(shares[1:] / shares[1:].sum(), np.array(beats) / sum(beats), atol=0.03)


def test_the_limit_joins_what_it_replaces() -> None:
    """Where the formula gives way to its limit, shares change by less than 0.05: no jump that data did not ask for."""
    previous = None
    for gap in np.linspace(0.035, 0.055, 60):
        rates = np.array([0.5, 0.5 - gap, 0.495 - gap])
        shares = _propensities(BetaPosterior(10_000 * rates, 10_000 * (1 - rates)))
        assert previous is None or np.abs(shares - previous).max() < 0.05
        previous = shares
