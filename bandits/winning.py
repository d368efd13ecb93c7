"""The probability that an arm is the best, exactly: by quadrature, not by drawing.

P_i = ∫ f_i(z) Π_{j≠i} F_j(z) dz over the posteriors' common coordinate, on Gauss panels from the right end to
the left. The densities give their own distribution functions on the way (F = 1 − the mass to the right), and
where G = Π F_j, the distribution function of the maximum, has vanished, nothing to the left can matter: what
is left of *all* P_i together is at most G. See docs/adr/0002-exact-p-best.md for the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final

import numpy as np

from bandits.posteriors import Posterior
from bandits.quadrature import NODES, ORDER, TAILS, WEIGHTS
from bandits.statistics import FloatArray

# Quadrature loses its meaning, and so is refused, when the probabilities miss a sum of 1 by more.
_LARGEST_DEFECT: Final = 1e-6

# Integration ends where the maximum lies above with all but this probability.
_NEGLIGIBLE: Final = 1e-17

# Below it a distribution function is rounding noise; a floor keeps the division by it finite.
_SMALLEST: Final = 1e-30

# Share of a panel's width that may reach into a support without resolving it: less than 1e-12 of the mass.
_OUTER_EDGE: Final = 0.25

# Arms × nodes that are evaluated together: few calls for few arms, within the processor's cache for many.
_BLOCK: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Maximum:
    """The distribution of the best arm.

    Attributes:
        probability_best: P_i = P(θ_i = max_j θ_j), ndarray of shape (n_arms,), sum 1.
        expected_maximum: E[max_i θ_i], in units of the reward.
        defect: Σ P_i − 1 before the P_i were normalised: a measure of the numerical error.
    """

    probability_best: FloatArray
    expected_maximum: float
    defect: float


def probability_best(posterior: Posterior, *, resolution: float = 1.0) -> FloatArray:
    """The probability of each arm that its mean reward is the largest.

    Args:
        posterior: of n_arms arms, 1 or more.
        resolution: panels per unit of length relative to the default; 2 is for checking the default.

    Returns:
        ndarray of shape (n_arms,), each within [0, 1], sum 1; absolute error 1e-8 or less.

    Raises:
        ArithmeticError: when the quadrature misses a sum of 1 by more than 1e-6.
    """
    return maximum(posterior, resolution=resolution).probability_best


def expected_maximum(posterior: Posterior, *, resolution: float = 1.0) -> float:
    """E[max_i θ_i] = ∫ x dΠF_j(x), in units of the reward."""
    return maximum(posterior, resolution=resolution).expected_maximum


def expected_loss(posterior: Posterior, *, resolution: float = 1.0) -> FloatArray:
    """What is lost per outcome if arm i were served for ever: E[max_j θ_j] − E[θ_i], shape (n_arms,), ≥ 0.

    Source: Stucchio, "Bayesian A/B testing at VWO" (2015).
    """
    return np.maximum(expected_maximum(posterior, resolution=resolution) - posterior.mean, 0)


def maximum(posterior: Posterior, *, resolution: float = 1.0) -> Maximum:
    """All figures about the best arm in one pass; arguments and errors as `probability_best`."""
    arms = np.column_stack(list(posterior.parameters.values()))
    # Equal arms are computed once; and as `unique` sorts, the arms' order does not change a bit of it all.
    _, first, group, counts = np.unique(arms, axis=0, return_index=True, return_inverse=True, return_counts=True)
    distinct = posterior.select(first)
    lower, upper = distinct.support
    contenders = np.flatnonzero(upper > lower.max())  # the others lie below an arm altogether
    shares, expected = _integrate(distinct.select(contenders), counts[contenders], resolution)
    probabilities = np.zeros(first.size)
    probabilities[contenders] = shares
    defect = float(probabilities @ counts) - 1
    if not abs(defect) <= _LARGEST_DEFECT:
        raise ArithmeticError(f"the probabilities to be best sum to {1 + defect}: the quadrature failed")
    probabilities = probabilities[group] / (1 + defect)
    return Maximum(probability_best=probabilities, expected_maximum=expected, defect=defect)


def _integrate(
    posterior: Posterior, counts: np.ndarray[tuple[int], np.dtype[np.intp]], resolution: float
) -> tuple[FloatArray, float]:
    """P_i of each arm and E[max], where arm i stands for `counts[i]` equal arms."""
    edges = _edges(posterior, resolution)
    per_block = max(1, _BLOCK // (ORDER * posterior.n_arms))
    moments, survival = np.zeros((posterior.n_arms, 2)), np.zeros((posterior.n_arms, 1))
    origin = float(posterior.mean.max())
    block = np.fromiter(islice(edges, 1), np.float64)
    while (block := np.fromiter(chain(block[-1:], islice(edges, per_block)), np.float64)).size > 1:
        half = (block[:-1] - block[1:])[:, None] / 2
        z = block[1:, None] + half * (1 + NODES)
        density = np.exp(posterior.log_density(z.reshape(1, -1))).reshape(-1, *z.shape) * half
        # 1 − F at the panels' edges, from the right; at a node, the mass between it and the edge is added.
        at_edges = np.cumsum(np.hstack((survival, density @ WEIGHTS)), axis=1)
        distribution = np.maximum(1 - at_edges[:, :-1, None] - density @ TAILS, _SMALLEST)
        best = _product(distribution, counts)
        weight = (best * WEIGHTS).ravel()
        excess = posterior.value(z).ravel() - origin
        moments += (density / distribution).reshape(posterior.n_arms, -1) @ np.column_stack((weight, weight * excess))
        survival = at_edges[:, -1:]
        if _product(np.maximum(1 - survival, 0), counts)[0] < _NEGLIGIBLE:
            break
    mass, moment = counts @ moments
    return moments[:, 0], origin + float(moment / mass)


def _product(distribution: FloatArray, counts: np.ndarray[tuple[int], np.dtype[np.intp]]) -> FloatArray:
    """Distribution function of the maximum: Π F_i^{count_i} over the first axis."""
    if counts.max() > 1:
        distribution = distribution ** counts.reshape(-1, *(1,) * (distribution.ndim - 1))
    product: FloatArray = np.prod(distribution, axis=0)
    return product


def _edges(posterior: Posterior, resolution: float) -> Iterator[float]:
    """Ends of the panels from right to left.

    A panel is as wide as every arm on it allows. An arm whose support ends inside the panel allows more, if
    only the outer edge of its support is met, where it has next to no mass: so a flat arm gets wide panels
    until a tight arm begins. All supports contain the left end, hence the number of panels grows only with
    the logarithm of the ratio of the scales.
    """
    lower, upper = posterior.support
    right, end = float(upper.max()), float(lower.max())
    yield right
    while right > end:
        begin = np.minimum(upper, right)
        width = posterior.panel_width(begin)
        width = np.minimum(width, posterior.panel_width(begin - width)) / resolution
        right = max(float(np.minimum(right - width, upper - _OUTER_EDGE * width).max()), end)
        yield right
