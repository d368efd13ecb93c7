"""What the policy believes and would do next."""

import numpy as np
import pytest

from app.reports.outlook import densities, next_allocation, read_belief
from app.store.database import Database
from tests.app.building import now, put


def test_a_prior_without_outcomes_is_drawn_as_it_is(shared_database: Database, key: str) -> None:
    """Beta(1, 1) is flat, and a curve covers nearly all of its mass."""
    put(shared_database, key)
    _, evidence = read_belief(shared_database, key, now())
    means, curves = densities(evidence, ["a", "nobody"])
    assert list(curves) == ["a"]
    assert curves["a"] == pytest.approx([1.0] * len(means), rel=1e-2)
    assert np.trapezoid(curves["a"], means) == pytest.approx(1, abs=1e-2)


def test_without_news_the_next_allocation_is_the_present_one(shared_database: Database, key: str) -> None:
    """Arm by arm."""
    put(shared_database, key)
    experiment, evidence = read_belief(shared_database, key, now())
    coming = next_allocation(shared_database, experiment, evidence)
    assert [(one.arm, one.now, one.next) for one in coming] == [("a", 0.5, 0.5), ("b", 0.5, 0.5)]
