"""Arms answered by a real model server that fails: the reply comes in time, from another arm, and teaches nothing."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.talking import arms, decide, problem, reward
from tests.models import ModelServer, after, breaking_off, dripping, listing, model_server, raw
from tests.running import Api, Service, running_service

DEADLINE_S = 0.3
# For all that is not the model server: the request, its commit, and a machine that is busy with other tests.
MARGIN_S = 0.6

FAILING: dict[str, Any] = {
    "late": after(3, listing(["m"])),
    "dripping headers": dripping(listing(["m"])),
    "dripping body": dripping(listing(["m"] * 100), at_once=90),
    "error": listing([], status="500 No"),
    "HTML": raw(b"<html>", kind="text/html"),
    "redirect": raw(b"", status="307 Moved", extra="Location: http://127.0.0.1:1/\r\n"),
    "half": breaking_off(listing(["m"])[:-3]),
    "huge": breaking_off(raw(b'{"items": ["' + b"x" * 10_000_000 + b'"]}')),
    "empty": listing([]),
}


@pytest.fixture(scope="module")
def models() -> Iterator[ModelServer]:
    """A model server that the tests share; each has paths of its own."""
    with model_server() as server:
        yield server


@pytest.fixture(scope="module")
def shop(new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with one web worker and an empty catalogue."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop_ranking.py").write_text("def rank(unit, context, k):\n    return [unit, *context['more']]\n")
    settings = {"CROUPIER_WORKERS": "1", "CROUPIER_PYTHON_RECOMMENDERS": "shop_ranking:rank", "PYTHONPATH": str(folder)}
    with running_service(new_database(), folder, roles=("web",), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def api(shop: Service) -> Iterator[Api]:
    """A client of it."""
    client = shop.api()
    yield client
    client.close()


def at(url: str, **parameters: Any) -> dict[str, Any]:
    """A recommender that asks there."""
    return {"kind": "http", "url": url, "deadline_ms": DEADLINE_S * 1000, **parameters}


def always_model(model: dict[str, Any], control: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An experiment whose policy always chooses the model's arm."""
    return {
        "arms": [{"key": "model", "recommender": model}, {"key": "control", "recommender": control}],
        "control": "control",
        "policy": {"kind": "fixed", "probabilities": {"model": 1, "control": 0}},
        "reward": {"missing": "explicit"},
        "fallback": ["f1", "f2", "f3"],
        **more,
    }


def ids(decision: dict[str, Any]) -> list[str]:
    """The ids of the recommended items."""
    return [item["item_id"] for item in decision["items"]]


def timed(api: Api, key: str, **wanted: Any) -> tuple[dict[str, Any], float]:
    """A decision, and how many seconds it took."""
    began = time.monotonic()
    decision = decide(api, key, **wanted)
    return decision, time.monotonic() - began


def test_a_model_server_answers(api: Api, models: ModelServer, key: str) -> None:
    """Its items are the arm's, and the arm is learned from."""
    models.answers["/good"] = listing([{"item_id": "m1", "score": 2.5}, "m2", "m2", "m3"])
    api.put(f"/v1/experiments/{key}", always_model(at(models.url("/good")), {"kind": "payload"})).ok()
    answer = decide(api, key, unit="u7", k=2, context={"page": "home"})
    assert answer["items"] == [{"item_id": "m1", "score": 2.5}, {"item_id": "m2", "score": None}]
    assert (answer["served_arm"], answer["reason"]) == ("model", "policy")
    asked = models.questions[-1]
    assert (asked["unit"], asked["k"], asked["context"]) == ("u7", 2, {"page": "home"})
    assert 0 <= asked["seed"] < 2**53


def test_connections_are_kept_over_changes(api: Api, models: ModelServer, key: str) -> None:
    """A worker asks on the connection that it has, also after the experiment was loaded anew."""
    models.answers["/kept"] = listing(["m"])
    before = models.connections
    for i in range(3):
        api.put(f"/v1/experiments/{key}", always_model(at(models.url("/kept")), {"kind": "payload", "value": i})).ok()
        for _ in range(5):
            assert ids(decide(api, key)) == ["m"]
    assert models.connections - before <= 2  # another worker thread may load while the first has it in use


@pytest.mark.parametrize("failing", FAILING)
def test_a_failing_model_server_falls_back_in_time(api: Api, models: ModelServer, key: str, failing: str) -> None:
    """However it fails, the control arm's items come within the deadline and a margin, and nothing is learned."""
    path = f"/{failing.replace(' ', '-')}"
    models.answers[path] = FAILING[failing]
    control = {"kind": "static", "items": ["c1", "c2"]}
    api.put(f"/v1/experiments/{key}", always_model(at(models.url(path)), control)).ok()
    answer, took = timed(api, key)
    assert (ids(answer), answer["arm"], answer["served_arm"]) == (["c1", "c2"], "model", "control")
    assert (answer["reason"], answer["propensity"]) == ("fallback", 1.0)
    assert took < DEADLINE_S + MARGIN_S
    assert reward(api, answer["decision_id"]) == "accepted"
    report = arms(api, key)
    assert (report["model"]["exposures"], report["model"]["fallbacks"], report["model"]["rewards"]) == (0, 1, 0)
    assert report["control"]["exposures"] == report["control"]["rewards"] == 0


def test_when_both_are_slow_the_list_comes_within_one_and_a_half_deadlines(
    api: Api, models: ModelServer, key: str
) -> None:
    """The control arm's server has half of its own deadline: that is the bound for all that can be chained."""
    models.answers["/slow-1"] = models.answers["/slow-2"] = after(3, listing(["m"]))
    specification = always_model(at(models.url("/slow-1")), at(models.url("/slow-2")))
    api.put(f"/v1/experiments/{key}", specification).ok()
    answer, took = timed(api, key, k=2)
    assert (ids(answer), answer["arm"], answer["served_arm"]) == (["f1", "f2"], "model", None)
    assert answer["reason"] == "fallback"
    assert 1.5 * DEADLINE_S - 0.02 < took < 1.5 * DEADLINE_S + MARGIN_S


def test_when_both_are_down_the_list_comes_at_once(api: Api, shop: Service, key: str) -> None:
    """Nobody listens: no deadline is waited for, and the log says why, once."""
    with model_server() as gone:
        url = gone.url()
    api.put(f"/v1/experiments/{key}", always_model(at(url), at(url + "?old"))).ok()
    for _ in range(20):
        answer, took = timed(api, key)
        assert (ids(answer), answer["served_arm"], answer["reason"]) == (["f1", "f2", "f3"], None, "fallback")
        assert took < DEADLINE_S + MARGIN_S
    lines = [line for line in shop.log.read_text().splitlines() if f'"experiment": "{key}"' in line]
    assert 1 <= sum('"arm": "model"' in line for line in lines) <= 3
    assert any("no connection to the model server" in line and "refused" in line for line in lines)


def test_a_slow_model_server_holds_up_nobody_else(api: Api, shop: Service, models: ModelServer, key: str) -> None:
    """While forty requests wait for it in the one worker, those of another experiment are answered."""
    models.answers["/late"] = after(3, listing(["m"]))
    slow = at(models.url("/late"), deadline_ms=1500)
    api.put(f"/v1/experiments/{key}", always_model(slow, {"kind": "static", "items": ["c"]})).ok()
    api.put(f"/v1/experiments/{key}-fast", {"arms": [{"key": "only"}]}).ok()
    clients = [shop.api() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(timed, client, key) for client in clients]
        time.sleep(0.3)
        assert sorted(timed(api, f"{key}-fast")[1] for _ in range(10))[5] < MARGIN_S
        assert all(one.result()[0]["served_arm"] == "control" for one in waiting)
        assert all(one.result()[1] < 1.5 + 2 * MARGIN_S for one in waiting)
    for client in clients:
        client.close()


def test_requests_of_a_batch_wait_together(api: Api, models: ModelServer, key: str) -> None:
    """Sixteen at a time, so a batch takes as long as its share of the waits; answers come in the order of requests."""
    models.answers[f"/{key}"] = after(0.2, listing(["m"]))
    slow = at(models.url(f"/{key}"), deadline_ms=2000)
    api.put(f"/v1/experiments/{key}", always_model(slow, {"kind": "static", "items": ["c"]})).ok()
    api.put(f"/v1/experiments/{key}-fast", {"arms": [{"key": "only"}]}).ok()
    names = [key, f"{key}-fast", "no-such-thing", key] * 8
    began = time.monotonic()
    results = api.post(
        "/v1/recommendations/batch", {"requests": [{"experiment": name, "unit": "u"} for name in names]}
    ).ok()["results"]
    assert time.monotonic() - began < 16 * 0.2
    assert [one.get("experiment", "no-such-thing") for one in results] == names
    assert [ids(one) for one in results[::4]] == [["m"]] * 8


def test_a_function_answers_if_the_setting_names_it(api: Api, key: str) -> None:
    """In the worker itself; what it raises falls back; another target is refused when it is sent."""
    control = {"kind": "static", "items": ["c"]}
    function = {"kind": "python", "target": "shop_ranking:rank"}
    api.put(f"/v1/experiments/{key}", always_model(function, control)).ok()
    assert ids(decide(api, key, unit="u", context={"more": ["x", "u"]})) == ["u", "x"]
    answer = decide(api, key, context={})
    assert (ids(answer), answer["served_arm"], answer["reason"]) == (["c"], "control", "fallback")
    for target in ("os:system", "shop_ranking:other"):
        refused = always_model({"kind": "python", "target": target}, control)
        pointer = "#/arms/0/recommender"
        problem(api.put(f"/v1/experiments/{key}", refused), 422, pointer)
        problem(api.post("/v1/experiments", {**refused, "key": f"{key}-new"}), 422, pointer)
        problem(api.patch(f"/v1/experiments/{key}", {"arms": refused["arms"]}), 422, pointer)
    assert api.get(f"/v1/experiments/{key}").ok()["version"] == 1


def test_a_url_that_is_none_is_refused(api: Api, key: str) -> None:
    """With a pointer to the arm."""
    wrong = always_model(at("http://user:secret@models/"), {"kind": "payload"})
    found = problem(api.put(f"/v1/experiments/{key}", wrong), 422, "#/arms/0/recommender")
    assert "secret" not in str(found["errors"])


def test_the_command_starts_without_the_setting(tmp_path: Path, new_database: Any) -> None:
    """Unset, no function may be called at all."""
    with running_service(new_database(), tmp_path, roles=("web",)) as running:
        client = running.api()
        refused = {"arms": [{"key": "a", "recommender": {"kind": "python", "target": "os:system"}}]}
        found = problem(client.put("/v1/experiments/x", refused), 422, "#/arms/0/recommender")
        assert "CROUPIER_PYTHON_RECOMMENDERS" in found["errors"][0]["detail"]
        client.close()
