"""The boundary of confidence sequences: its formula and its tuning."""

import math

import numpy as np
import pytest

from bandits.asymptotic import boundary

ALPHA = 0.05


def test_boundary_closed_form() -> None:
    """The paper's formula, worked out once elsewhere: n = 1,000, α = 0.05, narrowest at 5,000."""
    rho_squared = (5.991464547107982 + math.log(6.991464547107982)) / 5000
    grown = 1000 * rho_squared + 1
    expected = math.sqrt(2 * grown / (1000**2 * rho_squared) * math.log(math.sqrt(grown) / 0.05))
    assert boundary(np.array([1000.0]), alpha=ALPHA)[0] == pytest.approx(expected, rel=1e-13)


def test_boundary_is_narrowest_where_it_is_tuned() -> None:
    """Among tunings, that for 5,000 gives nearly the narrowest boundary at 5,000; widths fall with n."""
    n = np.geomspace(100, 1e8, 50)
    assert np.all(np.diff(boundary(n, alpha=ALPHA)) < 0)
    spread = np.geomspace(0.1, 1000, 2_000)  # nρ² at n = 5,000
    best = np.sqrt((spread + 1) / (5_000 * spread) * (np.log1p(spread) - 2 * math.log(ALPHA))).min()
    assert boundary(np.array([5_000.0]), alpha=ALPHA)[0] == pytest.approx(best, rel=1e-3)
    assert boundary(np.zeros(1), alpha=ALPHA)[0] == np.inf
