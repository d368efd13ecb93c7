"""The figures of `GET /v1/experiments/{key}/arms`, recomputed by the client."""

import random
from collections import defaultdict
from typing import Any

import pytest
from scipy import integrate, stats

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
    assert nulls(report["arms"], "#/arms") == report["unavailable"].keys()
    assert all(report["unavailable"].values())
    assert (report["experiment"], report["state"], report["metric"]) == (key, "running", "click")
    assert report["policy"] == "thompson_sampling"


def test_since_leaves_out_what_was_before(api: Api, told: dict[str, list[int]]) -> None:
    """`since` counts exposures from then on only."""
    assert told
    assert sum(arm["decisions"] for arm in arms(api, "report", "?since=2100-01-01T00:00:00Z").values()) == 0
    assert sum(arm["decisions"] for arm in arms(api, "report", "?since=2020-01-01T00:00:00Z").values()) == 120


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
