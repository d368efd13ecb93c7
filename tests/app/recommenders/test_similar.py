from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recommenders import Catalogue, CatalogueItem, Query, RecommenderFailed, Similar
from tests.app.recommenders.conftest import Ask, recommend


def ids(query: Query, catalogue: Catalogue, **parameters: bool | int) -> list[str]:
    """The ids of the answer."""
    similar = Similar(**parameters)  # type: ignore[arg-type]
    return [item.item_id for item in recommend(similar, query, catalogue).items]


def test_nearest_by_angle_first(catalogue: Catalogue, ask: Ask) -> None:
    """Neighbours come by falling cosine, whatever their length; what has no features is no neighbour."""
    answer = recommend(Similar(), ask({"item_id": "a"}), catalogue)
    assert [item.item_id for item in answer.items] == ["b", "c", "d"]
    assert answer.items[0].score == pytest.approx(1 / np.hypot(1, 0.1), abs=1e-6)


def test_k_bounds_the_answer(catalogue: Catalogue, ask: Ask) -> None:
    """At most k neighbours are given, the nearest ones."""
    assert ids(ask({"item_id": "d"}, k=1), catalogue) == ["c"]


def test_history_stands_in_for_the_item(catalogue: Catalogue, ask: Ask) -> None:
    """Without an item at hand, or when it has no features, the mean of the history is looked near."""
    assert ids(ask({"history": ["b", "d"]}, k=1), catalogue) == ["c"]
    assert ids(ask({"item_id": "e", "history": ["b", "d"]}, k=1), catalogue) == ["c"]
    assert ids(ask({"item_id": None, "history": ["b", "d", "nope"]}, k=1), catalogue) == ["c"]


def test_item_at_hand_goes_before_history(catalogue: Catalogue, ask: Ask) -> None:
    """An item with features decides alone; the history only says what was seen."""
    assert ids(ask({"item_id": "d", "history": ["c"]}, k=1), catalogue) == ["a"]


def test_only_the_end_of_the_history_counts(catalogue: Catalogue, ask: Ask) -> None:
    """The last `history_length` known items make the query's vector."""
    context = {"history": ["b", "b", "b", "d", "unknown"]}
    assert ids(ask(context, k=1), catalogue, history_length=1) == ["c"]
    assert ids(ask(context, k=1), catalogue, history_length=4) == ["a"]


def test_seen_items_may_be_wanted(catalogue: Catalogue, ask: Ask) -> None:
    """Without `exclude_seen` an item is its own nearest neighbour."""
    assert ids(ask({"item_id": "d"}, k=1), catalogue, exclude_seen=False) == ["d"]


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({}, "no item in context.item_id or context.history"),
        ({"item_id": "unknown"}, "no item in context.item_id or context.history"),
        ({"item_id": "e"}, "no item in context.item_id or context.history"),
        ({"item_id": 1008}, "context.item_id must be a string, not int"),
        ({"history": "a"}, "context.history must be a list of item ids, not str"),
        ({"history": ["a", 3]}, "context.history must hold strings, not int"),
        ({"history": ["a", "b", "c", "d"]}, "no item with features is left"),
    ],
)
def test_fails_with_the_reason(context: Mapping[str, object], reason: str, catalogue: Catalogue, ask: Ask) -> None:
    """Each way of not being able to answer has its own reason, naming the field."""
    with pytest.raises(RecommenderFailed, match=reason):
        recommend(Similar(), ask(context), catalogue)


def test_opposite_items_have_no_mean(ask: Ask) -> None:
    """A history whose vectors cancel out points nowhere."""
    vectors = {"a": [1.0, 0.0], "b": [-1.0, 0.0], "c": [0.0, 1.0]}
    catalogue = Catalogue.build([CatalogueItem(item_id=i, features=v) for i, v in vectors.items()], 1)
    with pytest.raises(RecommenderFailed, match="cancel out"):
        recommend(Similar(), ask({"history": ["a", "b"]}), catalogue)


@given(seed=st.integers(0, 1000), n=st.integers(2, 60), k=st.integers(1, 70))
def test_equals_sorting_everything(seed: int, n: int, k: int) -> None:
    """The partial sort gives what a full sort by cosine gives."""
    vectors = np.random.default_rng(seed).normal(size=(n, 4))
    catalogue = Catalogue.build(
        [CatalogueItem(item_id=f"{i:02}", features=vector.tolist()) for i, vector in enumerate(vectors)], 1
    )
    unit = catalogue.features
    cosine = unit @ unit[0]
    expected = [row for row in np.argsort(-cosine, kind="stable") if row != 0][:k]
    answer = recommend(Similar(), Query(unit="u", context={"item_id": "00"}, k=k, seed=0), catalogue)
    scores = [item.score for item in answer.items]
    assert scores == pytest.approx([float(cosine[row]) for row in expected], abs=1e-5)
