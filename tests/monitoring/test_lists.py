from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.lists import ItemSets, blocks
from tests.monitoring.lists_of_items import N_ITEMS, N_LISTS, some_sets


def test_sets_are_the_same_however_they_are_given() -> None:
    """A boolean array, sets, lists with repeats, and pairs in any order make the same sets."""
    mask = np.array([[True, False, True], [False, False, False], [False, True, False]])
    for given_as in (
        ItemSets.of(mask),
        ItemSets.of([{2, 0}, set(), {1}]),
        ItemSets.of([[2, 0, 2], [], [1]]),
        ItemSets.of([{0: 2.0, 2: 1.0}, {1: 0.0}, {1: 1.0}]),
        ItemSets.from_pairs([2, 0, 0, 0], [1, 2, 0, 2], n_sets=3),
    ):
        assert given_as.offsets.tolist() == [0, 2, 2, 3]
        assert given_as.items.tolist() == [0, 2, 1]


def test_a_repeated_pair_has_its_largest_gain() -> None:
    """Feedback that says 1 and 3 of the same item says 3."""
    assert ItemSets.from_pairs([0, 0], [5, 5], n_sets=1, gains=[1, 3]).gains == pytest.approx([3])


@given(st.data())
def test_items_are_counted_over_sets(data: st.DataObject) -> None:
    """In how many sets an item is, by plain counting."""
    sets = data.draw(N_LISTS.flatmap(some_sets))
    expected = [sum(item in each for each in sets) for item in range(N_ITEMS)]
    assert ItemSets.of(sets).users_by_item(N_ITEMS).tolist() == expected


@given(st.data())
def test_sets_are_taken_in_any_order(data: st.DataObject) -> None:
    """Also more than once, and with their gains."""
    sets = data.draw(N_LISTS.flatmap(some_sets))
    wanted = data.draw(st.lists(st.integers(0, len(sets) - 1), max_size=8)) if sets else []
    taken = ItemSets.of(sets).take(np.array(wanted, dtype=np.int64))
    expected = ItemSets.of([sets[index] for index in wanted])
    assert taken.offsets.tolist() == expected.offsets.tolist()
    assert taken.items.tolist() == expected.items.tolist()
    graded = ItemSets.of([{3: 1.0, 4: 2.0}, {5: 3.0}]).take([1, 0, 1])
    assert graded.gains is not None
    assert graded.gains.tolist() == [3, 1, 2, 3]


def test_blocks_hold_a_bounded_number_of_slots() -> None:
    """However many lists, and however wide the caller's numbers, a block stays small."""
    lists = np.zeros((200_000, 10), dtype=np.int32)
    assert max(block.items.size for block in blocks(lists, 10)) <= 1 << 18
    assert max(block.items.size for block in blocks(lists[:20_000], 10, width=64)) <= 1 << 12


def test_the_lists_given_stay_as_they_are() -> None:
    """Unknown items and repeats are blanked in copies only."""
    lists = np.array([[9, 1, 1]])
    list(blocks(lists, 3, n_items=5))
    assert lists.tolist() == [[9, 1, 1]]


@pytest.mark.parametrize(
    ("lists", "k", "message"),
    [
        ([[1.5]], 1, "integers of shape"),
        ([1, 2], 1, "integers of shape"),
        ([[1]], 0, "k must be 1 or more, got 0"),
        ([[-2]], 1, "got -2"),
    ],
)
def test_what_is_no_list_is_refused(lists: Any, k: int, message: str) -> None:
    """The message says what came and what should have."""
    with pytest.raises(ValueError, match=message):
        list(blocks(lists, k))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sets": [0], "items": [1, 2]}, "a set and an item"),
        ({"sets": [3], "items": [1]}, "within 0 to 1"),
        ({"sets": [0], "items": [-1]}, "got -1"),
        ({"sets": [0], "items": [1], "gains": [np.nan]}, "finite"),
        ({"sets": [0], "items": [1], "gains": [-1]}, "0 or more"),
    ],
)
def test_impossible_pairs_are_refused(arguments: dict[str, Any], message: str) -> None:
    """Indices and gains outside their range are a fault elsewhere."""
    with pytest.raises(ValueError, match=message):
        ItemSets.from_pairs(**arguments, n_sets=2)


def test_sets_of_other_kinds_are_refused() -> None:
    """An array that is not boolean is ambiguous, and so are sets of which only some are graded."""
    with pytest.raises(ValueError, match="must be boolean"):
        ItemSets.of(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="either every set has gains or none"):
        ItemSets.of([{1: 2.0}, {1}])
