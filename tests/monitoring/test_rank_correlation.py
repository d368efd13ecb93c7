"""Spearman's ρ equals scipy's, also in every resample, and its interval holds the truth as often as it says."""

import math

import numpy as np
import pytest
import scipy.stats

from monitoring.rank_correlation import Pairs, rank_correlation, spearman


def pairs_of(n: int, values: int, seed: int) -> Pairs:
    """Related pairs with so many distinct values: few make ties."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, values, n).astype(float)
    return Pairs(x, x / 2 + rng.integers(0, values, n), np.zeros(n, np.int64))


def expected(x: np.ndarray, y: np.ndarray) -> float:
    """What scipy says."""
    return float(scipy.stats.spearmanr(x, y).statistic)


@pytest.mark.parametrize("n", [3, 10, 1000])
@pytest.mark.parametrize("values", [2, 3, 10, 10**6])
def test_spearman_is_that_of_scipy(n: int, values: int) -> None:
    """With and without ties, to 1e-12."""
    for seed in range(5):
        pairs = pairs_of(n, values, seed)
        if np.ptp(pairs.x) and np.ptp(pairs.y):
            assert spearman(pairs) == pytest.approx(expected(pairs.x, pairs.y), abs=1e-12)


def test_a_constant_column_has_no_correlation() -> None:
    """Nor have no pairs, or strata of one pair each; it is None, and never nan."""
    x, alike, alone = np.arange(9.0), np.zeros(9, np.int64), np.arange(9)
    none = np.empty(0)
    assert spearman(Pairs(x, np.full(9, 3.0), alike)) is None
    assert spearman(Pairs(none, none, none.astype(np.int64))) is None
    assert spearman(Pairs(x, x, alone)) is None
    found = rank_correlation(Pairs(np.full(9, 3.0), x, alike), np.random.default_rng(0))
    assert (found.rho, found.interval) == (None, None)
    assert {*found.reasons} == {"rho", "interval"}


def test_ranks_count_within_strata() -> None:
    """As by ranking each stratum by itself; a shift of a whole stratum changes nothing."""
    pairs, strata = pairs_of(300, 6, 1), np.random.default_rng(2).integers(0, 12, 300)
    ranks = np.zeros((2, 300))
    for stratum in range(12):
        of_stratum = strata == stratum
        for row, column in zip(ranks, (pairs.x, pairs.y), strict=True):
            row[of_stratum] = (scipy.stats.rankdata(column[of_stratum]) - 0.5) / of_stratum.sum() - 0.5
    by_hand = (ranks[0] @ ranks[1]) / math.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1]))
    assert spearman(Pairs(pairs.x, pairs.y, strata)) == pytest.approx(by_hand, abs=1e-12)
    assert spearman(Pairs(pairs.x + 9 * strata, pairs.y, strata)) == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("size", [1, 5])
def test_each_resample_is_ranked_anew(size: int) -> None:
    """The interval is that of scipy's ρ in the same resamples, drawn pair by pair or block by block."""
    pairs = pairs_of(60, 10**6, 3)  # no two pairs are alike, so none are drawn together
    blocks = None if size == 1 else np.arange(60) // size
    found = rank_correlation(Pairs(pairs.x, pairs.y, pairs.strata, blocks), np.random.default_rng(4), resamples=200)
    n = 60 // size
    times = np.random.default_rng(4).multinomial(n, np.full(n, 1 / n), size=200)
    order = np.lexsort((pairs.strata, pairs.x, pairs.y)) if size == 1 else np.arange(60)
    drawn = [np.repeat(order, np.repeat(row, size)) for row in times]
    rhos = [expected(pairs.x[rows], pairs.y[rows]) for rows in drawn]
    assert found.interval == pytest.approx(tuple(np.quantile(rhos, [0.025, 0.975])), abs=1e-12)


def test_resamples_do_not_depend_on_how_many_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same interval."""
    pairs = pairs_of(500, 20, 5)
    whole = rank_correlation(pairs, np.random.default_rng(6))
    monkeypatch.setattr("monitoring.rank_correlation._AT_ONCE", 777)
    assert rank_correlation(pairs, np.random.default_rng(6)) == whole


def test_a_column_that_is_constant_in_many_resamples_has_no_interval() -> None:
    """One reward among a thousand zeros is missing in a third of the resamples."""
    y = np.zeros(1000)
    y[7] = 1
    found = rank_correlation(Pairs(np.arange(1000.0), y, np.zeros(1000, np.int64)), np.random.default_rng(0))
    assert found.rho is not None
    assert found.interval is None
    assert "few values" in found.reasons["interval"]


@pytest.mark.parametrize(("r", "level"), [(0.0, 0.95), (0.5, 0.95), (0.5, 0.8)])
def test_intervals_hold_the_truth(r: float, level: float) -> None:
    """100 pairs, normal: in 300 data sets about as often as the level says.

    The truth is 6/π · asin(r/2) (Pearson 1907). If an interval held it in `level − 0.03` of the cases, fewer than the
    bound would have a probability below 1e-6; more than the upper bound, if in `level + 0.02`.
    """
    rng, truth, held = np.random.default_rng(7), 6 / math.pi * math.asin(r / 2), 0
    for _ in range(300):
        x = rng.normal(size=100)
        y = r * x + math.sqrt(1 - r * r) * rng.normal(size=100)
        found = rank_correlation(Pairs(x, y, np.zeros(100, np.int64)), rng, level=level, resamples=200)
        assert found.interval is not None
        held += found.interval[0] <= truth <= found.interval[1]
    fewest, most = scipy.stats.binom.ppf(1e-6, 300, level - 0.03), scipy.stats.binom.isf(1e-6, 300, level + 0.02)
    assert fewest <= held <= most
