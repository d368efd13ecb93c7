"""What the metrics of quality load: a web worker may import them, but not drift."""

import pytest

from tests.app.api.test_imports import loaded_by

MODULES = (
    "beyond_accuracy",
    "columns",
    "hierarchy",
    "page_hinkley",
    "popularity",
    "rank_correlation",
    "ranking",
    "units",
)


@pytest.mark.parametrize("module", MODULES)
def test_metrics_load_numpy_only(module: str) -> None:
    """Each can be imported by itself and brings nothing but numpy with it."""
    assert loaded_by(f"import monitoring.{module}") <= {"monitoring", "numpy"}
