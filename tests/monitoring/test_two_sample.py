import numpy as np
import pytest
import scipy.spatial
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from monitoring import two_sample
from monitoring.columns import Column, Windows
from tests.monitoring.reference import REFERENCE, window

SAMPLES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=30).map(np.array)
TABLES = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(st.integers(1, 99), min_size=n, max_size=n), min_size=2, max_size=2).map(np.array)
)
CASES = [(size, feature) for size, features in REFERENCE["drift"].items() for feature in features]


@pytest.mark.parametrize(("size", "feature"), CASES)
def test_values_equal_those_of_other_programs(size: str, feature: str) -> None:
    """Each test and distance of the reference files is reproduced to 1e-9."""
    columns = (Column.of(window(f"{size}_{which}")[feature]) for which in ("reference", "current"))
    windows, expected = Windows.of(*columns), REFERENCE["drift"][size][feature]
    counts, found = windows.counts, {}
    if windows.numeric:
        found["ks_p"] = two_sample.kolmogorov_smirnov(windows.reference, windows.current)
        found["wasserstein_normed"] = two_sample.wasserstein_normed(windows.reference, windows.current)
        shares = two_sample.sturges_shares(windows.reference, windows.current)
    else:
        found["jensen_shannon_distance"] = two_sample.jensen_shannon_distance(counts.shares)
        shares = counts.shares
    found["psi"] = two_sample.population_stability_index(shares)
    if windows.kind != "numeric":
        found["chi2_p"] = two_sample.chi_squared(counts.table)
    if feature == "device":
        found["two_proportion_z_p"] = two_sample.two_proportion_z(counts.table)
    assert found == pytest.approx({name: p for name, p in expected.items() if name != "evidently_default"}, abs=1e-9)


@given(SAMPLES, SAMPLES)
def test_wasserstein_agrees_with_scipy(reference: np.ndarray, current: np.ndarray) -> None:
    """The distance is scipy's, in standard deviations of the reference."""
    deviation = reference.std()
    if deviation > 1e-6:
        expected = scipy.stats.wasserstein_distance(reference, current) / deviation
        assert two_sample.wasserstein_normed(reference, current) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(TABLES)
def test_distances_and_tests_of_counts_agree_with_scipy(table: np.ndarray) -> None:
    """Jensen–Shannon and χ² are scipy's; the square of z is χ² of two categories."""
    shares = table / table.sum(axis=1, keepdims=True)
    expected = scipy.spatial.distance.jensenshannon(*shares)
    assert two_sample.jensen_shannon_distance(shares) == pytest.approx(expected, abs=1e-7)
    p = scipy.stats.chi2_contingency(table, correction=False).pvalue if table.shape[1] > 1 else 1
    assert two_sample.chi_squared(table) == pytest.approx(p, abs=1e-12)
    if table.shape[1] == 2:
        assert two_sample.two_proportion_z(table) == pytest.approx(p, abs=1e-12)


def test_a_constant_reference_is_no_division_by_zero() -> None:
    """Away from a constant any move is infinitely many standard deviations; no move is none."""
    assert two_sample.wasserstein_normed(np.ones(3), np.ones(2)) == 0
    assert two_sample.wasserstein_normed(np.ones(3), np.array([1.0, 2.0])) == np.inf


def test_windows_that_hardly_differ_give_no_warning() -> None:
    """Where rounding takes scipy's exact p above 1, it warns, and the asymptotic p is taken in silence."""
    reference = np.arange(300.0)
    for moved in range(1, 6):
        current = np.where(reference < moved, 999.0, reference)
        assert two_sample.kolmogorov_smirnov(reference, current) == pytest.approx(1)


def test_equal_shares_of_nothing_are_equal() -> None:
    """Two windows in which a flag is never set have p = 1."""
    assert two_sample.two_proportion_z(np.array([[9, 0], [5, 0]])) == 1
