from collections import Counter

import pytest

from app.recommenders import Catalogue, Random, RecommenderFailed
from tests.app.recommenders.conftest import Ask, recommend


def test_a_retry_gives_the_same_items(catalogue: Catalogue, ask: Ask) -> None:
    """The seed alone decides the draw."""
    draws = {seed: recommend(Random(), ask(k=5, seed=seed), catalogue).items for seed in range(50)}
    assert all(recommend(Random(), ask(k=5, seed=s), catalogue).items == items for s, items in draws.items())
    assert len(set(draws.values())) > 20


def test_draws_are_uniform_over_unseen_items(catalogue: Catalogue, ask: Ask) -> None:
    """Each ordered pair of unseen items is equally likely; false alarm below 1e-6 (and seeds are fixed)."""
    pairs = Counter(
        tuple(i.item_id for i in recommend(Random(), ask({"history": ["a"]}, k=2, seed=seed), catalogue).items)
        for seed in range(6000)
    )
    assert len(pairs) == 4 * 3
    chi_square = sum((count - 500) ** 2 / 500 for count in pairs.values())
    assert chi_square < 53  # 11 degrees of freedom: P(more) = 1.7e-7


def test_leaves_out_what_was_seen(catalogue: Catalogue, ask: Ask) -> None:
    """Seen items are not drawn, unless wanted, and all others are there to be drawn."""
    query = ask({"item_id": "a", "history": ["b", "nope"]})
    assert {item.item_id for item in recommend(Random(), query, catalogue).items} == {"c", "d", "e"}
    everything = recommend(Random(exclude_seen=False), query, catalogue).items
    assert {item.item_id for item in everything} == set("abcde")


def test_fails_when_all_was_seen(catalogue: Catalogue, ask: Ask) -> None:
    """A user who has seen everything gets a fallback, not an empty answer."""
    with pytest.raises(RecommenderFailed, match="has not seen"):
        recommend(Random(), ask({"history": list("abcde")}), catalogue)
