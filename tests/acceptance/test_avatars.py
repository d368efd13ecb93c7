"""Avatars and previews of a whole service."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.store.database import Database
from tests.acceptance.talking import decide, problem, written
from tests.models import ModelServer, listing, model_server
from tests.running import Api, Service, until


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model server that lists two items."""
    with model_server() as running:
        running.answers["/rank"] = listing([{"item_id": "m", "score": 0.5}, "n"])
        yield running


def experiment(server: ModelServer, **parts: Any) -> dict[str, Any]:
    """An experiment with a list and a model server."""
    asked = {"kind": "http", "url": server.url(), "deadline_ms": 5000, "unknown_items": "keep"}
    return {
        "arms": [
            {"key": "list", "recommender": {"kind": "static", "items": ["x", "y", "z"]}},
            {"key": "model", "recommender": asked},
        ],
        **parts,
    }


def looks(api: Api, path: str, count: int) -> list[dict[str, Any]]:
    """All looks at an avatar, the newest first, once there are so many."""
    until(lambda: len(api.get(f"{path}/looks").ok()["looks"]) >= count, f"{count} looks")
    found: list[dict[str, Any]] = api.get(f"{path}/looks").ok()["looks"]
    return found


def test_a_preview_asks_as_a_decision_would_and_leaves_no_trace(
    api: Api, key: str, stored: Database, server: ModelServer
) -> None:
    """Items, scores and failures by arm; the log and all counts stay as they are."""
    api.put(f"/v1/experiments/{key}", experiment(server, assignment="unit")).ok()
    before = written(stored)
    sent = {"unit": "u", "context": {"page": "home"}, "k": 2}
    shown = api.post(f"/v1/experiments/{key}/preview", sent).ok()
    assert server.questions[-1]["context"] == {"page": "home"}
    assert [(arm["arm"], [item["item_id"] for item in arm["items"]]) for arm in shown["arms"]] == [
        ("list", ["x", "y"]),
        ("model", ["m", "n"]),
    ]
    assert shown["arms"][1]["items"][0] == {"item_id": "m", "score": 0.5}
    assert sum(arm["probability"] for arm in shown["arms"]) == pytest.approx(1)
    server.close()
    dead = api.post(f"/v1/experiments/{key}/preview", {**sent, "arms": ["model"]}).ok()["arms"]
    assert [(arm["arm"], arm["items"]) for arm in dead] == [("model", [])]
    assert "model server" in dead[0]["failure"]
    assert written(stored) == before
    assert decide(api, key, "u")["arm"] == shown["chosen"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#"),
        ({"unit": ""}, "#/unit"),
        ({"unit": "u", "k": 0}, "#/k"),
        ({"unit": "u", "k": 501}, "#/k"),
        ({"unit": "u", "arms": ["nobody"]}, "#/arms"),
        ({"unit": "u", "arms": []}, "#/arms"),
        ({"unit": "u", "colour": 1}, "#"),
    ],
)
def test_a_bad_preview_is_refused(api: Api, key: str, body: dict[str, Any], pointer: str) -> None:
    """With what is wrong, and where."""
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}]}).ok()
    problem(api.post(f"/v1/experiments/{key}/preview", body), 422, pointer)
    problem(api.post("/v1/experiments/nobody/preview", {"unit": "u"}), 404)


def test_an_avatar_is_looked_at_by_the_monitor_and_counted_nowhere(
    api: Api, key: str, service: Service, stored: Database, server: ModelServer
) -> None:
    """Soon after it was made, and again after a change; its history is paged; `verify` finds nothing."""
    api.put(f"/v1/experiments/{key}", experiment(server)).ok()
    path = f"/v1/experiments/{key}/avatars/anna"
    before = written(stored)[:7]
    made = api.put(path, {"unit": "u", "k": 2, "expect": {"must_include": ["n"]}}).ok()
    assert (made["avatar"], made["every_s"], made["looked_at"], made["faults"]) == ("anna", 300, None, {})
    model, listed = looks(api, path, 2)
    assert (model["arm"], model["items"], model["fault"], model["failure"]) == ("model", ["m", "n"], None, None)
    assert (listed["arm"], listed["fault"], listed["faults"]) == ("list", "without n", 1)
    (shown,) = api.get(f"/v1/experiments/{key}/avatars").ok()["avatars"]
    assert shown == api.get(path).ok()
    assert shown["faults"] == {"list": "without n", "model": None}
    api.put(path, {"unit": "u", "k": 1}).ok()
    assert len(looks(api, path, 4)) == 4
    page = api.get(f"{path}/looks?limit=3").ok()
    rest = api.get(f"{path}/looks?limit=3&before={page['next_before']}").ok()
    assert ([look["id"] for look in rest["looks"]], rest["next_before"]) == ([listed["id"]], None)
    assert [look["arm"] for look in api.get(f"{path}/looks?arm=list").ok()["looks"]] == ["list", "list"]
    assert written(stored)[:7] == before
    assert service.command("verify").returncode == 0
    assert api.call("DELETE", path).status == 204
    problem(api.get(path), 404)
    problem(api.get(f"{path}/looks"), 404)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#"),
        ({"unit": "u", "every_s": 59}, "#/every_s"),
        ({"unit": "u", "k": 1, "expect": {"min_items": 2}}, "#"),
        ({"unit": "u", "expect": {"min_overlap": 2}}, "#/expect/min_overlap"),
        ({"unit": "u", "expect": {"must_include": ["a"], "must_not_include": ["a"]}}, "#/expect"),
        ({"unit": "u", "arms": ["nobody"]}, "#/arms"),
        ({"unit": "a\0b"}, "#/unit"),
    ],
)
def test_a_bad_avatar_is_refused_and_not_kept(api: Api, key: str, body: dict[str, Any], pointer: str) -> None:
    """With what is wrong, and where."""
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}]}).ok()
    problem(api.put(f"/v1/experiments/{key}/avatars/anna", body), 422, pointer)
    assert api.get(f"/v1/experiments/{key}/avatars").ok() == {"avatars": []}


def test_avatars_belong_to_experiments_and_have_keys(api: Api, key: str) -> None:
    """What does not exist is not found; a name that is no key is refused."""
    problem(api.put("/v1/experiments/nobody/avatars/anna", {"unit": "u"}), 404)
    problem(api.get("/v1/experiments/nobody/avatars"), 404)
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}]}).ok()
    problem(api.call("DELETE", f"/v1/experiments/{key}/avatars/anna"), 404)
    problem(api.put(f"/v1/experiments/{key}/avatars/two words", {"unit": "u"}), 422)
