import numpy as np
import pytest

from monitoring.units import per_unit


def test_numbers_are_averaged_per_unit() -> None:
    """Missing values do not enter the mean, and a unit without any value is missing."""
    column = per_unit([1, None, 3, None, 5], ["b", "b", "b", "a", "c"])
    assert column.present.tolist() == [False, True, True]
    assert column.known.tolist() == [2, 5]


def test_the_latest_category_of_a_unit_counts() -> None:
    """Rows are in the order of time; a later row without a value does not hide an earlier one."""
    column = per_unit(["web", "app", None, None], ["u", "u", "u", "v"])
    assert column.values[column.present].tolist() == ["app"]
    assert column.present.tolist() == [True, False]


def test_one_unit_per_value_is_needed() -> None:
    """Values that belong to nobody are a fault."""
    with pytest.raises(ValueError, match="2 values need one unit each"):
        per_unit([1, 2], np.array(["u"]))
