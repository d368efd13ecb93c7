import pytest
import scipy.stats

from benchmarks import drift

PASSES = 200


@pytest.mark.parametrize(("reference", "current"), [(100, 100), (2_000, 100), (300, 300), (1_000, 1_000)])
def test_quiet_passes_are_quiet(reference: int, current: int) -> None:
    """At most 5 % of passes over 20 unchanged features are false alarms; a true 5 % fails here once in a million."""
    found = drift.false_alarms(reference, current, PASSES)
    assert found["rate"] * PASSES <= scipy.stats.binom.isf(1e-6, PASSES, 0.05)
    assert found["dataset"] == 0
    assert found["features_alone"] > 0.2  # what the adjustment is for


def test_shifts_are_found() -> None:
    """Each of five moderate shifts among 20 features is found in most of 20 passes of 1,000 rows."""
    assert min(drift.power(1_000, 1_000, 20).values()) >= 0.8


def test_a_missed_bar_is_said() -> None:
    """Too many false alarms and too little power each fail the run; small windows need no power."""
    poor = {"rate": 0.08, "error": 0.007, "n": 1_000, "power": {"normal": 0.5}}
    assert len(drift._failures({"1,000 × 1,000": poor})) == 2
    assert drift._failures({"100 × 100": poor | {"rate": 0.06, "n": 100}}) == []
