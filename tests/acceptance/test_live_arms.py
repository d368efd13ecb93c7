"""Arms that are added, changed, drained and retired while the service runs."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.talking import TWO_ARMS, arms, decide, fresh_id, problem, rows, side_by_side
from tests.running import Answer, Api, Service, until

EXPLICIT = {"missing": "explicit"}
WARM_UP = 20
# Without a floor, proportions are the policy's own.
POLICY = {"kind": "thompson_sampling", "warm_up": WARM_UP, "min_propensity": 0}
UNITS = [f"u{n}" for n in range(3000)]


def decide_many(api: Api, experiment: str, units: list[str]) -> list[dict[str, Any]]:
    """One decision for each unit."""
    asked = [{"experiment": experiment, "unit": unit} for unit in units]
    pages = [
        api.post("/v1/recommendations/batch", {"requests": asked[n : n + 1000]}) for n in range(0, len(asked), 1000)
    ]
    return [one for page in pages for one in page.ok()["results"]]


def reward_many(api: Api, values: dict[str, float]) -> None:
    """One event for each decision."""
    events = [{"decision_id": decision_id, "value": value} for decision_id, value in values.items()]
    assert {one["status"] for one in api.post("/v1/feedback", {"events": events}).ok()["results"]} == {"accepted"}


def newest(api: Api, experiment: str) -> dict[str, Any]:
    """The allocation in force."""
    found: dict[str, Any] = api.get(f"/v1/experiments/{experiment}/history?limit=1").ok()["allocations"][0]
    return found


def dealt(api: Api, experiment: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A decision for each of many units, all dealt from the allocation in force, which comes first."""
    found: list[dict[str, Any]] = []

    def all_agree() -> bool:
        found[:] = decide_many(api, experiment, UNITS)
        return {one["allocation"] for one in found} == {newest(api, experiment)["number"]}

    until(all_agree, "all workers to know the allocation", 10)
    return newest(api, experiment), found


def learn(api: Api, experiment: str, *, each: int, arms: str) -> None:
    """Gives feedback for so many decisions of each of some arms, and waits until the learner has heard of it."""
    allocation, made = dealt(api, experiment)
    by_arm = {arm: [one["decision_id"] for one in made if one["arm"] == arm][:each] for arm in arms}
    likes = {"a": 5, "b": 4, "c": 3}
    reward_many(api, {i: float(n % likes[arm] == 0) for arm, ids in by_arm.items() for n, i in enumerate(ids)})
    expected = {arm: allocation["evidence"][arm]["n"] + each for arm in arms}
    until(
        lambda: {arm: newest(api, experiment)["evidence"][arm]["n"] for arm in arms} == expected,
        "the learner to hear of it",
        10,
    )


@pytest.fixture(params=["request", "unit"])
def learned(request: pytest.FixtureRequest, api: Api, key: str) -> str:
    """An experiment whose two arms have warmed up, sticky or not."""
    specification = {**TWO_ARMS, "reward": EXPLICIT, "policy": POLICY, "assignment": request.param}
    api.put(f"/v1/experiments/{key}", specification).ok()
    learn(api, key, each=100, arms="ab")
    found = newest(api, key)
    assert found["reason"] == "learned"
    assert 0.05 < found["probabilities"]["a"] < 0.4
    return key


def test_a_new_arm_warms_up_while_the_others_keep_their_proportions(api: Api, learned: str) -> None:
    """It gets an equal share at once; when it is warm, the policy deals for all three, and what was learned is kept."""
    before = newest(api, learned)
    added = api.post(f"/v1/experiments/{learned}/arms", {"key": "c"})
    assert (added.status, added.ok()["epoch"]) == (201, 2)
    after = newest(api, learned)
    assert after["probabilities"]["c"] == pytest.approx(1 / 3)
    for arm in "ab":
        assert after["probabilities"][arm] == pytest.approx(before["probabilities"][arm] * 2 / 3)
        assert after["evidence"][arm] == before["evidence"][arm]
    learn(api, learned, each=WARM_UP, arms="c")
    warm = newest(api, learned)
    assert warm["reason"] == "learned"
    assert warm["probabilities"]["c"] != pytest.approx(1 / 3, abs=1e-4)
    assert sum(warm["probabilities"].values()) == pytest.approx(1)


def test_a_new_version_of_an_arm_warms_up_alone(api: Api, learned: str) -> None:
    """It learns afresh with an equal share; the other arms know what they knew and keep their proportions."""
    api.post(f"/v1/experiments/{learned}/arms", {"key": "c"}).ok()
    learn(api, learned, each=WARM_UP, arms="c")
    before = newest(api, learned)
    changed = {"recommender": {"kind": "payload", "value": 2}}
    api.patch(f"/v1/experiments/{learned}/arms/c", changed).ok()
    after = newest(api, learned)
    assert after["evidence"] == {**before["evidence"], "c": dict.fromkeys(before["evidence"]["c"], 0)}
    assert after["probabilities"]["c"] == pytest.approx(1 / 3)
    ratio = before["posterior"]["a"], before["posterior"]["b"]
    assert (after["posterior"]["a"], after["posterior"]["b"]) == ratio
    assert after["probabilities"]["a"] < after["probabilities"]["b"]
    assert after["probabilities"]["a"] + after["probabilities"]["b"] == pytest.approx(2 / 3)
    learn(api, learned, each=WARM_UP, arms="c")
    assert newest(api, learned)["reason"] == "learned"


STEPS: list[tuple[str, Callable[[Api, str], Answer]]] = [
    ("added", lambda api, path: api.post(f"{path}/arms", {"key": "c"})),
    ("changed", lambda api, path: api.patch(f"{path}/arms/b", {"recommender": {"value": 2}})),
    ("drained", lambda api, path: api.patch(f"{path}/arms/b", {"state": "draining"})),
    ("taken back", lambda api, path: api.patch(f"{path}/arms/b", {"state": "active"})),
    ("retired", lambda api, path: api.call("DELETE", f"{path}/arms/c")),
]


def assigned(api: Api, experiment: str) -> tuple[dict[str, float], dict[str, str]]:
    """The probabilities in force, and the arm that each unit gets by them."""
    allocation, made = dealt(api, experiment)
    return allocation["probabilities"], {unit: one["arm"] for unit, one in zip(UNITS, made, strict=True)}


@pytest.mark.parametrize("learned", ["unit"], indirect=True)
def test_sticky_units_move_only_towards_arms_that_gained(api: Api, learned: str) -> None:
    """Of 3,000 units, whatever becomes of the arms: who moves from i to j does so as p′_j/p_j > p′_i/p_i."""
    before, old = assigned(api, learned)
    moved = 0
    for step, change in STEPS:
        change(api, f"/v1/experiments/{learned}").ok()
        after, new = assigned(api, learned)
        factor = {arm: after[arm] / before[arm] if before.get(arm) else float("inf") for arm in after}
        moves = Counter((old[unit], new[unit]) for unit in UNITS if old[unit] != new[unit])
        assert all(factor[reached] > factor[left] for left, reached in moves), (step, moves, before, after)
        before, old, moved = after, new, moved + moves.total()
    assert moved > 1000


@pytest.mark.parametrize("learned", ["unit"], indirect=True)
def test_sticky_units_move_to_a_new_arm_only(api: Api, learned: str) -> None:
    """As the others keep their proportions, it takes a third of the units and nobody changes between the others."""
    _, old = assigned(api, learned)
    api.post(f"/v1/experiments/{learned}/arms", {"key": "c"}).ok()
    _, new = assigned(api, learned)
    moved = [new[unit] for unit in UNITS if old[unit] != new[unit]]
    assert set(moved) == {"c"}
    assert abs(len(moved) - len(UNITS) / 3) < 140  # 5.4 standard deviations


def test_nothing_in_flight_is_lost_while_arms_come_and_go(api: Api, service: Service, key: str) -> None:
    """Eight clients decide and give feedback while an operator adds, drains, changes, retires and takes back arms."""
    path, over = f"/v1/experiments/{key}", threading.Event()
    api.put(path, {**TWO_ARMS, "reward": EXPLICIT, "policy": {**POLICY, "min_propensity": 0.1}}).ok()
    told: dict[str, str] = {}

    def operate() -> int:
        turn = 0
        while not over.is_set():
            api.post(f"{path}/arms", {"key": f"new-{turn % 3}"}).ok()
            for _, change in STEPS[1:4]:
                change(api, path).ok()
            api.patch(f"{path}/arms/b", {"recommender": {"value": turn}}).ok()
            api.call("DELETE", f"{path}/arms/new-{turn % 3}").ok()
            turn += 1
        return turn

    def visit(number: int) -> None:
        for n in range(120):
            made = decide(api, key, f"u{number}-{n}", decision_id=fresh_id())
            told[made["decision_id"]] = made["arm"]
            event = {"decision_id": made["decision_id"], "value": n % 2}
            assert api.post("/v1/feedback", event).ok() == {"status": "accepted", "durability": "committed"}

    with ThreadPoolExecutor(1) as operator:
        turns = operator.submit(operate)
        try:
            side_by_side(visit, 8)
        finally:
            over.set()
        assert turns.result() >= 3
    query = """
        SELECT count(*), count(DISTINCT d.epoch), count(*) FILTER (WHERE NOT learnable), count(o.decision_id),
            count(*) FILTER (WHERE propensity IS DISTINCT FROM (probabilities ->> arm)::float8)
        FROM decisions d LEFT JOIN outcomes o USING (decision_id)
        LEFT JOIN allocations a ON a.experiment = d.experiment AND a.number = d.allocation WHERE d.experiment = :key"""
    ((count, epochs, unlearnable, outcomes, wrong),) = rows(service.database_url, query, key=key)
    assert (count, unlearnable, outcomes, wrong) == (960, 0, 960, 0)
    assert epochs >= 5
    assert set(told.values()) >= {"a", "b", "new-0"}
    verified = service.command("verify")
    assert verified.returncode == 0, verified.stdout


def test_arms_are_changed_one_at_a_time(api: Api, key: str) -> None:
    """Each call answers with the experiment and its new ETag, and is guarded by the old one."""
    path = f"/v1/experiments/{key}"
    etag = api.put(path, TWO_ARMS).headers["ETag"]
    changes: list[tuple[str, str, Any, int]] = [
        ("POST", "/arms", {"key": "c"}, 201),
        ("PATCH", "/arms/c", {"prior": {"alpha": 2}}, 200),
        ("PATCH", "/arms/c", {"recommender": {"kind": "static", "items": ["1"]}}, 200),
        ("PATCH", "/arms/c", {"state": "draining", "prior": None}, 200),
        ("DELETE", "/arms/c", None, 200),
    ]
    stale = {"If-Match": '"99"'}
    for number, (method, where, body, status) in enumerate(changes, start=2):
        problem(api.call(method, path + where, body, headers=stale), 412)
        answer = api.call(method, path + where, body, headers={"If-Match": etag})
        assert (answer.status, answer.ok()["version"]) == (status, number)
        etag = answer.headers["ETag"]
        assert etag == f'"{number}"'
    assert api.call("DELETE", f"{path}/arms/c").headers["ETag"] == etag  # again: nothing changes
    for method, where, body in (("POST", "/arms", {"key": "a"}), ("DELETE", "/arms/a", None), ("PATCH", "/arms/x", {})):
        problem(api.call(method, path + where, body, headers=stale), 412)  # before what else may be wrong
    c = api.get(path).ok()["arms"][2]
    assert (c["key"], c["state"], c["prior"], c["recommender"]["items"]) == ("c", "retired", None, ["1"])
    assert [one["number"] for one in api.get(f"{path}/history").ok()["allocations"]] == [6, 5, 4, 3, 2, 1]


def test_what_an_arm_cannot_become_is_refused(api: Api, key: str) -> None:
    """With the status and the reason; and nothing has changed afterwards."""
    path = f"/v1/experiments/{key}"
    api.put(path, {"arms": [{"key": "a"}, {"key": "b"}, {"key": "old", "state": "retired"}], "control": "b"}).ok()
    before = api.get(path).ok()
    assert "exists" in problem(api.post(f"{path}/arms", {"key": "a"}), 409)["detail"]
    another = {"key": "old", "recommender": {"kind": "random"}}
    assert "choose another" in problem(api.post(f"{path}/arms", another), 409)["detail"]
    problem(api.post(f"{path}/arms", {"key": "a b"}), 422, "#/key")
    problem(api.post(f"{path}/arms", {"key": "c", "prior": {"mu": 1}}), 422, "#/arms/3/prior")
    problem(api.post("/v1/experiments/nothing/arms", {"key": "c"}), 404)
    problem(api.patch(f"{path}/arms/x", {"state": "active"}), 404)
    problem(api.patch(f"{path}/arms/a", {"state": "gone"}), 422, "#/state")
    problem(api.patch(f"{path}/arms/a", {"key": "z"}), 422, "#/key")
    problem(api.patch(f"{path}/arms/a", []), 422)
    assert "control arm" in problem(api.call("DELETE", f"{path}/arms/b"), 409)["detail"]
    assert "control arm" in problem(api.patch(f"{path}/arms/b", {"state": "draining"}), 409)["detail"]
    assert api.get(path).ok() == before
    api.put(path, {"arms": [{"key": "a"}, {"key": "b", "state": "draining"}], "control": "b"}).ok()
    assert "last active" in problem(api.call("DELETE", f"{path}/arms/a"), 409)["detail"]


def test_a_retired_arm_comes_back_with_what_it_knew(api: Api, learned: str) -> None:
    """Added again with its recommender it is the same arm, with the outcomes that came while it was away."""
    path, made = f"/v1/experiments/{learned}", []
    made = [one for one in decide_many(api, learned, UNITS[:300]) if one["arm"] == "b"]
    before = arms(api, learned)["b"]
    api.call("DELETE", f"{path}/arms/b").ok()
    reward_many(api, {one["decision_id"]: 1.0 for one in made[:10]})
    assert arms(api, learned)["b"]["state"] == "retired"
    api.post(f"{path}/arms", {"key": "b"}).ok()
    after = arms(api, learned)["b"]
    assert (after["state"], after["rewards"]) == ("active", before["rewards"] + 10)
