"""The figures of `GET /v1/experiments/{key}/arms`, recomputed by the client."""

import random
import time
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from bandits.inference import BetaMixture, lifts, robust_means
from bandits.statistics import ArmStatistics
from tests.acceptance.talking import EAGER, arms, decide, reward
from tests.running import Api

PRIORS = {"a": {"alpha": 1.0, "beta": 1.0}, "b": {"alpha": 2.0, "beta": 5.0}}


@pytest.fixture(scope="module")
def told(api: Api) -> dict[str, list[int]]:
    """Rewards by arm, sent one by one to an experiment of two arms."""
    specification = {
        "arms": [{"key": key, "prior": prior} for key, prior in PRIORS.items()],
        "reward": {"missing": "explicit"},
        "policy": {**EAGER, "min_propensity": 0.3},
    }
    api.put("/v1/experiments/report", specification).ok()
    rng, rewards = random.Random(5), defaultdict(list)
    for i in range(120):
        made = decide(api, "report", f"u{i}")
        value = int(rng.random() < {"a": 0.3, "b": 0.4}[made["arm"]])
        assert reward(api, made["decision_id"], value) == "accepted"
        rewards[made["arm"]].append(value)
    return dict(rewards)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_mean_and_interval_are_those_of_the_beta_posterior(api: Api, told: dict[str, list[int]], level: float) -> None:
    """Counts are the client's own, and the posterior is scipy's Beta(α + S, β + n − S)."""
    report = arms(api, "report", f"?interval={level}")
    for key, values in told.items():
        posterior = belief(key, values)
        arm = report[key]
        assert (arm["decisions"], arm["exposures"], arm["fallbacks"]) == (len(values), len(values), 0)
        assert arm["rewards"] == sum(values)
        assert arm["outcomes"]["observed"] == len(values)
        assert arm["mean"] == pytest.approx(posterior.mean(), rel=1e-9)
        assert arm["interval"] == pytest.approx(posterior.interval(level), rel=1e-6)
        assert arm["share"] == pytest.approx(len(values) / 120)


def test_probability_best_and_expected_loss_are_those_of_quadrature(api: Api, told: dict[str, list[int]]) -> None:
    """P(p_a > p_b) and E[max(p_a, p_b)] − E[p] by scipy's adaptive quadrature agree to 1e-6."""
    report, posterior = arms(api, "report"), {key: belief(key, values) for key, values in told.items()}
    for key, other in (("a", "b"), ("b", "a")):
        wins, _ = integrate.quad(lambda x, k=key, o=other: posterior[k].pdf(x) * posterior[o].cdf(x), 0, 1, limit=200)
        assert report[key]["probability_best"] == pytest.approx(wins, abs=1e-6)
    best, _ = integrate.quad(lambda x: 1 - posterior["a"].cdf(x) * posterior["b"].cdf(x), 0, 1, limit=200)
    for key in told:
        assert report[key]["expected_loss"] == pytest.approx(best - posterior[key].mean(), abs=1e-6)


def test_the_allocation_in_force_is_the_floor_over_the_probability_best(api: Api, told: dict[str, list[int]]) -> None:
    """Thompson sampling's propensity is f + (1 − K f) P(best), from the posterior that history shows."""
    newest = api.get("/v1/experiments/report/history?limit=1").ok()["allocations"][0]
    beta = {key: stats.beta(p["alpha"], p["beta"]) for key, p in newest["posterior"].items()}
    wins, _ = integrate.quad(lambda x: beta["a"].pdf(x) * beta["b"].cdf(x), 0, 1, limit=200)
    assert newest["probabilities"]["a"] == pytest.approx(0.3 + 0.4 * wins, abs=1e-6)
    assert sum(newest["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    assert told.keys() == newest["evidence"].keys()


def test_figures_without_data_are_null_with_a_reason(api: Api, key: str) -> None:
    """No data is null, not 0, and `unavailable` says why for exactly the figures that are null."""
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}, {"key": "b", "state": "draining"}]}).ok()
    report = api.get(f"/v1/experiments/{key}/arms").ok()
    for arm in report["arms"]:
        assert (arm["mean"], arm["interval"], arm["share"]) == (None, None, None)
        assert (arm["decisions"], arm["rewards"]) == (0, 0)
    unavailable = report.pop("unavailable")
    assert nulls(report, "#") == unavailable.keys()
    assert all(unavailable.values())
    assert (report["experiment"], report["state"], report["metric"]) == (key, "running", "click")
    assert report["policy"] == "thompson_sampling"


def test_since_leaves_out_what_was_before(api: Api, told: dict[str, list[int]]) -> None:
    """`since` counts exposures from then on only."""
    assert told
    assert sum(arm["decisions"] for arm in arms(api, "report", "?since=2100-01-01T00:00:00Z").values()) == 0
    assert sum(arm["decisions"] for arm in arms(api, "report", "?since=2020-01-01T00:00:00Z").values()) == 120


def test_honest_figures_are_those_that_the_client_computes(api: Api, key: str) -> None:
    """From the client's own log of decisions, rewards and the history of allocations: intervals, lifts, shares."""
    specification = {
        "arms": [{"key": "a"}, {"key": "b"}],
        "reward": {"missing": "explicit"},
        "policy": {**EAGER, "min_propensity": 0.3},
    }
    api.put(f"/v1/experiments/{key}", specification).ok()
    rng, log = random.Random(3), []
    for _ in range(8):
        requests = [{"experiment": key, "unit": f"u{rng.random()}"} for _ in range(125)]
        made = api.post("/v1/recommendations/batch", {"requests": requests}).ok()["results"]
        values = [int(rng.random() < {"a": 0.6, "b": 0.5}[one["arm"]]) for one in made]
        events = [{"decision_id": m["decision_id"], "value": v} for m, v in zip(made, values, strict=True)]
        assert {r["status"] for r in api.post("/v1/feedback", {"events": events}).ok()["results"]} == {"accepted"}
        log += [(one["allocation"], one["arm"], value) for one, value in zip(made, values, strict=True)]
        time.sleep(0.3)
    history = api.get(f"/v1/experiments/{key}/history?limit=100").ok()["allocations"]
    dealt = {one["number"]: one for one in history}
    assert len({number for number, *_ in log}) > 1, "the policy should have moved"

    def score(arm: str, number: int, chosen: str, value: int) -> float:
        beta = dealt[number]["posterior"][arm]
        guess = beta["alpha"] / (beta["alpha"] + beta["beta"])
        return float(guess + (chosen == arm) * (value - guess) / dealt[number]["probabilities"][arm])

    xi = {arm: np.array([score(arm, *row) for row in log]) for arm in "ab"}
    own = {arm: np.array([value for _, chosen, value in log if chosen == arm]) for arm in "ab"}
    report = api.get(f"/v1/experiments/{key}/arms").ok()
    found = {arm["arm"]: arm for arm in report["arms"]}
    honest = BetaMixture().means(together(own["a"], own["b"]), alpha=0.05)
    robust = robust_means(together(xi["a"], xi["b"]), np.array([1000, 1000]), alpha=0.05)
    for i, arm in enumerate("ab"):
        assert found[arm]["honest_interval"] == pytest.approx([honest.lower[i], honest.upper[i]], rel=1e-9)
        assert found[arm]["robust_mean"] == pytest.approx(xi[arm].mean(), rel=1e-9)
        assert found[arm]["robust_interval"] == pytest.approx([robust.lower[i], robust.upper[i]], rel=1e-9)
        expected = sum(dealt[number]["probabilities"][arm] for number, *_ in log)
        assert report["sample_ratio"]["arms"][arm]["observed"] == len(own[arm])
        assert report["sample_ratio"]["arms"][arm]["expected"] == pytest.approx(expected, rel=1e-9)
    lift = lifts(BetaMixture(), together(own["a"], own["b"]), 0, alpha=0.05)
    contrast = robust_means(together(xi["b"] - xi["a"]), np.array([1000]), alpha=0.05)
    assert found["a"]["lift"] is None
    assert found["b"]["lift"]["mean"] == pytest.approx(own["b"].mean() - own["a"].mean(), rel=1e-9)
    assert found["b"]["lift"]["honest_interval"] == pytest.approx([lift.lower[1], lift.upper[1]], rel=1e-9)
    assert found["b"]["lift"]["robust_interval"] == pytest.approx([contrast.lower[0], contrast.upper[0]], rel=1e-9)
    assert report["sample_ratio"]["ok"] is True
    assert 0 <= report["value_remaining"] < 0.5
    assert report["unavailable"].keys() == {"#/arms/0/lift"}


def test_honest_figures_cover_everything_or_are_null(api: Api, told: dict[str, list[int]]) -> None:
    """Since some moment there are none, and the answer says why."""
    assert told
    report = api.get("/v1/experiments/report/arms?since=2020-01-01T00:00:00Z").ok()
    assert report["sample_ratio"] is None
    assert all(arm["honest_interval"] is arm["robust_interval"] is arm["lift"] is None for arm in report["arms"])
    assert "since" in report["unavailable"]["#/arms/0/honest_interval"]


def together(*values: np.ndarray[Any, np.dtype[Any]]) -> ArmStatistics:
    """Count, sum and sum of squares."""
    n, total, squares = np.array([[v.size, v.sum(), (v**2).sum()] for v in values]).T
    return ArmStatistics(n=n, sum=total, sum_of_squares=squares)


def belief(key: str, values: list[int]) -> Any:
    """The posterior of one arm, by scipy."""
    prior = PRIORS[key]
    return stats.beta(prior["alpha"] + sum(values), prior["beta"] + len(values) - sum(values))


def nulls(value: Any, pointer: str) -> set[str]:
    """JSON pointers of all nulls."""
    if value is None:
        return {pointer}
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {found for name, member in members for found in nulls(member, f"{pointer}/{name}")}
