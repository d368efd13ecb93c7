"""The off-policy value of a policy that only looked on: against loops, against the truth, and when it is refused."""

from typing import Any

import numpy as np
import pytest

from bandits.estimates import Estimate
from bandits.evaluation import Refusal
from bandits.log import Log
from bandits.shadow import SideBySide, evaluate_shadow

ARMS = ("a", "b", "c")
MEANS = np.array([0.1, 0.2, 0.4])


def logged(n: int, live: Any, shadow: Any, seed: int = 1) -> tuple[Log, SideBySide]:
    """N decisions that take turns in the allocations, with Bernoulli rewards."""
    rng = np.random.default_rng(seed)
    live, shadow = np.array(live, dtype=np.float64), np.array(shadow, dtype=np.float64)
    allocation = np.arange(n) % len(live)
    action = (rng.random(n)[:, None] > np.cumsum(live[allocation], axis=1)).sum(axis=1)
    reward = (rng.random(n) < MEANS[action]).astype(np.float64)
    log = Log(arms=ARMS, action=action, reward=reward, propensity=live[allocation, action])
    return log, SideBySide(live=live, shadow=shadow, allocation=allocation)


def values(log: Log, policies: SideBySide) -> dict[str, float]:
    """The estimates' values."""
    found = evaluate_shadow(log, policies).estimates
    return {name: estimate.value for name, estimate in found.items() if isinstance(estimate, Estimate)}


def test_the_estimates_are_those_of_loops_over_decisions() -> None:
    """IPS, SNIPS and DR with cross-fitted arm means agree with plain Python to 1e-12."""
    log, policies = logged(997, [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], [[0.1, 0.1, 0.8], [0.7, 0.2, 0.1]])
    rows = list(zip(log.action.tolist(), log.reward.tolist(), policies.allocation.tolist(), strict=True))
    weight = [policies.shadow[t, a] / policies.live[t, a] for a, _, t in rows]
    doubly = 0.0
    for i, (a, r, t) in enumerate(rows):
        others = [(b, s) for j, (b, s, _) in enumerate(rows) if j % 5 != i % 5]
        overall = sum(s for _, s in others) / len(others)
        q = []
        for arm in range(3):
            mine = [s for b, s in others if b == arm]
            q.append((sum(mine) + 10 * overall) / (len(mine) + 10))
        doubly += sum(policies.shadow[t, arm] * q[arm] for arm in range(3)) + weight[i] * (r - q[a])
    ips = sum(w * r for w, (_, r, _) in zip(weight, rows, strict=True))
    assert values(log, policies) == pytest.approx(
        {"ips": ips / 997, "snips": ips / sum(weight), "dr": doubly / 997}, rel=1e-12
    )


def test_the_estimates_come_near_the_truth() -> None:
    """Each lies within 5.5 of its standard errors of the shadow's true value: false alarms, 1.2e-7 for the three."""
    log, policies = logged(40_000, [[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]], [[0.1, 0.1, 0.8], [0.7, 0.2, 0.1]])
    truth = float((policies.shadow @ MEANS).mean())
    for estimate in evaluate_shadow(log, policies).estimates.values():
        assert isinstance(estimate, Estimate)
        assert abs(estimate.value - truth) < 5.5 * estimate.standard_error
        assert estimate.standard_error < 0.02


def test_a_shadow_that_is_the_live_policy_is_worth_what_that_earned() -> None:
    """All weights are 1 then, so IPS and SNIPS are the mean reward itself."""
    shares = [[0.5, 0.3, 0.2]]
    log, policies = logged(500, shares, shares)
    found = values(log, policies)
    assert found["ips"] == found["snips"] == pytest.approx(log.reward.mean(), rel=1e-12)
    assert policies.expected_match == pytest.approx(0.25 + 0.09 + 0.04, rel=1e-12)


def reasons(log: Log, policies: SideBySide) -> set[str]:
    """Why all estimates are refused."""
    refusals = evaluate_shadow(log, policies).estimates.values()
    assert all(isinstance(refusal, Refusal) for refusal in refusals)
    return {reason for refusal in refusals if isinstance(refusal, Refusal) for reason in refusal.reasons}


def test_too_few_rows_are_refused() -> None:
    """Weights of an effective sample size below 100 give no figure."""
    (reason,) = reasons(*logged(300, [[0.9, 0.05, 0.05]], [[0.02, 0.02, 0.96]]))
    assert "100 are needed" in reason


def test_an_arm_that_was_never_logged_is_refused() -> None:
    """The shadow plays an arm that the live policy never could."""
    (reason,) = reasons(*logged(2000, [[0.5, 0.5, 0]], [[0.3, 0.3, 0.4]]))
    assert "never logged (c)" in reason


def test_an_arm_that_was_out_of_reach_for_a_while_is_refused() -> None:
    """It was logged in one allocation, and the shadow played it in the other one, too."""
    shadow = [[0.3, 0.3, 0.4], [0.3, 0.3, 0.4]]
    (reason,) = reasons(*logged(2000, [[0.5, 0.5, 0], [0.3, 0.3, 0.4]], shadow))
    assert "0.2 of its decisions" in reason
    assert "could not choose them (c)" in reason
    assert len(values(*logged(2000, [[0.5, 0.5, 0], [0.3, 0.3, 0.4]], [[0.5, 0.5, 0], shadow[1]]))) == 3
