from benchmarks import quality


def test_the_short_form_passes() -> None:
    """With 50,000 lists each metric is measured, no bar of memory or factor is missed, and time is no square.

    So few lists take milliseconds, so growth from a tenth of them has no sharper bar here.
    """
    result = quality.run(50_000)
    assert {"ndcg", "serendipity", "personalization"} < set(result["metrics"])
    assert [failure for failure in result["failures"] if "as long" not in failure] == []
    assert result["total_growth"] < 30


def test_memory_does_not_grow_with_the_lists() -> None:
    """Four times the lists need no more at once than the numbers that come out: some columns of 8 bytes a list."""
    few, many = (quality.peaks_mb(quality.data(n_lists)) for n_lists in (60_000, 240_000))
    for name, peak in many.items():
        assert peak - few[name] < 180_000 * 8 * 6 / 1e6, name


def test_a_missed_bar_is_said() -> None:
    """Slow growth, much memory and a small factor each fail the run, by name."""
    failures = quality._failures(
        {
            "total_growth": 13.0,
            "metrics": {"ndcg": {"mb": 900.0}},
            "evidently": {"ndcg": {"factor": 19.0}},
        }
    )
    assert [failure.partition(" ")[0] for failure in failures] == ["ten", "ndcg", "ndcg"]
