"""The main job, through real processes: deal, log, learn, inspect."""

import time

import pytest

from tests.running import Api, Service, until


@pytest.fixture
def api(service: Service) -> Api:
    """A client of the shared service."""
    return service.api()


def test_a_decision_is_answered_with_its_arm_propensity_and_payload(api: Api) -> None:
    """The minimal experiment serves at once, with equal shares."""
    api.put("/v1/experiments/minimal", {"arms": [{"key": "a"}, {"key": "b"}]}).ok()
    decision = api.post("/v1/recommendations", {"experiment": "minimal", "unit": "user-1"}).ok()
    assert decision["arm"] in {"a", "b"}
    assert decision["propensity"] == 0.5
    assert (decision["reason"], decision["durability"]) == ("warm_up", "committed")
    explained = api.get(f"/v1/decisions/{decision['decision_id']}").ok()
    assert explained["decision"]["unit"] == "user-1"
    assert explained["allocation"]["probabilities"] == {"a": 0.5, "b": 0.5}


def test_a_reward_reaches_an_allocation_in_all_workers_within_two_seconds(api: Api) -> None:
    """From a reward's reply to an allocation that has learned from it, everywhere: at most 2 s when idle."""
    specification = {
        "arms": [{"key": "a"}, {"key": "b"}],
        "reward": {"missing": "explicit"},
        "policy": {"kind": "thompson_sampling", "warm_up": 0},
    }
    api.put("/v1/experiments/prompt", specification).ok()
    time.sleep(2)
    first = api.post("/v1/recommendations", {"experiment": "prompt", "unit": "u"}).ok()
    api.post("/v1/feedback", {"decision_id": first["decision_id"], "value": 1}).ok()
    rewarded_at = time.monotonic()

    def learned_everywhere() -> bool:
        # Each request may be served by either of two workers: ten in a row that agree leave 1 in 1,000 to chance.
        answers = [api.post("/v1/recommendations", {"experiment": "prompt", "unit": "u"}).ok() for _ in range(10)]
        return all(answer["allocation"] > first["allocation"] for answer in answers)

    until(learned_everywhere, "a new allocation in all workers", patience_s=5)
    assert time.monotonic() - rewarded_at < 2
    history = api.get("/v1/experiments/prompt/history").ok()["allocations"]
    assert history[0]["reason"] == "learned"
    assert history[0]["evidence"][first["arm"]] == {"mature": 1, "n": 1, "sum": 1, "sum_of_squares": 1}
