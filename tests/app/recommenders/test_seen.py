from app.recommenders import Catalogue
from app.recommenders.seen import MAX_HISTORY, current_item, history, seen_items, seen_rows


def test_names_of_seen_items(catalogue: Catalogue) -> None:
    """The item at hand and the history are what was seen; unknown items have no row."""
    context = {"item_id": "a", "history": ["c", "unknown"]}
    assert seen_items(context) == {"a", "c", "unknown"}
    assert seen_rows(context, catalogue) == {0, 2}
    assert (current_item(context), history(context)) == ("a", ["c", "unknown"])


def test_a_huge_history_is_cut_to_its_end() -> None:
    """A client cannot make a request expensive: only the newest items are looked at."""
    context = {"history": [str(i) for i in range(10**6)]}
    assert len(seen_items(context)) == len(history(context)) == MAX_HISTORY
    assert history(context)[-1] == "999999"


def test_absent_is_empty() -> None:
    """A context without items is no error."""
    assert (current_item({}), history({"history": None}), seen_items({})) == (None, [], frozenset())
