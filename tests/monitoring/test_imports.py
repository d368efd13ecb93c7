"""What the metrics of quality load: a web worker may import them, but not drift."""

import pytest

from tests.app.api.test_imports import loaded_by


@pytest.mark.parametrize("module", ["ranking", "beyond_accuracy", "popularity", "page_hinkley", "columns", "units"])
def test_metrics_load_numpy_only(module: str) -> None:
    """Each can be imported by itself and brings nothing but numpy with it."""
    assert loaded_by(f"import monitoring.{module}") <= {"monitoring", "numpy"}
