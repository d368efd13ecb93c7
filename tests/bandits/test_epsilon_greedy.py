from __future__ import annotations

import msgspec
import numpy as np
import pytest

from bandits.bernoulli import Bernoulli, BetaPrior
from bandits.epsilon_greedy import DecreasingEpsilon, EpsilonGreedy
from bandits.policy import AnyPolicy
from bandits.statistics import ArmStatistics


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [(0, 1), (1, 1), (1500, 1), (3000, 0.5), (15_000, 0.1), (1.5e9, 1e-6)],
)
def test_epsilon_decreases(outcomes: float, expected: float) -> None:
    """ε_t = min(1, cK/(d²t)): with c = 5, K = 3 and d = 0.1 it is 1 up to t = 1,500, then 1500/t."""
    assert DecreasingEpsilon(c=5, d=0.1).after(outcomes, 3) == pytest.approx(expected, rel=1e-12)


def test_time_is_the_number_of_all_outcomes() -> None:
    """Worked by hand: 4,000 outcomes of 2 arms with c = 4, d = 0.2 make ε = 4·2/(0.04·4000) = 0.05."""
    statistics = ArmStatistics(n=np.array([1000, 3000]), sum=np.array([10, 90]), sum_of_squares=np.array([10, 90]))
    posterior = Bernoulli().posterior(statistics, [BetaPrior()] * 2)
    policy = EpsilonGreedy(epsilon=DecreasingEpsilon(c=4, d=0.2))
    np.testing.assert_allclose(policy.propensities("ab", statistics, posterior), [0.025, 0.975], rtol=1e-12)


def test_a_share_or_a_schedule() -> None:
    """`epsilon` is a number, or an object with c and d, of which each has its default."""
    read = msgspec.json.Decoder(AnyPolicy).decode
    assert read('{"kind": "epsilon_greedy", "epsilon": 0.2}') == EpsilonGreedy(epsilon=0.2)
    assert read('{"kind": "epsilon_greedy", "epsilon": {"d": 0.02}}') == EpsilonGreedy(
        epsilon=DecreasingEpsilon(c=5, d=0.02)
    )


@pytest.mark.parametrize(
    ("epsilon", "place"),
    [('{"c": 0}', r"epsilon\.c"), ('{"d": 2}', r"epsilon\.d"), ('{"e": 1}', "`e`"), ('"low"', "epsilon")],
)
def test_a_schedule_has_limits(epsilon: str, place: str) -> None:
    """A c or d outside its limits, another word, or no number is refused where it stands."""
    with pytest.raises(msgspec.ValidationError, match=place):
        msgspec.json.decode(f'{{"kind": "epsilon_greedy", "epsilon": {epsilon}}}', type=AnyPolicy)
