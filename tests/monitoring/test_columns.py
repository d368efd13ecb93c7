from typing import Any

import numpy as np
import pytest

from monitoring.columns import RARE, Column, Counts, Windows


@pytest.mark.parametrize(
    ("values", "numeric", "known"),
    [
        ([1, 2.5, None], True, [1, 2.5]),
        (np.array([1.0, np.nan]), True, [1]),
        (np.array([3, 4], dtype=np.uint8), True, [3, 4]),
        (["a", None, "b", float("nan")], False, ["a", "b"]),
        ([True, False], False, ["True", "False"]),
        ([1, "a"], False, ["1", "a"]),
        ([None, None], True, []),
        ([], True, []),
    ],
)
def test_values_are_numbers_or_words(values: Any, numeric: bool, known: list[Any]) -> None:  # noqa: FBT001
    """Numbers with missing values are numbers; words, booleans and mixtures are categories."""
    column = Column.of(values)
    assert column.numeric is numeric
    assert column.known.tolist() == known


@pytest.mark.parametrize(
    ("reference", "current", "kind"),
    [
        ([1, 2, 3, 4, 5, 6], [1], "numeric"),
        ([1, 2, 3], [4, 5, 5], "categorical"),
        ([0, 1], [1, 1], "binary"),
        ([0, 1], [1, 2], "categorical"),
        ([7], [7], "binary"),
        (list("abcdefgh"), ["a"], "categorical"),
        ([1, 2, 3, 4, 5, 6], list("123456"), "categorical"),
    ],
)
def test_the_kind_is_that_of_both_windows_together(reference: list[Any], current: list[Any], kind: str) -> None:
    """More than five numbers are numeric, two values binary, the rest, and numbers that became words, categories."""
    assert Windows.of(Column.of(reference), Column.of(current)).kind == kind


def test_values_are_counted_in_both_windows() -> None:
    """Each distinct value has its counts, with the label of a whole number."""
    counts = Windows.of(Column.of([1, 1, 2]), Column.of([2, 3])).counts
    assert [counts.label(at) for at in range(3)] == ["1", "2", "3"]
    assert counts.table.tolist() == [[2, 1, 0], [0, 1, 1]]


def test_rare_categories_are_pooled() -> None:
    """Of c, d and e fewer than 5 each are to be expected in the smaller window: they are counted together."""
    counts = Counts(np.array(list("abcde")), np.array([[50, 30, 8, 6, 6], [25, 15, 4, 3, 3]]))
    pooled = counts.pooled()
    assert [pooled.label(at) for at in range(3)] == ["a", "b", RARE]
    assert pooled.table.tolist() == [[50, 30, 20], [25, 15, 10]]


def test_a_pool_that_is_rare_itself_takes_another_in() -> None:
    """One rare category alone is pooled with the rarest of the others; with nothing else, all is one."""
    assert Counts(np.array(list("abc")), np.array([[50, 30, 2], [50, 30, 1]])).pooled().table.tolist() == [
        [50, 32],
        [50, 31],
    ]
    assert Counts(np.array(list("ab")), np.array([[2, 1], [1, 2]])).pooled().table.tolist() == [[3], [3]]


@pytest.mark.parametrize("values", [[1.0, float("inf")], np.zeros((2, 2))])
def test_impossible_values_are_refused(values: Any) -> None:
    """An infinite number has no distance to others, and a feature has one value per row."""
    with pytest.raises(ValueError, match=r"finite|one value per row"):
        Column.of(values)
