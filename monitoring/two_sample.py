"""Tests and distances between two samples, pure functions of arrays. Loads scipy: not for web workers."""

from __future__ import annotations

import math
import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.special
import scipy.stats

from monitoring.lists import FloatArray, IntArray

__all__ = [
    "chi_squared",
    "fisher_exact",
    "jensen_shannon_distance",
    "kolmogorov_smirnov",
    "population_stability_index",
    "sturges_shares",
    "two_proportion_z",
    "wasserstein_normed",
]

_PSI_FLOOR: Final = 1e-4
_EXACT: Final = 2.0**53  # floats are exact whole numbers up to there


def kolmogorov_smirnov(reference: FloatArray, current: FloatArray) -> float:
    """The two-sided two-sample Kolmogorov–Smirnov test's p: exact up to 10,000 rows a window, asymptotic beyond.

    With tied values it is conservative.
    """
    with warnings.catch_warnings():
        # When rounding takes the exact p above 1, scipy says so and takes the asymptotic one, as it should.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(scipy.stats.ks_2samp(reference, current).pvalue)


def chi_squared(table: IntArray) -> float:
    """The p of Pearson's χ² test that both rows of a contingency table have the same shares; no correction.

    Args:
        table: counts of shape (2, n_categories), no column or row without any; one category gives 1.
    """
    rows, columns = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    expected = rows * columns / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return float(scipy.special.chdtrc(table.shape[1] - 1, statistic)) if table.shape[1] > 1 else 1.0


def two_proportion_z(table: IntArray) -> float:
    """Two-sided p of the z test with pooled variance that two windows have the same share; table of shape (2, 2)."""
    rows = table.sum(axis=1)
    share, pooled = table[:, 0] / rows, table[:, 0].sum() / rows.sum()
    error = math.sqrt(pooled * (1 - pooled) * (1 / rows).sum())
    return math.erfc(abs(share[0] - share[1]) / error / math.sqrt(2)) if error else 1.0


def fisher_exact(table: IntArray) -> float:
    """Two-sided p of Fisher's exact test that two windows have the same share; table of shape (2, 2)."""
    return float(scipy.stats.fisher_exact(table).pvalue)


def wasserstein_normed(reference: FloatArray, current: FloatArray) -> float:
    """Wasserstein-1 distance ÷ standard deviation of the reference (÷ n), 0 or more, in standard deviations.

    Infinite when the reference is constant and the current window differs.
    """
    both = np.sort(np.concatenate([reference, current]))
    below = [np.searchsorted(np.sort(sample), both[:-1], side="right") / sample.size for sample in (reference, current)]
    distance, deviation = float((np.abs(below[0] - below[1]) * np.diff(both)).sum()), float(reference.std())
    if deviation == 0:
        return math.inf if distance else 0.0
    return distance / deviation


def jensen_shannon_distance(shares: FloatArray) -> float:
    """Square root of the Jensen–Shannon divergence in nats, 0 to √(ln 2) = 0.833: Endres and Schindelin (2003).

    Args:
        shares: of shape (2, n_categories); each row sums to 1.
    """
    middle = shares.mean(axis=0)
    divergence = float(scipy.special.rel_entr(shares, middle).sum()) / 2
    return math.sqrt(max(0.0, divergence))


def population_stability_index(shares: FloatArray) -> float:
    """Σ (q − p) ln(q / p) over bins or categories, shares of 0 taken as 1e-4; 0 or more.

    Args:
        shares: of shape (2, n_bins): reference p, current q.
    """
    p, q = np.maximum(shares, _PSI_FLOOR)
    return float(((q - p) * np.log(q / p)).sum())


def sturges_shares(reference: FloatArray, current: FloatArray) -> FloatArray:
    """Shares of both samples within Sturges' bins of both together, ndarray of shape (2, n_bins).

    Bins of whole numbers are at least 1 wide, so that none lies between two of them.
    """
    both = np.concatenate([reference, current])
    whole = bool((both == np.rint(both)).all()) and np.abs(both).max() < _EXACT
    edges = np.histogram_bin_edges(both.astype(np.int64) if whole else both, bins="sturges")
    return np.stack([_shares(sample, edges) for sample in (reference, current)])


def _shares(sample: FloatArray, edges: npt.NDArray[Any]) -> FloatArray:
    shares: FloatArray = np.histogram(sample, edges)[0] / sample.size
    return shares
