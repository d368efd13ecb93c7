from __future__ import annotations

import numpy as np
import scipy.special

from bandits.stirling import stirling_remainder


def test_remainder_agrees_with_log_gamma() -> None:
    """Stirling's formula with its remainder is log Γ, to the last digits."""
    x = 10 ** np.linspace(-1, 3, 200)
    log_gamma = (x - 0.5) * np.log(x) - x + np.log(2 * np.pi) / 2 + stirling_remainder(x)
    np.testing.assert_allclose(log_gamma, scipy.special.gammaln(x), rtol=1e-13, atol=1e-13)


def test_remainder_vanishes_like_its_first_term() -> None:
    """For large x the remainder is 1/(12 x), with no noise of the size of log Γ."""
    x = np.geomspace(1e6, 1e12, 7)
    np.testing.assert_allclose(stirling_remainder(x), 1 / (12 * x), rtol=0, atol=3e-15)
