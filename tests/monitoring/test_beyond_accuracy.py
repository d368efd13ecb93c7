import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import beyond_accuracy as beyond
from monitoring.popularity import Popularity
from tests.monitoring import oracle
from tests.monitoring.lists_of_items import N_ITEMS, N_LISTS, some_lists, some_sets
from tests.monitoring.reference import N_ITEMS as N_REFERENCE
from tests.monitoring.reference import REFERENCE, run

VECTORS = st.lists(
    st.sampled_from([(0.0, 0.0), (1.0, 0.0), (0.0, 2.0), (-1.0, 0.5), (3.0, 4.0), (1e-200, 1e-200), (1e200, -1e200)]),
    min_size=N_ITEMS,
    max_size=N_ITEMS,
)


@pytest.mark.parametrize("cut", ["k1", "k3", "k5", "k10"])
@pytest.mark.parametrize("name", ["recs", "recs_ragged"])
def test_values_equal_those_of_other_libraries(name: str, cut: str) -> None:
    """On full and on ragged lists each metric is what RecTools, Microsoft recommenders or the formula say, to 1e-9."""
    data, k, expected = run(name), int(cut[1:]), REFERENCE["metrics"][name][cut]
    diversity = expected["intra_list_diversity"]
    found = {
        "novelty": beyond.novelty(data.lists, data.popularity, k).mean,
        "intra_list_diversity": beyond.intra_list_diversity(data.lists, data.vectors, k).mean,
        "serendipity": beyond.serendipity(data.lists, data.relevant, data.history, data.vectors, k).mean,
        "coverage": beyond.coverage(data.lists, k, n_items=N_REFERENCE).share,
        "gini_exposure_whole_catalogue": beyond.popularity_bias(data.lists, data.popularity, k).gini,
        "personalization": beyond.personalization(data.lists, k, n_items=N_REFERENCE).value,
    }
    wanted = expected | {"intra_list_diversity": math.nan if diversity is None else diversity}
    for metric, value in found.items():
        assert value == pytest.approx(wanted[metric], abs=1e-9, nan_ok=True), metric


@given(st.data())
def test_novelty_and_popularity_equal_the_definition(data: st.DataObject) -> None:
    """Bits, popularity and quantile of each list, and the shares over slots, by plain counting."""
    n_lists = data.draw(N_LISTS)
    lists, k = data.draw(some_lists(n_lists)), data.draw(st.integers(1, 7))
    users = np.array(data.draw(st.lists(st.integers(0, 20), min_size=N_ITEMS, max_size=N_ITEMS)))
    popularity = Popularity(users, 20)
    cut = [oracle.known(items, k, N_ITEMS) for items in lists.tolist()]
    novelty, bias = beyond.novelty(lists, popularity, k), beyond.popularity_bias(lists, popularity, k)
    shown = [item for items in cut for item in items]
    for at, items in enumerate(cut):
        bits = [-math.log2(max(users[item], 1) / 20) for item in items]
        assert novelty.values[at] == pytest.approx(np.mean(bits) if items else np.nan, nan_ok=True)
        shares = [users[item] / 20 for item in items]
        assert bias.average_popularity.values[at] == pytest.approx(np.mean(shares) if items else np.nan, nan_ok=True)
        ranks = [(np.sum(users < users[item]) + np.sum(users <= users[item])) / 16 for item in items]
        assert bias.popularity_quantile.values[at] == pytest.approx(np.mean(ranks) if items else np.nan, nan_ok=True)
    unseen, tail = ([flags[item] for item in shown] for flags in (users == 0, popularity.long_tail))
    assert novelty.unseen == pytest.approx(np.mean(unseen) if shown else np.nan, nan_ok=True)
    assert bias.long_tail_share == pytest.approx(np.mean(tail) if shown else np.nan, nan_ok=True)
    counts = [shown.count(item) for item in range(N_ITEMS)]
    assert bias.gini == pytest.approx(oracle.gini(counts), abs=1e-12, nan_ok=True)
    assert novelty.unknown == bias.average_popularity.unknown == (lists[:, :k] >= N_ITEMS).sum()


@given(st.data())
def test_diversity_and_serendipity_equal_the_definition(data: st.DataObject) -> None:
    """Pair by pair, with zero, tiny and huge vectors among them, within [0, 2]."""
    n_lists = data.draw(N_LISTS)
    lists, k = data.draw(some_lists(n_lists)), data.draw(st.integers(1, 7))
    relevant, history, vectors = data.draw(some_sets(n_lists)), data.draw(some_sets(n_lists)), data.draw(VECTORS)
    diversity = beyond.intra_list_diversity(lists, vectors, k)
    serendipity = beyond.serendipity(lists, relevant, history, vectors, k)
    skipped = 0
    plain = [(0.0, 0.0) if not any(v) else tuple(np.array(v) / np.abs(v).max()) for v in vectors]
    for at, items in enumerate(oracle.known(each, k, N_ITEMS) for each in lists.tolist()):
        expected, without = oracle.diversity(items, plain)
        skipped += without
        assert diversity.values[at] == pytest.approx(expected, abs=1e-9, nan_ok=True)
        surprise = oracle.serendipity(items, relevant[at], history[at], plain)
        assert serendipity.values[at] == pytest.approx(surprise, abs=1e-9, nan_ok=True)
    assert diversity.skipped_pairs == skipped
    assert not (np.concatenate([diversity.values, serendipity.values]) > 2 + 1e-12).any()


@given(st.data())
def test_measures_of_all_lists_equal_the_definition(data: st.DataObject) -> None:
    """Coverage, entropy, personalization and health by plain counting, and within their ranges."""
    lists, k = data.draw(N_LISTS.flatmap(some_lists)), data.draw(st.integers(1, 7))
    cut = [oracle.known(items, k, N_ITEMS) for items in lists.tolist()]
    shown = [item for items in cut for item in items]
    shares = [shown.count(item) / len(shown) for item in set(shown)]
    entropy = -sum(share * math.log2(share) for share in shares) if shown else math.nan
    coverage = beyond.coverage(lists, k, n_items=N_ITEMS)
    assert (coverage.items, coverage.share) == (len(set(shown)), len(set(shown)) / N_ITEMS)
    assert coverage.entropy == pytest.approx(entropy, abs=1e-12, nan_ok=True)
    assert coverage.unknown == (lists[:, :k] >= N_ITEMS).sum()
    personal = beyond.personalization(lists, k, n_items=N_ITEMS)
    assert personal.value == pytest.approx(oracle.personalization(cut), abs=1e-12, nan_ok=True)
    assert personal.evaluated == sum(map(bool, cut))
    health = beyond.list_health(lists, k, n_items=N_ITEMS)
    assert health.mean_fill == pytest.approx(np.mean([len(items) / k for items in cut]))
    assert health.full == pytest.approx(np.mean([len(items) == k for items in cut]))
    assert health.with_list == pytest.approx(np.mean([bool(items) for items in cut]))
    assert health.normalised_entropy == pytest.approx(entropy / 3, abs=1e-12, nan_ok=True)


@given(st.data())
def test_the_order_of_lists_does_not_matter(data: st.DataObject) -> None:
    """Measures of all lists together are the same in any order of the lists."""
    lists = data.draw(N_LISTS.flatmap(some_lists))
    other = lists[data.draw(st.permutations(range(len(lists))))]
    assert beyond.coverage(lists, 4, n_items=N_ITEMS).items == beyond.coverage(other, 4, n_items=N_ITEMS).items
    one, two = (beyond.personalization(each, 4, n_items=N_ITEMS).value for each in (lists, other))
    assert one == pytest.approx(two, abs=1e-12, nan_ok=True)


def test_lists_with_repeats_are_counted() -> None:
    """One of three lists holds an item twice; a repeat fills no slot."""
    health = beyond.list_health(np.array([[1, 1, 2], [0, 1, 2], [-1, -1, -1]]), 3, n_items=4)
    assert health.with_repeats == pytest.approx(1 / 3)
    assert health.mean_fill == pytest.approx(5 / 9)
    assert health.full == pytest.approx(1 / 3)
    assert health.units == 3


def test_long_histories_are_added_up_in_pieces() -> None:
    """A history of a million items, far beyond one piece, has the same centroid as any."""
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(1_500_000, 2))
    history = [range(3), range(3, 1_400_003), range(5)]
    found = beyond.serendipity(np.array([[7], [8], [9]]), [{7}, {8}, {9}], history, vectors, 1)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = [1 - unit[item] @ unit[past].mean(axis=0) for item, past in zip((7, 8, 9), history, strict=True)]
    assert found.values == pytest.approx(expected, abs=1e-9)


def test_same_lists_are_not_personal_and_different_ones_are() -> None:
    """0 when all get the same, 1 when no two share an item."""
    assert beyond.personalization(np.array([[1, 2]] * 5), 2, n_items=4).value == pytest.approx(0, abs=1e-12)
    assert beyond.personalization(np.array([[0, 1], [2, 3]]), 2, n_items=4).value == 1


def test_cold_units_and_items_are_counted() -> None:
    """One unit of four has no history, and two items of five no interaction."""
    history = [{0, 1}, set(), {2}, {0}]
    cold = beyond.cold_share(history, Popularity.of(history, n_items=5))
    assert (cold.units, cold.items) == (0.25, 0.4)


def test_vectors_must_be_finite() -> None:
    """A nan would spread over every list that holds the item."""
    with pytest.raises(ValueError, match="vectors must be finite"):
        beyond.intra_list_diversity(np.array([[0]]), [[np.nan]], 1)


def test_one_history_per_list_is_needed() -> None:
    """Histories that do not belong to lists are a fault."""
    with pytest.raises(ValueError, match="1 lists need one set of items each, got 2"):
        beyond.serendipity(np.array([[0]]), [{0}], [{0}, {0}], [[1.0]], 1)
