import numpy as np
import pytest

from monitoring.popularity import Popularity


def test_a_random_choice_has_quantile_one_half() -> None:
    """In any catalogue the quantiles average ½, ties or not."""
    for users in ([0, 0, 0], [5, 1, 3, 3], [9]):
        assert Popularity(np.array(users), 10).quantile.mean() == pytest.approx(0.5)


def test_the_head_makes_four_fifths_of_the_interactions() -> None:
    """70 + 10 of 100 are the head; equals of the last one in it are in it too; items without users never are."""
    assert Popularity(np.array([70, 10, 10, 6, 4, 0]), 100).long_tail.tolist() == [False] * 3 + [True] * 3
    assert Popularity(np.array([80, 20, 0]), 100).long_tail.tolist() == [False, True, True]


def test_users_without_history_are_not_counted() -> None:
    """Popularity is a share of those who interacted with anything; unknown items are no part of the catalogue."""
    popularity = Popularity.of([{0, 1}, {0, 9}, set()], n_items=3)
    assert popularity.n_users == 2
    assert popularity.share.tolist() == [1, 0.5, 0]


@pytest.mark.parametrize("users", [[3, -1], [6, 1]])
def test_impossible_counts_are_refused(users: list[int]) -> None:
    """Fewer than none, or more than there are, cannot have interacted."""
    with pytest.raises(ValueError, match="of 5 users"):
        Popularity(np.array(users), 5)


def test_popularity_among_nobody_is_refused() -> None:
    """Without users there is no share."""
    with pytest.raises(ValueError, match="needs users and items"):
        Popularity.of([set()], n_items=3)
