"""The service learns through HTTP alone, and obeys its operators."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.talking import EAGER, TWO_ARMS, arms, decide, problem, reward, side_by_side
from tests.running import Api, Service, until

NONE = dict.fromkeys(("pending", "defaulted", "observed", "corrected", "rejected"), 0)
QUICK = {"missing": "default", "window_s": 1}


def test_rewards_count_only_after_the_window(api: Api, key: str) -> None:
    """With `missing: default` an early click waits for its window, and silence becomes the default."""
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}], "reward": QUICK, "policy": EAGER}).ok()
    made = [decide(api, key, f"u{i}")["decision_id"] for i in range(10)]
    assert reward(api, made[0]) == "accepted"
    at_once = arms(api, key)["a"]
    assert (at_once["decisions"], at_once["exposures"], at_once["mature"], at_once["rewards"]) == (10, 10, 0, 0)
    assert at_once["mean"] is None
    assert at_once["outcomes"] == {**NONE, "pending": 9, "observed": 1}
    until(lambda: arms(api, key)["a"]["mature"] == 10, "the window to pass", 3)
    later = arms(api, key)["a"]
    assert (later["rewards"], later["outcomes"]) == (1, {**NONE, "defaulted": 9, "observed": 1})
    assert later["mean"] == pytest.approx(2 / 12)
    assert reward(api, made[1]) == "accepted"  # late: it corrects the default
    corrected = arms(api, key)["a"]
    expected = {**NONE, "defaulted": 8, "observed": 1, "corrected": 1}
    assert (corrected["rewards"], corrected["outcomes"]) == (2, expected)


def test_feedback_that_comes_too_late_is_refused(api: Api, key: str) -> None:
    """After `late_until_s` an outcome is final."""
    quick = {"missing": "default", "window_s": 1, "late_until_s": 1}
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}], "reward": quick}).ok()
    made = decide(api, key)["decision_id"]
    time.sleep(1.1)
    refused = problem(api.post("/v1/feedback", {"decision_id": made, "value": 1}), 422)
    assert "too late" in refused["detail"]


def test_the_better_arm_gets_most_of_the_traffic(api: Api, key: str) -> None:
    """1,500 simulated users, 60 % of whom like one arm and 20 % the other: soon they see the first.

    With means so far apart after 200 outcomes each, a wrong winner has a probability below 1e-6 (Hoeffding).
    """
    specification = {**TWO_ARMS, "reward": QUICK, "policy": {"kind": "thompson_sampling", "warm_up": 200}}
    api.put(f"/v1/experiments/{key}", specification).ok()
    rng = random.Random(1)

    def serve(count: int) -> Counter[str]:
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda i: decide(api, key, f"u{i}"), range(count)))
        liked = [one for one in made if rng.random() < {"a": 0.2, "b": 0.6}[one["arm"]]]
        events = [{"decision_id": one["decision_id"], "value": 1} for one in liked]
        results = api.post("/v1/feedback", {"events": events}).ok()["results"]
        assert {result["status"] for result in results} <= {"accepted"}
        return Counter(one["arm"] for one in made)

    equal = serve(1000)
    assert 350 < equal["a"] < 650
    until(lambda: arms(api, key)["b"]["propensity"] > 0.9, "the policy to learn", 8)
    until(lambda: all(abs(decide(api, key)["propensity"] - 0.5) > 0.4 for _ in range(12)), "all workers to know", 2)
    assert serve(500)["b"] > 400
    report = arms(api, key)
    assert report["b"]["probability_best"] > 0.999
    assert report["a"]["propensity"] >= 0.01  # the floor
    history = api.get(f"/v1/experiments/{key}/history").ok()["allocations"]
    assert history[0]["reason"] == "learned"
    assert history[-1]["probabilities"] == {"a": 0.5, "b": 0.5}
    assert all(sum(one["probabilities"].values()) == pytest.approx(1) for one in history)


def test_a_paused_experiment_serves_its_control(api: Api, key: str) -> None:
    """Paused: every worker gives the control arm, says so and learns nothing of it; resumed, the policy deals on."""
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "control": "b", "reward": {"missing": "explicit"}}).ok()
    assert api.post(f"/v1/experiments/{key}/pause").ok()["state"] == "paused"

    def everywhere(reason: str) -> bool:
        return {decide(api, key, f"u{i}")["reason"] for i in range(12)} == {reason}

    started = time.monotonic()
    until(lambda: everywhere("paused"), "all workers to pause", 2)
    assert time.monotonic() - started < 1.2
    paused = [decide(api, key, f"u{i}") for i in range(20)]
    assert {(one["arm"], one["propensity"], one["reason"]) for one in paused} == {("b", 1.0, "paused")}
    before = arms(api, key)["b"]
    assert reward(api, paused[0]["decision_id"]) == "accepted"
    assert arms(api, key)["b"]["rewards"] == before["rewards"]
    assert arms(api, key)["b"]["exposures"] == before["exposures"]
    assert api.post(f"/v1/experiments/{key}/resume").ok()["state"] == "running"
    until(lambda: everywhere("warm_up"), "all workers to go on", 2)
    assert api.post(f"/v1/experiments/{key}/stop").ok()["state"] == "stopped"
    until(
        lambda: all(api.post("/v1/recommendations", {"experiment": key, "unit": "u"}).status == 409 for _ in range(12)),
        "all workers to stop",
        2,
    )
    assert reward(api, paused[1]["decision_id"]) == "accepted"


def test_a_draft_serves_once_it_is_started(api: Api, key: str) -> None:
    """A draft runs when it is started, and there is no way back."""
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "state": "draft"}).ok()
    problem(api.post("/v1/recommendations", {"experiment": key, "unit": "u"}), 409)
    problem(api.post(f"/v1/experiments/{key}/resume"), 409)
    assert api.post(f"/v1/experiments/{key}/start").ok()["state"] == "running"
    decide(api, key)
    assert api.post(f"/v1/experiments/{key}/stop").ok()["state"] == "stopped"
    for action in ("start", "pause", "resume"):
        problem(api.post(f"/v1/experiments/{key}/{action}"), 409)


@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_a_drained_arm_gets_no_decision_in_any_worker_within_a_second(api: Api, key: str, assignment: str) -> None:
    """Draining takes an arm's traffic at once, and leaves its learning."""
    specification = {**TWO_ARMS, "assignment": assignment, "reward": {"missing": "explicit"}}
    api.put(f"/v1/experiments/{key}", specification).ok()
    mine = next(one for i in range(100) if (one := decide(api, key, f"u{i}"))["arm"] == "a")
    drained = {**specification, "arms": [{"key": "a", "state": "draining"}, {"key": "b"}], "control": "b"}
    api.put(f"/v1/experiments/{key}", drained).ok()
    time.sleep(1)
    with ThreadPoolExecutor(16) as threads:
        dealt = Counter(threads.map(lambda i: decide(api, key, f"u{i}")["arm"], range(300)))
    assert dealt == {"b": 300}
    assert reward(api, mine["decision_id"]) == "accepted"
    report = arms(api, key)["a"]
    assert (report["state"], report["propensity"], report["rewards"]) == ("draining", 0, 1)
    assert report["probability_best"] is None


def test_a_new_experiment_is_visible_in_all_workers_at_once(api: Api, service: Service, key: str) -> None:
    """Who has been told that an experiment exists can use it, through whichever connection."""
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    clients = [service.api() for _ in range(16)]
    assert (
        side_by_side(lambda i: clients[i].post("/v1/recommendations", {"experiment": key, "unit": "u"}).status, 16)
        == [200] * 16
    )
    for client in clients:
        client.close()


def test_an_etag_guards_against_lost_updates(api: Api, key: str) -> None:
    """A change that is meant for another version is refused; of two at once one wins."""
    created = api.put(f"/v1/experiments/{key}", TWO_ARMS)
    etag = {"If-Match": created.headers["ETag"]}
    changed = api.call("PATCH", f"/v1/experiments/{key}", {"holdout": 0.1}, headers=etag)
    assert changed.ok()["version"] == 2
    problem(api.call("PATCH", f"/v1/experiments/{key}", {"holdout": 0.2}, headers=etag), 412)
    problem(api.call("PUT", f"/v1/experiments/{key}", TWO_ARMS, headers=etag), 412)
    assert api.get(f"/v1/experiments/{key}").headers["ETag"] == changed.headers["ETag"]
    etag = {"If-Match": changed.headers["ETag"]}
    statuses = side_by_side(
        lambda i: api.call("PATCH", f"/v1/experiments/{key}", {"holdout": 0.3 + i / 100}, headers=etag).status, 8
    )
    assert sorted(statuses) == [200] + [412] * 7


def test_a_patch_is_a_merge_patch(api: Api, key: str) -> None:
    """RFC 7396: members merge, null removes, lists are replaced whole; the rest stays."""
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "control": "b", "reward": {"window_s": 60, "metric": "buy"}}).ok()
    patched = api.patch(f"/v1/experiments/{key}", {"reward": {"window_s": 90}, "control": None}).ok()
    assert (patched["reward"]["window_s"], patched["reward"]["metric"]) == (90, "buy")
    assert patched["control"] is None
    patched = api.patch(f"/v1/experiments/{key}", {"arms": [{"key": "a"}, {"key": "c"}]}).ok()
    assert [arm["key"] for arm in patched["arms"]] == ["a", "c"]
    assert {arm["arm"]: arm["state"] for arm in api.get(f"/v1/experiments/{key}/arms").ok()["arms"]} == {
        "a": "active", "b": "retired", "c": "active",
    }  # fmt: skip
    read = api.get(f"/v1/experiments/{key}").ok()
    assert read == patched


def test_history_pages_through_all_allocations(api: Api, key: str) -> None:
    """Newest first, a page at a time, each once, each a probability vector with its posterior."""
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    for n in range(6):
        api.patch(f"/v1/experiments/{key}", {"holdout": n / 10 + 0.1}).ok()
    whole = api.get(f"/v1/experiments/{key}/history").ok()
    assert [one["number"] for one in whole["allocations"]] == [7, 6, 5, 4, 3, 2, 1]
    assert whole["next_before"] is None
    seen: list[dict[str, Any]] = []
    page = api.get(f"/v1/experiments/{key}/history?limit=3").ok()
    while True:
        seen += page["allocations"]
        if page["next_before"] is None:
            break
        page = api.get(f"/v1/experiments/{key}/history?limit=3&before={page['next_before']}").ok()
    assert seen == whole["allocations"]
    since = seen[2]["applied_at"].replace("+", "%2B")
    assert [one["number"] for one in api.get(f"/v1/experiments/{key}/history?since={since}").ok()["allocations"]] == [
        7,
        6,
        5,
    ]
    assert api.get(f"/v1/experiments/{key}/history?since=2100-01-01T00:00:00Z").ok()["allocations"] == []


def test_experiments_are_listed_a_page_at_a_time(api: Api, key: str) -> None:
    """All experiments, each once, in the order of their keys."""
    for n in range(5):
        api.put(f"/v1/experiments/list-{key}-{n}", TWO_ARMS).ok()
    found: list[str] = []
    page: dict[str, Any] = {"next_after": ""}
    while page["next_after"] is not None:
        page = api.get(f"/v1/experiments?limit=3&after={page['next_after']}").ok()
        assert len(page["experiments"]) <= 3
        found += [one["key"] for one in page["experiments"]]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert {f"list-{key}-{n}" for n in range(5)} <= set(found)


def test_a_decision_is_explained(api: Api, key: str) -> None:
    """Which allocation it was dealt from, what was asked and answered, what came back."""
    arm = {"key": "only", "recommender": {"kind": "static", "items": ["x", "y"]}}
    api.put(f"/v1/experiments/{key}", {"arms": [arm], "reward": {"missing": "explicit"}}).ok()
    made = decide(api, key, "somebody", context={"page": 1}, k=1)
    reward(api, made["decision_id"], item_id="x", position=1)
    explained = api.get(f"/v1/decisions/{made['decision_id']}").ok()
    decision = explained["decision"]
    for name in ("decision_id", "experiment", "arm", "served_arm", "propensity", "allocation", "reason"):
        assert decision[name] == made[name]
    assert (decision["unit"], decision["context"], decision["items"]) == ("somebody", {"page": 1}, ["x"])
    assert decision["latency_ms"] >= 0
    assert explained["allocation"]["number"] == made["allocation"]
    assert explained["allocation"]["probabilities"] == {"only": 1.0}
    assert [(one["metric"], one["value"], one["item_id"]) for one in explained["feedback"]] == [("click", 1.0, "x")]
    assert explained["outcomes"] == {"click": 1.0}


def test_the_holdout_always_gets_the_control_and_is_not_learned_from(api: Api, key: str) -> None:
    """Half of the units belong to the holdout, always the same ones."""
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "control": "b", "holdout": 0.5}).ok()
    first = {f"u{i}": decide(api, key, f"u{i}")["reason"] for i in range(100)}
    again = [decide(api, key, unit) for unit in first]
    held = [one for one in again if one["reason"] == "holdout"]
    assert [one["reason"] for one in again] == list(first.values())
    assert 15 < len(held) < 85
    assert {(one["arm"], one["propensity"]) for one in held} == {("b", 1.0)}
    assert sum(arm["exposures"] for arm in arms(api, key).values()) == 2 * (100 - len(held))


def test_a_sticky_unit_keeps_its_arm(api: Api, key: str) -> None:
    """`assignment: unit`: the same unit gets the same arm in every worker, and shares are kept over units."""
    probabilities = {"a": 0.3, "b": 0.7}
    policy = {"kind": "fixed", "probabilities": probabilities}
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "assignment": "unit", "policy": policy}).ok()
    dealt = {f"u{i}": {decide(api, key, f"u{i}")["arm"] for _ in range(3)} for i in range(300)}
    assert all(len(found) == 1 for found in dealt.values())
    share = sum(found == {"a"} for found in dealt.values()) / 300
    assert abs(share - 0.3) < 0.14  # five standard deviations
    assert decide(api, key, next(unit for unit, found in dealt.items() if found == {"a"}))["propensity"] == 0.3


def test_a_thousand_arms_are_served(api: Api, key: str) -> None:
    """The documented limit of arms works: creation, decisions and the report."""
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": f"arm-{i}"} for i in range(1000)], "policy": EAGER}).ok()
    assert decide(api, key)["propensity"] == pytest.approx(0.001)
    report = api.get(f"/v1/experiments/{key}/arms").ok()["arms"]
    assert len(report) == 1000
    assert sum(arm["probability_best"] for arm in report) == pytest.approx(1)
