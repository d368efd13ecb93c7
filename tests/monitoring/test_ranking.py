from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import ranking
from monitoring.lists import ItemSets
from tests.monitoring import oracle
from tests.monitoring.lists_of_items import N_ITEMS, N_LISTS, some_gains, some_lists
from tests.monitoring.reference import REFERENCE, run

METRICS = {name: getattr(ranking, name) for name in ranking.__all__} | {
    "average_precision_min": partial(ranking.average_precision, normalise="min")
}
IN_REFERENCE = sorted(set(METRICS) - {"average_precision_min"})


@pytest.mark.parametrize("cut", ["k1", "k3", "k5", "k10"])
@pytest.mark.parametrize("name", ["recs", "recs_ragged"])
def test_values_equal_those_of_other_libraries(name: str, cut: str) -> None:
    """On full and on ragged lists each metric is what trec_eval, Microsoft recommenders and RecTools say, to 1e-9."""
    data, expected = run(name), REFERENCE["metrics"][name][cut]
    for metric in IN_REFERENCE:
        found = METRICS[metric](data.lists, data.relevant, int(cut[1:]))
        assert found.mean == pytest.approx(expected[metric], abs=1e-9), metric
        assert found.evaluated == expected["evaluated"]


@pytest.mark.parametrize("metric", METRICS)
@given(st.data())
def test_values_equal_the_definition(metric: str, data: st.DataObject) -> None:
    """List by list, whatever the lists, a metric is what its definition gives slot by slot, within [0, 1]."""
    n_lists = data.draw(N_LISTS)
    lists, gains, k = data.draw(some_lists(n_lists)), data.draw(some_gains(n_lists)), data.draw(st.integers(1, 8))
    found = METRICS[metric](lists, gains, k, n_items=N_ITEMS)
    for value, items, graded in zip(found.values, lists.tolist(), gains, strict=True):
        expected = oracle.ranking(items, graded, k, N_ITEMS)[metric] if graded else np.nan
        assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert np.isnan(value) or 0 <= value <= 1
    assert found.unknown == (lists[:, :k] >= N_ITEMS).sum()
    assert (found.evaluated, found.skipped) == (sum(map(bool, gains)), n_lists - sum(map(bool, gains)))


@pytest.mark.parametrize("metric", METRICS)
@given(st.data())
def test_the_order_of_lists_does_not_matter(metric: str, data: st.DataObject) -> None:
    """Lists in another order have the same values in that order."""
    n_lists = data.draw(N_LISTS)
    lists, gains = data.draw(some_lists(n_lists)), data.draw(some_gains(n_lists))
    order = data.draw(st.permutations(range(n_lists)))
    before = METRICS[metric](lists, gains, 3)
    after = METRICS[metric](lists[order], [gains[at] for at in order], 3)
    np.testing.assert_allclose(after.values, before.values[order], rtol=1e-12)


def test_blocks_do_not_show() -> None:
    """Lists over many blocks have the values that they have one by one."""
    rng = np.random.default_rng(3)
    lists, relevant = rng.integers(-1, 50, (60_000, 10)), rng.integers(0, 50, (60_000, 4))
    sets = ItemSets.from_pairs(np.repeat(np.arange(60_000), 4), relevant.ravel(), n_sets=60_000)
    for name, metric in METRICS.items():
        found = metric(lists, sets, 10).values[[0, 26_213, 26_214, 26_215, 59_999]]
        for value, at in zip(found, [0, 26_213, 26_214, 26_215, 59_999], strict=True):
            expected = oracle.ranking(lists[at].tolist(), dict.fromkeys(relevant[at].tolist(), 1.0), 10, 50)[name]
            assert value == pytest.approx(expected, abs=1e-12)


def test_repeats_count_once_at_their_first_rank() -> None:
    """A relevant item that stands three times is one hit, and two repeats are reported."""
    found = ranking.precision(np.array([[4, 4, 4, 1]]), [{4}], 4)
    assert (found.mean, found.repeats) == (0.25, 2)


def test_a_short_list_is_not_divided_by_its_own_length() -> None:
    """One hit in a list of one has precision 1/5 at 5."""
    assert ranking.precision(np.array([[3, -1, -1]]), [{3}], 5).mean == 0.2


def test_without_relevant_items_there_is_no_mean() -> None:
    """No list can be judged: nan, and all are counted as skipped."""
    found = ranking.recall(np.array([[1], [2]]), [set(), set()], 1)
    assert np.isnan(found.mean)
    assert (found.evaluated, found.skipped) == (0, 2)


def test_no_lists_at_all() -> None:
    """Nothing in, nothing out, and no warning."""
    for metric in METRICS.values():
        assert metric(np.empty((0, 5), dtype=np.int64), [], 3).values.shape == (0,)


def test_one_set_per_list_is_needed() -> None:
    """Sets that do not belong to lists are a fault."""
    with pytest.raises(ValueError, match="2 lists need one set of items each, got 1"):
        ranking.recall(np.array([[1], [2]]), [{1}], 1)


def test_an_unknown_normalisation_is_refused() -> None:
    """A word that means nothing is not taken for the default."""
    with pytest.raises(ValueError, match="got 'max'"):
        ranking.average_precision(np.array([[1]]), [{1}], 1, normalise="max")  # type: ignore[arg-type]
