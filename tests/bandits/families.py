"""Posteriors that tests of all families share: ordinary ones, and those that are hard to integrate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.stats

from bandits.beta import BetaPosterior
from bandits.gamma import GammaPosterior
from bandits.posteriors import Posterior
from bandits.scaled_beta import ScaledBetaPosterior
from bandits.student import StudentPosterior

Rows = Sequence[tuple[float, ...]]


def student(rows: Rows) -> StudentPosterior:
    """Student-t arms from rows of (location, scale, degrees of freedom)."""
    location, scale, degrees = np.array(rows, dtype=np.float64).T
    return StudentPosterior(location, np.ones_like(location), degrees / 2, scale**2 * degrees / 2)


def gamma(rows: Rows) -> GammaPosterior:
    """Gamma arms from rows of (shape, rate)."""
    return GammaPosterior(*np.array(rows, dtype=np.float64).T)


def scaled_beta(rows: Rows) -> ScaledBetaPosterior:
    """Beta arms on [-2, 3] from rows of (alpha, beta)."""
    alpha, beta = np.array(rows, dtype=np.float64).T
    return ScaledBetaPosterior(alpha, beta, -2.0, 3.0)


def marginals(posterior: Posterior) -> list[scipy.stats.rv_continuous]:
    """Scipy's distribution of each arm's mean."""
    p = posterior.parameters
    if isinstance(posterior, StudentPosterior):
        scale = np.sqrt(p["rate"] / p["shape"] / p["strength"])
        return [scipy.stats.t(2 * a, m, s) for a, m, s in zip(p["shape"], p["mean"], scale, strict=True)]
    if isinstance(posterior, GammaPosterior):
        return [scipy.stats.gamma(a, scale=1 / b) for a, b in zip(p["shape"], p["rate"], strict=True)]
    low, width = (
        (posterior.low, posterior.high - posterior.low) if isinstance(posterior, ScaledBetaPosterior) else (0, 1)
    )
    assert isinstance(posterior, BetaPosterior)
    return [scipy.stats.beta(a, b, low, width) for a, b in zip(p["alpha"], p["beta"], strict=True)]


HARD: dict[str, Posterior] = {
    "t, hardly more than 2 degrees": student([(0, 1, 2.0001), (1, 1, 2.0001), (0.5, 2, 2.001)]),
    "t, tight beside flat": student([(0, 1, 2.01), (1, 1e-6, 1e9), (0.5, 1, 5)]),
    "t, tight and heavy beside flat": student([(0, 1, 2.01), (1, 1e-5, 2.5), (0.5, 1, 5)]),
    "t, much data": student([(1e6, 1e-3, 1e9), (1e6, 1e-3, 1e7), (1e6 + 1e-3, 2e-3, 1e9)]),
    "t, several tight ones": student([(0, 1, 3), (1, 1e-4, 1e6), (0.9, 1e-4, 2.1), (0.2, 1e-3, 2.1)]),
    "t, far apart": student([(-50, 3, 4), (0, 1, 3), (20, 9, 6)]),
    "Gamma, small shapes": gamma([(0.1, 1), (0.1, 2), (0.3, 1)]),
    "Gamma, tight beside flat": gamma([(1e9, 1e9), (0.1, 0.1), (1, 2)]),
    "Gamma, counts up to 1e9": gamma([(1e9, 1e6), (1e9 + 3e4, 1e6), (1.0001e9, 1.0001e6)]),
    "Gamma, different scales": gamma([(0.1, 1e-6), (3, 1e6), (100, 1e3)]),
    "Beta on [-2, 3]": scaled_beta([(0.5, 0.6), (30, 20), (3e4, 2e4)]),
}

ORDINARY: dict[str, Posterior] = {
    "t": student([(0, 1, 3), (1, 2, 4.5)]),
    "t, one flat": student([(0, 1, 2.2), (0.3, 0.05, 40)]),
    "Gamma": gamma([(3, 2), (10, 9)]),
    "Gamma, one flat": gamma([(0.1, 0.1), (200, 150)]),
    "Beta on [-2, 3]": scaled_beta([(2, 3), (40, 50)]),
}


def many(kind: str, seed: int, n_arms: int = 1000) -> Posterior:
    """Arms of very different certainty about the same mean, which no arm dominates."""
    rng = np.random.default_rng(seed)
    n = 10 ** rng.uniform(0, 7, n_arms)
    noise = rng.normal(size=n_arms) / np.sqrt(n)
    if kind == "student":
        return student(list(zip(noise, 1 / np.sqrt(n), 2.01 + n, strict=True)))
    return gamma(list(zip(0.1 + n * np.clip(1 + noise, 0, None), n, strict=True)))
