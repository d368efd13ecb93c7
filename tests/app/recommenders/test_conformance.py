"""What holds for every kind of recommender, for whatever a client may send as context."""

import time
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recommenders import (
    AnyRecommender,
    Catalogue,
    CatalogueItem,
    Http,
    Payload,
    Popular,
    Python,
    Query,
    Random,
    Recommendation,
    Recommender,
    RecommenderFailed,
    Similar,
    Sources,
    Static,
)
from tests.app.recommenders.conftest import ITEMS, recommend

LOCAL: list[Recommender] = [
    Payload(value={"layout": "grid"}),
    Static(items=("a", "b", "z")),
    Popular(),
    Similar(),
    Random(),
]
# Nobody listens there, and nothing allows that function: these fail, as they may at any time.
KINDS = [*LOCAL, Http(url="http://127.0.0.1:1/", deadline_ms=10_000), Python(target="shop:rank")]
every_kind = pytest.mark.parametrize("recommender", KINDS, ids=lambda recommender: recommender.kind)

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from("abcde"),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
contexts = st.dictionaries(st.sampled_from(["item_id", "history", "device"]), json)


class Arm(msgspec.Struct):
    """A struct with a recommender in it, as an experiment's specification has."""

    recommender: AnyRecommender


def answer(
    recommender: Recommender, query: Query, catalogue: Catalogue, rewards: Mapping[str, float] | None = None
) -> Recommendation | str:
    """The recommendation, or the reason why there is none."""
    try:
        return recommend(recommender, query, catalogue, rewards)
    except RecommenderFailed as failure:
        return failure.reason


@every_kind
@given(context=contexts, k=st.integers(1, 500), seed=st.integers(0, 2**64 - 1))
def test_any_context_is_answered_or_fails_with_a_reason(
    recommender: Recommender, context: dict[str, Any], k: int, seed: int
) -> None:
    """Whatever the context: different items, at most k, the same again for a retry; or RecommenderFailed."""
    catalogue = Catalogue.build(ITEMS, 1)
    query = Query(unit="u", context=context, k=k, seed=seed)
    first = answer(recommender, query, catalogue)
    assert answer(recommender, query, catalogue) == first
    if isinstance(first, Recommendation):
        ids = [item.item_id for item in first.items]
        assert len(set(ids)) == len(ids) <= k
        assert ids or first.payload is not None
        assert msgspec.json.encode(first)
    else:
        assert len(first) > 10


@every_kind
def test_survives_json(recommender: Recommender) -> None:
    """A specification that was written out reads back as the same recommender."""
    arm = msgspec.json.decode(msgspec.json.encode({"recommender": recommender}), type=Arm)
    assert arm.recommender == recommender


@every_kind
def test_unknown_parameter_is_refused(recommender: Recommender) -> None:
    """A misspelt parameter is an error that names it."""
    raw = {**msgspec.to_builtins(recommender), "wrong": 1}
    with pytest.raises(msgspec.ValidationError, match="unknown field `wrong`"):
        msgspec.convert({"recommender": raw}, Arm)


@every_kind
def test_empty_catalogue_raises_nothing_unforeseen(recommender: Recommender, nothing: Catalogue) -> None:
    """Without items a recommender fails with a reason, unless it needs none."""
    outcome = answer(recommender, Query(unit="u", context={"item_id": "a"}, k=3, seed=1), nothing)
    assert isinstance(outcome, Recommendation) == (recommender.kind in {"payload", "static"})


@every_kind
def test_only_popular_wants_rewards(recommender: Recommender, catalogue: Catalogue) -> None:
    """Kinds that do not use rewards say so, and answer the same with them."""
    uses = recommender.kind == "popular"
    query = Query(unit="u", context={"item_id": "a"}, k=3, seed=1)
    with_rewards = answer(recommender, query, catalogue, {"d": 1e6})
    assert (recommender.reward_half_life_s is not None) == uses
    assert (with_rewards != answer(recommender, query, catalogue)) == uses


def test_schema_describes_every_kind() -> None:
    """The schema in OpenAPI has each kind, and each parameter's limits and meaning."""
    definitions = msgspec.json.schema(Arm)["$defs"]
    assert set(definitions["Arm"]["properties"]["recommender"]["discriminator"]["mapping"]) == {
        recommender.kind for recommender in KINDS
    }
    for recommender in KINDS:
        properties = definitions[type(recommender).__name__]["properties"]
        assert all(field == "kind" or "description" in properties[field] for field in properties)


def test_base_class_answers_nothing(catalogue: Catalogue) -> None:
    """The base only says what a kind must do."""
    with pytest.raises(NotImplementedError):
        recommend(Recommender(), Query(unit="u", context={}, k=1, seed=1), catalogue)


@pytest.fixture(scope="module")
def large() -> Catalogue:
    """100,000 items with 32 features each."""
    features = np.random.default_rng(1).normal(size=(100_000, 32)).tolist()
    return Catalogue.build(
        [CatalogueItem(item_id=f"{i:06}", features=row, popularity=i) for i, row in enumerate(features)], 1
    )


@pytest.mark.parametrize("recommender", LOCAL, ids=lambda recommender: recommender.kind)
def test_hundred_thousand_items_take_milliseconds(recommender: Recommender, large: Catalogue) -> None:
    """No kind loops over the catalogue: a request takes under 20 ms at 10⁵ items (in fact under 1 ms)."""
    history = [f"{i:06}" for i in range(100_000)]
    query = Query(unit="u", context={"item_id": "000007", "history": history}, k=100, seed=5)
    prepared = recommender.prepare(Sources(catalogue=large))
    taken = []
    for _ in range(7):
        started = time.perf_counter()
        prepared(query)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.02
