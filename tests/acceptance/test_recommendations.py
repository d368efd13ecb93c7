"""Recommenders through HTTP: what each kind answers, and what happens when one cannot."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.talking import arms, decide, fresh_id, reward
from tests.running import Api, running_service, until

ITEMS = [
    {"item_id": "north", "title": "North", "category": "way", "features": [0, 1], "popularity": 5},
    {"item_id": "north-east", "features": [1, 1.1], "popularity": 4},
    {"item_id": "east", "features": [1, 0], "popularity": 3},
    {"item_id": "south", "features": [0, -1], "popularity": 2},
    {"item_id": "nowhere", "popularity": 9},
]
BY_POPULARITY = ["nowhere", "north", "north-east", "east", "south"]


@pytest.fixture(scope="module")
def shop(new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A client of a service with a catalogue of its own."""
    with running_service(new_database(), tmp_path_factory.mktemp("shop")) as running:
        client = running.api()
        assert client.put("/v1/items", {"items": ITEMS}).ok()["items"] == len(ITEMS)
        client.put("/v1/experiments/ready", one_arm({"kind": "popular"})).ok()
        until(lambda: all(ids(decide(client, "ready")) == BY_POPULARITY for _ in range(8)), "the catalogue", 5)
        yield client
        client.close()


def one_arm(recommender: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An experiment with one arm."""
    return {"arms": [{"key": "only", "recommender": recommender}], **more}


def ids(decision: dict[str, Any]) -> list[str]:
    """The ids of the recommended items."""
    return [item["item_id"] for item in decision["items"]]


def ask(shop: Api, key: str, recommender: dict[str, Any], **wanted: Any) -> dict[str, Any]:
    """What an arm with this recommender answers."""
    shop.put(f"/v1/experiments/{key}", one_arm(recommender)).ok()
    return decide(shop, key, **wanted)


def test_popular_answers_in_the_order_of_popularity(shop: Api, key: str) -> None:
    """The most popular first, with falling scores, without what the user has seen."""
    answer = ask(shop, key, {"kind": "popular"}, k=3)
    assert ids(answer) == BY_POPULARITY[:3]
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert ids(decide(shop, key, context={"item_id": "nowhere", "history": ["north-east", "?"]})) == [
        "north",
        "east",
        "south",
    ]
    assert (answer["served_arm"], answer["payload"]) == ("only", None)


def test_popular_learns_from_rewards(new_database: Any, tmp_path: Any) -> None:
    """Items that are rewarded rise, within the time that counts are kept for."""
    with running_service(new_database(), tmp_path) as running:
        client = running.api()
        client.put("/v1/items", {"items": ITEMS}).ok()
        client.put(
            "/v1/experiments/rising", one_arm({"kind": "popular", "prior_weight": 1, "exclude_seen": False})
        ).ok()
        for i in range(20):
            reward(client, decide(client, "rising", f"u{i}")["decision_id"], item_id="south")
        until(lambda: all(ids(decide(client, "rising"))[:1] == ["south"] for _ in range(6)), "the order to change", 15)
        client.close()


def test_similar_answers_with_the_nearest_neighbours(shop: Api, key: str) -> None:
    """Nearest to the item at hand, or to the history; the score is the cosine."""
    answer = ask(shop, key, {"kind": "similar"}, context={"item_id": "north"})
    assert ids(answer) == ["north-east", "east", "south"]
    assert answer["items"][0]["score"] == pytest.approx(1.1 / (1 + 1.1**2) ** 0.5, abs=1e-5)
    assert answer["items"][2]["score"] == pytest.approx(-1)
    assert ids(decide(shop, key, context={"history": ["east"]}, k=1)) == ["north-east"]


@pytest.mark.parametrize(
    "context", [{}, {"item_id": "nowhere"}, {"item_id": "?"}, {"item_id": 5}, {"history": "north"}]
)
def test_a_recommender_that_cannot_answer_falls_back_and_is_not_learned_from(
    shop: Api, key: str, context: dict[str, Any]
) -> None:
    """The control arm answers instead: flagged, counted as a fallback of the arm that was chosen, never learned."""
    specification = {
        "arms": [{"key": "similar", "recommender": {"kind": "similar"}},
                 {"key": "control", "recommender": {"kind": "static", "items": ["c1", "c2"]}}],
        "control": "control",
        "policy": {"kind": "fixed", "probabilities": {"similar": 1, "control": 0}},
        "reward": {"missing": "explicit"},
    }  # fmt: skip
    shop.put(f"/v1/experiments/{key}", specification).ok()
    answer = decide(shop, key, context=context)
    assert (answer["arm"], answer["served_arm"], answer["reason"]) == ("similar", "control", "fallback")
    assert (ids(answer), answer["propensity"]) == (["c1", "c2"], 1.0)
    assert reward(shop, answer["decision_id"]) == "accepted"
    report = arms(shop, key)
    assert (report["similar"]["decisions"], report["similar"]["exposures"], report["similar"]["fallbacks"]) == (1, 0, 1)
    assert report["similar"]["rewards"] == report["control"]["rewards"] == 0
    assert report["similar"]["mean"] is None


def test_the_fallback_list_is_the_last_resort(shop: Api, key: str) -> None:
    """When the control cannot answer either, the experiment's own list does, and no arm served it."""
    shop.put(f"/v1/experiments/{key}", one_arm({"kind": "similar"}, fallback=["f1", "f2", "f3"])).ok()
    answer = decide(shop, key, k=2)
    assert (ids(answer), answer["served_arm"], answer["reason"]) == (["f1", "f2"], None, "fallback")
    shop.put(f"/v1/experiments/{key}", one_arm({"kind": "similar"})).ok()
    until(lambda: all(ids(decide(shop, key)) == [] for _ in range(6)), "all workers to drop the list", 2)
    assert decide(shop, key)["reason"] == "fallback"


def test_static_answers_with_its_list(shop: Api, key: str) -> None:
    """The head of the list, known items or not."""
    answer = ask(shop, key, {"kind": "static", "items": ["x", "y", "z"]}, k=2)
    assert answer["items"] == [{"item_id": "x", "score": None}, {"item_id": "y", "score": None}]


@pytest.mark.parametrize("value", [None, True, 5, 2.5, "on", [], {}, {"layout": {"columns": [1, 2]}}, 10**25, "🎰"])
def test_payload_answers_with_its_constant(shop: Api, key: str, value: Any) -> None:
    """Any JSON, exactly as it was given, also when the decision is retried or explained."""
    shop.put(f"/v1/experiments/{key}", one_arm({"kind": "payload", "value": value})).ok()
    chosen = fresh_id()
    first = decide(shop, key, decision_id=chosen)
    assert first["payload"] == value
    assert type(first["payload"]) is type(value)
    assert decide(shop, key, decision_id=chosen) == first
    assert shop.get(f"/v1/decisions/{chosen}").ok()["decision"]["payload"] == value


def test_random_draws_differ_but_a_retry_does_not(shop: Api, key: str) -> None:
    """Every decision is a draw of its own, and its retry the same draw."""
    shop.put(f"/v1/experiments/{key}", one_arm({"kind": "random"})).ok()
    chosen = [fresh_id() for _ in range(30)]
    first = [ids(decide(shop, key, decision_id=one)) for one in chosen]
    assert [ids(decide(shop, key, decision_id=one)) for one in chosen] == first
    assert len({tuple(one) for one in first}) > 5
    assert all(sorted(one) == sorted(BY_POPULARITY) for one in first)


def test_items_are_replaced_one_by_one(shop: Api, key: str) -> None:
    """PUT of an item replaces that item, leaves the others, and reaches all workers."""
    extra = {"item_id": "extra", "popularity": 1}
    before = shop.put("/v1/items", {"items": [extra]}).ok()["catalogue_version"]
    assert shop.put("/v1/items", {"items": [{**extra, "popularity": 1000}]}).ok()["catalogue_version"] == before + 1
    shop.put(f"/v1/experiments/{key}", one_arm({"kind": "popular"})).ok()
    until(lambda: all(ids(decide(shop, key)) == ["extra", *BY_POPULARITY] for _ in range(8)), "the new order", 5)
