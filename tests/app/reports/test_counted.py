"""Histograms of what processes have counted."""

from app.reports.counted import by_label, distribution
from monitoring.instruments import COMMIT_DURATION

COUNTED = {
    ("decision", "committed"): 0.5,
    ("decision", "committed", "0.001"): 90.0,
    ("decision", "committed", "0.05"): 10.0,
    ("decision", "failed"): 3.0,
    ("decision", "failed", "+Inf"): 1.0,
    ("feedback", "committed"): 0.2,
    ("feedback", "committed", "0.01"): 200.0,
}


def test_a_histogram_adds_up_label_sets() -> None:
    """Counts by bucket, their number, mean and quantiles, of the label sets that are kept."""
    found = distribution(COMMIT_DURATION, COUNTED, lambda labels: labels[0] == "decision")
    assert (found.n, found.total, found.mean) == (101, 3.5, 3.5 / 101)
    assert [found.quantile(q) for q in (0.5, 0.95, 1.0)] == [0.001, 0.05, float("inf")]


def test_of_nothing_there_is_no_mean() -> None:
    """Nor a quantile."""
    found = distribution(COMMIT_DURATION, {})
    assert (found.n, found.mean, found.quantile(0.5)) == (0, None, None)


def test_histograms_by_label_come_in_order_of_their_size() -> None:
    """The largest first, as many as are wanted; those without a word are left out."""
    found = by_label(COMMIT_DURATION, COUNTED, lambda labels: labels[0], most=10)
    assert [(name, one.n) for name, one in found] == [("feedback", 200), ("decision", 101)]
    assert [name for name, _ in by_label(COMMIT_DURATION, COUNTED, lambda labels: labels[0], most=1)] == ["feedback"]
    named = by_label(COMMIT_DURATION, COUNTED, lambda labels: labels[1] if labels[1] == "failed" else None, most=10)
    assert [name for name, _ in named] == ["failed"]
