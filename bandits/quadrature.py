"""Gauss–Legendre quadrature with 24 nodes, and the matrix that integrates from each node onwards.

One panel integrates a polynomial of degree 47 exactly; in practice a normal density over a panel of three of
its standard deviations to the last bit. Source: Golub and Welsch, "Calculation of Gauss quadrature rules"
(1969).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.polynomial import legendre

from bandits.statistics import FloatArray, frozen

ORDER: Final = 24


def _tail_matrix(nodes: FloatArray, weights: FloatArray) -> FloatArray:
    """Entry (k, m) is the integral from node m to 1 of the k-th Lagrange polynomial on the nodes.

    That polynomial is Σ_n (2n+1)/2 · w_k P_n(x_k) P_n(t), because Gauss quadrature keeps P_0 … P_23
    orthogonal, and the integral of P_n from x to 1 is (P_{n−1}(x) − P_{n+1}(x)) / (2n+1), or 1 − x for n = 0.
    """
    values = legendre.legvander(nodes, ORDER)
    integrals = np.empty((ORDER, ORDER))
    integrals[:, 0] = 1 - nodes
    integrals[:, 1:] = values[:, : ORDER - 1] - values[:, 2:]
    integrals[:, 0] /= 2
    integrals[:, 1:] /= 2
    return (weights[:, None] * values[:, :ORDER]) @ integrals.T


_nodes, _weights = legendre.leggauss(ORDER)
NODES: Final[FloatArray] = frozen(_nodes)  # on [−1, 1], ascending
WEIGHTS: Final[FloatArray] = frozen(_weights)  # they sum to 2
TAILS: Final[FloatArray] = frozen(_tail_matrix(NODES, WEIGHTS))  # f @ TAILS: from each node to 1
