import msgspec
import pytest

from app.recommenders import Catalogue, Item, RecommenderFailed, Static
from tests.app.recommenders.conftest import Ask, recommend


def test_answers_with_the_head_of_its_list(catalogue: Catalogue, ask: Ask) -> None:
    """The first k of the list, in its order, in the catalogue or not."""
    answer = recommend(Static(items=("z", "a", "b")), ask({"item_id": "z"}, k=2), catalogue)
    assert answer.items == (Item("z"), Item("a"))


def test_leaves_out_seen_items_when_asked_to(catalogue: Catalogue, ask: Ask) -> None:
    """With `exclude_seen` the context's items are skipped, and an empty rest is a failure."""
    static = Static(items=("z", "a", "b"), exclude_seen=True)
    answer = recommend(static, ask({"item_id": "z", "history": ["a"]}, k=2), catalogue)
    assert answer.items == (Item("b"),)
    with pytest.raises(RecommenderFailed, match="every item of the list"):
        recommend(static, ask({"history": ["a", "b", "z"]}), catalogue)


@pytest.mark.parametrize("items", [[], ["a", "a"], [""], ["a"] * 501])
def test_bad_lists_are_refused(items: list[str]) -> None:
    """An empty list, a repeated id, an empty id and an endless list are errors of the specification."""
    with pytest.raises(msgspec.ValidationError, match=r"at `\$"):
        msgspec.convert({"recommender": {"kind": "static", "items": items}}, dict[str, Static])


def test_a_repeated_item_is_named() -> None:
    """The message says which item is listed twice."""
    with pytest.raises(ValueError, match="'b' is listed twice"):
        Static(items=("a", "b", "c", "b"))
