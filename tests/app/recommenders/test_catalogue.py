import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recommenders import Catalogue, CatalogueItem

numbers = st.floats(allow_nan=True, allow_infinity=True)
rows = st.lists(st.tuples(numbers, st.none() | st.lists(numbers, max_size=3)), max_size=12)


def made(*popularity: float) -> Catalogue:
    """Items 0, 1, 2 … of these popularities."""
    return Catalogue.build([CatalogueItem(item_id=str(i), popularity=p) for i, p in enumerate(popularity)], 1)


def test_rows_are_in_the_order_of_ids(catalogue: Catalogue) -> None:
    """Every replica numbers the items alike, whatever order the database gives them in."""
    assert catalogue.ids == ("a", "b", "c", "d", "e")
    assert [catalogue.rows[item_id] for item_id in catalogue.ids] == [0, 1, 2, 3, 4]
    assert catalogue.categories == ("x", "x", "y", "y", None)
    assert (len(catalogue), catalogue.version) == (5, 3)


def test_features_have_length_one_or_zero(catalogue: Catalogue) -> None:
    """Feature rows are float32 of length 1, and all zero for an item without features."""
    assert catalogue.features.dtype == np.float32
    assert np.linalg.norm(catalogue.features, axis=1) == pytest.approx([1, 1, 1, 1, 0])
    assert catalogue.featured.tolist() == [True, True, True, True, False]


def test_popularity_becomes_shares_and_an_order(catalogue: Catalogue) -> None:
    """Popularity adds up to 1 and gives the order, most popular first."""
    assert catalogue.popularity == pytest.approx([0.5, 0.3, 0.15, 0.05, 0])
    assert catalogue.order.tolist() == [0, 1, 2, 3, 4]


def test_equal_popularity_is_ordered_by_id() -> None:
    """Items that are equally popular keep the order of their ids."""
    assert made(1, 2, 1, 2).order.tolist() == [1, 3, 0, 2]


def test_arrays_cannot_be_written(catalogue: Catalogue) -> None:
    """What requests share cannot be changed by one of them."""
    for array in (catalogue.features, catalogue.popularity, catalogue.order, catalogue.featured):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_repeated_id_is_refused() -> None:
    """Two items with one id are a mistake of the caller, named in the message."""
    with pytest.raises(ValueError, match="'x' occurs more than once"):
        Catalogue.build([CatalogueItem(item_id="x"), CatalogueItem(item_id="x")], 1)


def test_features_of_an_odd_length_are_ignored_and_counted() -> None:
    """While vectors of a new length are being loaded, the commoner length serves and the rest waits."""
    vectors: list[list[float]] = [[1.0, 0.0], [0.0, 1.0], [1.0, 2.0, 3.0], [math.nan, 1.0], []]
    catalogue = Catalogue.build([CatalogueItem(item_id=str(i), features=vector) for i, vector in enumerate(vectors)], 1)
    assert catalogue.features.shape == (5, 2)
    assert catalogue.featured.tolist() == [True, True, False, False, False]
    assert catalogue.misfits == 2


def test_rewards_and_popularity_are_combined_as_documented(catalogue: Catalogue) -> None:
    """Score = (prior_weight · popularity + rewards) / (prior_weight + all rewards)."""
    scored = catalogue.with_rewards({"d": 20.0, "unknown": 99.0}, prior_weight=80)
    assert scored.score == pytest.approx([0.40, 0.24, 0.12, 0.24, 0])
    assert scored.order.tolist() == [0, 1, 3, 2, 4]
    assert scored.features is catalogue.features
    assert catalogue.order.tolist() == [0, 1, 2, 3, 4]


def test_rewards_beyond_the_prior_decide_the_order(catalogue: Catalogue) -> None:
    """With many rewards the catalogue's popularity no longer matters."""
    scored = catalogue.with_rewards({"e": 900.0, "d": 800.0}, prior_weight=1)
    assert scored.order.tolist()[:2] == [4, 3]


def test_without_any_popularity_all_are_equal() -> None:
    """A catalogue whose popularity nobody filled in is equally popular throughout."""
    assert made(0, 0).popularity == pytest.approx([0.5, 0.5])


@given(rows, st.dictionaries(st.sampled_from("0123"), numbers))
def test_any_numbers_make_a_sound_catalogue(
    items: list[tuple[float, list[float] | None]], rewards: dict[str, float]
) -> None:
    """Whatever numbers the table holds: shares add up to 1, rows have length 1 or 0, the order is whole."""
    catalogue = Catalogue.build(
        [CatalogueItem(item_id=str(i), popularity=p, features=f) for i, (p, f) in enumerate(items)], 1
    ).with_rewards(rewards, prior_weight=10)
    norms = np.linalg.norm(catalogue.features, axis=1)
    assert np.all((abs(norms - 1) < 1e-5) | (norms == 0))
    assert sorted(catalogue.order.tolist()) == list(range(len(items)))
    assert np.isfinite(catalogue.score).all()
    assert catalogue.popularity.sum() == pytest.approx(1 if items else 0)
