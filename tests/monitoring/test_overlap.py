"""How alike two lists are."""

import pytest

from monitoring.overlap import OVERLAPS, jaccard, rank_biased_overlap


@pytest.mark.parametrize("measure", OVERLAPS.values())
def test_equal_lists_are_alike_and_lists_without_common_items_are_not(measure: object) -> None:
    """1 and 0, also when lists are empty."""
    assert callable(measure)
    assert measure("abcde", "abcde") == pytest.approx(1, abs=1e-12)
    assert measure("abc", "xyz") == 0
    assert measure("", "") == 1
    assert measure("a", "") == measure("", "a") == 0


def test_jaccard_counts_items_whatever_their_order() -> None:
    """Two of four."""
    assert jaccard("abc", "cbd") == 0.5


def test_rank_biased_overlap_is_that_of_the_paper() -> None:
    """By hand from equation 32: "abc" and "bacd" agree 0/1, 2/2, 3/3, and of the fourth as much as before it."""
    weights = [0.5**d for d in range(1, 5)]
    agreement = 0 * weights[0] + 1 * weights[1] + 1 * weights[2] + 3 / 4 * weights[3]
    unseen = 3 * (4 - 3) / (3 * 4) * weights[3]
    rest = ((3 - 3) / 4 + 3 / 3) * weights[3]
    expected = agreement + unseen + rest
    assert rank_biased_overlap("abc", "bacd", p=0.5) == pytest.approx(expected, abs=1e-12)
    assert rank_biased_overlap("bacd", "abc", p=0.5) == pytest.approx(expected, abs=1e-12)


def test_rank_biased_overlap_heeds_the_top_more_than_the_end() -> None:
    """A swap at the top costs more than one at the end, and Jaccard sees neither."""
    top, end = rank_biased_overlap("abcdefgh", "bacdefgh"), rank_biased_overlap("abcdefgh", "abcdefhg")
    assert top < end < 1
