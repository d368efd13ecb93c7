"""Spearman's rank correlation with bootstrap intervals, over all pairs or within strata of them. numpy only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from monitoring.lists import FloatArray, IntArray

__all__ = ["RESAMPLES", "Correlation", "Pairs", "rank_correlation", "spearman"]

RESAMPLES: Final = 1_000

_AT_ONCE: Final = 1_000_000  # weights held in memory at a time
_MOST_UNDEFINED: Final = 0.05  # share of resamples in which a column may be constant


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs of numbers.

    Attributes:
        x: shape (n,), finite.
        y: shape (n,), finite.
        strata: pairs of one stratum are ranked among themselves; shape (n,). All 0: there is one stratum.
        blocks: pairs of one block are drawn together, shape (n,), numbered from 0 without gaps; None: each by itself.
    """

    x: FloatArray
    y: FloatArray
    strata: IntArray
    blocks: IntArray | None = None

    @property
    def n(self) -> int:
        """How many pairs there are."""
        return self.x.size

    @property
    def n_blocks(self) -> int:
        """How many there are to be drawn."""
        return self.n if self.blocks is None else int(self.blocks.max(initial=-1)) + 1


@dataclass(frozen=True)
class Correlation:
    """A rank correlation; a figure that cannot be given honestly is None, and `reasons` has why under its name.

    Attributes:
        rho: within [−1, 1].
        interval: for rho, lower and upper end.
        reasons: of `rho` and `interval`.
    """

    rho: float | None = None
    interval: tuple[float, float] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def spearman(pairs: Pairs) -> float | None:
    """Spearman's ρ: Pearson's correlation of the ranks, ties by average rank; None where a column is constant.

    With several strata a rank counts within its stratum only: it is centred there and divided by the stratum's size, so
    that each stratum weighs as much as it has pairs. What differs between strata then has no part in ρ.
    """
    if not pairs.n:
        return None
    value = float(_Ranked.of(pairs).correlations(np.ones((1, pairs.n)))[0])
    return None if np.isnan(value) else value


def rank_correlation(
    pairs: Pairs, rng: np.random.Generator, *, level: float = 0.95, resamples: int = RESAMPLES
) -> Correlation:
    """Spearman's ρ with the percentile interval of Efron (1979), "Bootstrap methods: another look at the jackknife".

    Pairs, or whole blocks of them, are drawn with replacement, as many as there are, and ranked anew in each resample.

    Args:
        pairs: what to correlate.
        rng: of the resamples.
        level: how often such an interval should contain the truth.
        resamples: how many are drawn.
    """
    rho = spearman(pairs)
    if rho is None:
        why = "one of the two has the same value in every pair that can be compared"
        return Correlation(reasons={"rho": why, "interval": why})
    drawn = np.concatenate([ranked.correlations(weights) for ranked, weights in _resampled(pairs, rng, resamples)])
    defined = drawn[~np.isnan(drawn)]
    if defined.size < (1 - _MOST_UNDEFINED) * resamples:
        return Correlation(rho, reasons={"interval": "too few values differ: in many resamples all are the same"})
    lower, upper = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Correlation(rho, (float(lower), float(upper)))


def _resampled(pairs: Pairs, rng: np.random.Generator, resamples: int) -> Iterator[tuple[_Ranked, FloatArray]]:
    """How often each pair is in each resample, some resamples at a time."""
    if pairs.blocks is None:
        distinct, counts = _distinct(pairs)
        of_drawn, chances, n_drawn = np.arange(distinct.n), counts / pairs.n, pairs.n
    else:
        distinct, of_drawn, n_drawn = pairs, pairs.blocks, pairs.n_blocks
        chances = np.full(n_drawn, 1 / n_drawn)
    ranked, size = _Ranked.of(distinct), max(1, _AT_ONCE // distinct.n)
    for start in range(0, resamples, size):
        drawn = rng.multinomial(n_drawn, chances, size=min(size, resamples - start))
        yield ranked, drawn.astype(np.float64)[:, of_drawn]


def _distinct(pairs: Pairs) -> tuple[Pairs, IntArray]:
    """Each pair once, and how often it is there: rewards are mostly 0, so there are far fewer."""
    rows = np.stack([pairs.strata.astype(np.float64), pairs.x, pairs.y])
    order = np.lexsort(rows)
    rows = rows[:, order]
    first = np.flatnonzero(_changes(*rows))
    strata, x, y = rows[:, first]
    return Pairs(x, y, strata.astype(np.int64)), np.diff(np.append(first, pairs.n))


@dataclass(frozen=True, eq=False)
class _Column:
    """The values of one column in order, equal ones of one stratum as a group.

    Attributes:
        order: of the pairs, by stratum and value, shape (n,).
        starts: of the groups in that order, shape (n_groups,).
        group: of each pair, shape (n,).
        firsts: first group of each stratum, shape (n_strata,).
        stratum: of each group, shape (n_groups,).
    """

    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    group: npt.NDArray[np.intp]
    firsts: npt.NDArray[np.intp]
    stratum: npt.NDArray[np.intp]

    @classmethod
    def of(cls, values: FloatArray, strata: IntArray) -> _Column:
        order = np.lexsort((values, strata))
        new_stratum, new_group = _changes(strata[order]), _changes(strata[order], values[order])
        of_sorted, starts = np.cumsum(new_group) - 1, np.flatnonzero(new_group)
        group = np.empty_like(order)
        group[order] = of_sorted
        return cls(order, starts, group, of_sorted[new_stratum], (np.cumsum(new_stratum) - 1)[starts])

    def grades(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Centred average rank within the stratum ÷ its size, when each pair is there so often; and Σ of its squares.

        Args:
            weights: shape (n_resamples, n).

        Returns:
            Shapes (n_resamples, n_groups), within (−½, ½), and (n_resamples,).
        """
        held = np.add.reduceat(weights[:, self.order], self.starts, axis=1)
        sizes = np.add.reduceat(held, self.firsts, axis=1)
        below = np.cumsum(held, axis=1) - held - (np.cumsum(sizes, axis=1) - sizes)[:, self.stratum]
        grades = (below + held / 2) / np.maximum(sizes, 1)[:, self.stratum] - 0.5
        return grades, (held * grades**2).sum(axis=1)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Both columns, ready to be ranked."""

    x: _Column
    y: _Column

    @classmethod
    def of(cls, pairs: Pairs) -> _Ranked:
        return cls(_Column.of(pairs.x, pairs.strata), _Column.of(pairs.y, pairs.strata))

    def correlations(self, weights: FloatArray) -> FloatArray:
        """ρ when each pair is there so often, shape (n_resamples,); nan where a column is constant."""
        (x, x_squares), (y, y_squares) = self.x.grades(weights), self.y.grades(weights)
        products = np.einsum("bn,bn,bn->b", weights, x[:, self.x.group], y[:, self.y.group])
        scale = np.sqrt(x_squares * y_squares)
        rho = np.full(scale.shape, np.nan)
        # Ranks of a constant column are centred to 0, or to what rounding leaves of it.
        np.divide(products, scale, out=rho, where=np.minimum(x_squares, y_squares) > 1e-9)
        within: FloatArray = np.clip(rho, -1, 1)
        return within


def _changes(*sorted_columns: npt.NDArray[np.float64] | IntArray) -> npt.NDArray[np.bool_]:
    """Where any of the columns differs from the row before; the first row does."""
    changed = np.ones(sorted_columns[0].size, dtype=bool)
    changed[1:] = np.any([column[1:] != column[:-1] for column in sorted_columns], axis=0)
    return changed
