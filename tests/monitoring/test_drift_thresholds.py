import numpy as np
import pytest

from monitoring.drift import distance, features
from monitoring.drift_thresholds import calibrated_thresholds


def test_a_threshold_is_three_deviations_above_the_mean_of_the_chunks() -> None:
    """Each chunk is compared with the rest of the reference, never with itself."""
    rng = np.random.default_rng(2)
    price, word = rng.normal(size=1000), rng.integers(0, 8, 1000).astype(str)
    chunks = [slice(first, first + 200) for first in range(0, 1000, 200)]
    expected = {
        name: [distance(features({name: np.delete(all_, at)}, {name: all_[at]})[name]) for at in chunks]
        for name, all_ in {"price": price, "word": word}.items()
    }
    found = calibrated_thresholds({"price": price, "word": word}, chunk_rows=200)
    for name, distances in expected.items():
        assert found[name] == pytest.approx(np.mean(distances) + 3 * np.std(distances))


def test_a_restless_reference_has_a_higher_threshold() -> None:
    """A feature that moves from chunk to chunk anyway needs to move further."""
    rng = np.random.default_rng(3)
    still = rng.normal(size=2000)
    found = calibrated_thresholds(
        {"still": still, "restless": still + 2 * np.sin(np.arange(2000) / 50)}, chunk_rows=100
    )
    assert found["restless"] > 2 * found["still"]


def test_missing_values_have_a_threshold_too() -> None:
    """The name is the one that drift uses."""
    price = np.where(np.arange(500) % 7, 1.0, np.nan)
    assert set(calibrated_thresholds({"price": price}, chunk_rows=100)) == {"price", "price:missing"}


@pytest.mark.parametrize(("rows", "chunk_rows"), [(499, 100), (10, 0)])
def test_too_few_chunks_are_refused(rows: int, chunk_rows: int) -> None:
    """Four chunks say little about a standard deviation."""
    with pytest.raises(ValueError, match="fewer than 5 chunks"):
        calibrated_thresholds({"price": np.zeros(rows)}, chunk_rows=chunk_rows)


def test_columns_of_different_lengths_are_refused() -> None:
    """Rows belong together."""
    with pytest.raises(ValueError, match=r"columns of \[1, 2\] rows"):
        calibrated_thresholds({"a": [1], "b": [1, 2]}, chunk_rows=1)
