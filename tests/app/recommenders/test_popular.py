from collections.abc import Mapping

import msgspec
import pytest

from app.recommenders import Catalogue, Item, Popular, Query, RecommenderFailed
from tests.app.recommenders.conftest import Ask, recommend


def ids(popular: Popular, query: Query, catalogue: Catalogue, rewards: Mapping[str, float] | None = None) -> list[str]:
    """The ids of the answer."""
    return [item.item_id for item in recommend(popular, query, catalogue, rewards).items]


def test_most_popular_first_with_shares_as_scores(catalogue: Catalogue, ask: Ask) -> None:
    """Without rewards the order is the catalogue's, and scores are shares of its popularity."""
    assert recommend(Popular(), ask(k=2), catalogue).items == (Item("a", 0.5), Item("b", 0.3))


def test_rewards_change_the_order(catalogue: Catalogue, ask: Ask) -> None:
    """Rewards lift an item past more popular ones, by as much as the prior's weight allows."""
    rewards = {"d": 40.0}
    light, heavy = Popular(prior_weight=10), Popular(prior_weight=1000)
    assert ids(light, ask(k=2), catalogue, rewards) == ["d", "a"]
    assert ids(heavy, ask(k=2), catalogue, rewards) == ["a", "b"]


def test_leaves_out_what_was_seen(catalogue: Catalogue, ask: Ask) -> None:
    """The item at hand and the history are not recommended again, unless wanted; k items are still given."""
    query = ask({"item_id": "a", "history": ["c", "unknown"]}, k=2)
    assert ids(Popular(), query, catalogue) == ["b", "d"]
    assert ids(Popular(exclude_seen=False), query, catalogue) == ["a", "b"]


def test_fails_when_all_was_seen(catalogue: Catalogue, ask: Ask) -> None:
    """A user who has seen everything gets a fallback, not an empty answer."""
    with pytest.raises(RecommenderFailed, match="has not seen"):
        recommend(Popular(), ask({"history": list("abcde")}), catalogue)


def test_malformed_context_does_not_matter(catalogue: Catalogue, ask: Ask) -> None:
    """What is malformed names no item, and popularity needs none."""
    assert ids(Popular(), ask({"item_id": 7, "history": {"a": 1}}, k=1), catalogue) == ["a"]
    assert ids(Popular(), ask({"history": [None, ["a"], "a"]}, k=1), catalogue) == ["b"]


@pytest.mark.parametrize("parameters", [{"half_life_s": 59}, {"prior_weight": 0}, {"half_life_s": "1d"}])
def test_parameters_out_of_range_are_refused(parameters: dict[str, object]) -> None:
    """A half-life is at least a minute, and the prior weighs something."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "popular", **parameters}, Popular)


def test_half_life_is_a_week_unless_given() -> None:
    """Whoever loads the counts learns the half-life from the recommender."""
    assert Popular().reward_half_life_s == 7 * 86_400
    assert Popular(half_life_s=60).reward_half_life_s == 60
