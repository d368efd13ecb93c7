import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from monitoring.drift import DriftReport, DriftRules, FeatureDrift, detect_drift
from tests.monitoring.reference import REFERENCE, window

RNG = np.random.default_rng(11)
NORMAL = RNG.normal(size=3000)


def of(report: DriftReport, feature: str) -> FeatureDrift:
    """The result of one feature."""
    return next(each for each in report.features if each.feature == feature)


def test_small_windows_are_tested() -> None:
    """Below 1,000 rows each kind has its test, and the value is its p."""
    report = detect_drift(window("small_reference"), window("small_current"))
    expected = REFERENCE["drift"]["small"]
    for feature, test, name in (
        ("score", "kolmogorov_smirnov", "ks_p"),
        ("score_stable", "kolmogorov_smirnov", "ks_p"),
        ("category", "chi_squared", "chi2_p"),
        ("n_sessions", "chi_squared", "chi2_p"),
        ("device", "two_proportion_z", "two_proportion_z_p"),
    ):
        found = of(report, feature)
        assert (found.test, found.n, found.threshold) == (test, 450, 0.05)
        assert found.value == found.p_value == pytest.approx(expected[feature][name], abs=1e-9)
    assert {each.feature for each in report.features if not each.drifted} == {"score_stable", "device"}
    assert report.drifted
    assert report.share == 5 / 7


def test_large_windows_are_judged_by_distance_too() -> None:
    """From 1,000 rows on the value is a distance; a small one is no drift, however certain."""
    report = detect_drift(window("large_reference"), window("large_current"), psi=True)
    expected = REFERENCE["drift"]["large"]
    for feature, test, name, p in (
        ("score", "wasserstein", "wasserstein_normed", "ks_p"),
        ("price", "wasserstein", "wasserstein_normed", "ks_p"),
        ("category", "jensen_shannon", "jensen_shannon_distance", "chi2_p"),
        ("device", "jensen_shannon", "jensen_shannon_distance", "two_proportion_z_p"),
    ):
        found = of(report, feature)
        assert (found.test, found.threshold) == (test, 0.1)
        assert found.value == pytest.approx(expected[feature][name], abs=1e-9)
        assert found.p_value == pytest.approx(expected[feature][p], abs=1e-9)
        assert found.psi == pytest.approx(expected[feature]["psi"], abs=1e-9)
    assert {each.feature for each in report.features if each.drifted} == {"score", "price", "category"}
    assert of(report, "device").p_adjusted < 0.05
    assert not report.drifted


def test_a_distance_that_chance_explains_is_no_drift() -> None:
    """50 categories in 1,000 quiet rows are more than 0.1 apart, and yet not drifted."""
    reference, current = RNG.integers(0, 50, (2, 1000)).astype(str)
    found = of(detect_drift({"word": reference}, {"word": current}), "word")
    assert found.value > found.threshold
    assert not found.drifted


def test_the_share_of_missing_values_is_a_feature() -> None:
    """A number that stays the same where it is there, but is missing more often, is found, and which way."""
    reference, current = NORMAL[:600], np.where(np.arange(600) % 5, NORMAL[600:1200], np.nan)
    report = detect_drift({"price": reference}, {"price": current})
    missing = of(report, "price:missing")
    assert (missing.kind, missing.moved, missing.direction, missing.drifted) == ("binary", "missing", "up", True)
    assert missing.change == pytest.approx(0.2)
    assert missing.test == "two_proportion_z"
    assert not of(report, "price").drifted


def test_each_result_says_which_way_it_moved() -> None:
    """Numbers by their mean, categories by the one that changed most, flags by the share that is set."""
    report = detect_drift(
        {"price": NORMAL[:500], "genre": ["a"] * 50 + ["b"] * 50, "new": [False] * 400 + [True] * 100},
        {"price": NORMAL[500:1000] - 1, "genre": ["a"] * 40 + ["c"] * 60, "new": [False] * 500},
    )
    assert [(each.feature, each.moved, each.direction) for each in report.features] == [
        ("price", "mean", "down"),
        ("genre", "c", "up"),
        ("new", "True", "down"),
    ]
    assert of(report, "new").change == pytest.approx(-0.2)
    assert report.share == 1


def test_rare_flags_are_tested_exactly() -> None:
    """Where few are to be expected the normal tail is wrong, by a factor of forty here: Fisher's test is taken."""
    reference, current = np.arange(10_000) < 100, np.arange(100) < 5
    found = of(detect_drift({"flag": reference}, {"flag": current}), "flag")
    assert found.test == "fisher_exact"
    assert found.p_value == pytest.approx(scipy.stats.fisher_exact([[9900, 100], [95, 5]]).pvalue)


def test_p_values_are_adjusted_over_the_pass() -> None:
    """One p of 0.01 to 0.05 alone drifts; among many quiet features it does not."""
    rng = np.random.default_rng(4)
    reference, current = np.arange(400) < 200, np.arange(400) < 170
    assert of(detect_drift({"new": reference}, {"new": current}), "new").drifted
    quiet = [{f"quiet {at}": rng.normal(size=400) for at in range(19)} for _ in range(2)]
    found = of(detect_drift({"new": reference, **quiet[0]}, {"new": current, **quiet[1]}), "new")
    assert found.p_value < 0.05 < found.p_adjusted
    assert not found.drifted


def test_own_thresholds_are_taken_in_windows_of_any_size() -> None:
    """A feature with a threshold is judged by its distance, small window or not."""
    windows = {"price": NORMAL[:300]}, {"price": NORMAL[300:600] + 0.5}
    strict, lax = (detect_drift(*windows, thresholds={"price": limit}).features[0] for limit in (0.2, 5.0))
    assert (strict.test, strict.threshold, strict.drifted) == ("wasserstein", 0.2, True)
    assert not lax.drifted


def test_rules_can_be_others() -> None:
    """Significance, sizes and the data set's share are parameters."""
    windows = {"a": NORMAL[:300], "b": NORMAL[:300]}, {"a": NORMAL[300:600] + 1, "b": NORMAL[600:900]}
    assert detect_drift(*windows).drifted
    assert not detect_drift(*windows, rules=DriftRules(dataset_share=0.6)).drifted
    assert detect_drift(*windows, rules=DriftRules(large=300)).features[0].test == "wasserstein"
    assert not detect_drift(*windows, rules=DriftRules(significance=1e-300)).features[0].drifted


def test_a_feature_without_values_is_not_tested() -> None:
    """Nothing to compare is said, and no drift of the values; that they are gone is."""
    report = detect_drift({"price": NORMAL[:100]}, {"price": [None] * 100})
    assert report.untested == ("price",)
    assert [(each.feature, each.drifted) for each in report.features] == [("price:missing", True)]


def test_nothing_to_test_is_no_drift() -> None:
    """Without features there is no share."""
    report = detect_drift({}, {})
    assert np.isnan(report.share)
    assert not report.drifted


@given(st.lists(st.sampled_from(["a", "b", "c", None, 1.5]), min_size=1, max_size=40))
def test_equal_windows_have_not_drifted(values: list[str | float | None]) -> None:
    """Whatever a window holds, it has not drifted from itself: distance 0, p = 1."""
    for each in detect_drift({"any": values}, {"any": values}).features:
        assert each.p_value == pytest.approx(1)
        assert not each.drifted
        assert each.change == 0
        assert each.direction == "none"


def test_windows_with_different_features_are_refused() -> None:
    """The message names the features that only one window has."""
    with pytest.raises(ValueError, match=r"only one has \['b', 'c'\]"):
        detect_drift({"a": [1], "b": [1]}, {"a": [1], "c": [1]})


def test_the_refusal_of_a_value_names_its_feature() -> None:
    """An infinite price is a fault of the price."""
    with pytest.raises(ValueError, match=r"feature price: .* finite"):
        detect_drift({"price": [1.0]}, {"price": [np.inf]})
