"""Means and lifts that hold when rates change with time: inverse-propensity scores, summed by allocation.

ξ_i = m_i + 1{A=i} (r − m_i)/p_i is an unbiased score of what arm i would have earned at this decision, whatever
m_i is as long as it was fixed before. m_i is the posterior mean stored with the allocation in force: constant
over its decisions, as p_i is, so sums over them follow from the allocation's counts.

Reference:
    Robins, Rotnitzky and Zhao, "Estimation of regression coefficients when some regressors are not always
    observed" (1994); Waudby-Smith et al., see `bandits.asymptotic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from bandits.asymptotic import boundary
from bandits.intervals import Intervals
from bandits.statistics import ArmStatistics, FloatArray, frozen

# Rewarded outcomes that each compared arm needs. Measured, 95 % intervals from there on ever exclude the truth in up
# to 4.9 % of runs with floors of 0.01 or more and a season of ±50 %, with a floor of 0.001 in 5.1 %. From 50 on it
# would be 7.0 % and 9.2 %, without a burn-in up to 29 %.
BURN_IN: Final = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class AllocationCounts:
    """What was decided and earned under each of a series of allocations.

    Attributes:
        propensities: ndarray of shape (n_allocations, n_arms), the stored probabilities; 0 for drained arms.
        guesses: m, the arms' posterior means stored with each allocation, the same shape.
        n: outcomes that count of each arm, the same shape; a row's total is the allocation's decisions that count.
        sum: Σr, the same shape.
        sum_of_squares: Σr², the same shape.

    Raises:
        ValueError: when shapes differ, or an arm has outcomes under a propensity of 0.
    """

    propensities: FloatArray
    guesses: FloatArray
    n: FloatArray
    sum: FloatArray
    sum_of_squares: FloatArray

    def __post_init__(self) -> None:
        names = ("propensities", "guesses", "n", "sum", "sum_of_squares")
        for name in names:
            object.__setattr__(self, name, frozen(getattr(self, name)))
        shapes = {getattr(self, name).shape for name in names}
        if len(shapes) > 1 or self.n.ndim != 2:
            raise ValueError(f"counts need shapes (n_allocations, n_arms) each, got {sorted(shapes)}")
        bad = np.argwhere((self.propensities <= 0) & (self.n > 0))
        if bad.size:
            allocation, arm = bad[0]
            raise ValueError(f"arm {arm} has outcomes under allocation {allocation}, in which its propensity is 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreSums:
    """Count, sum and sum of squares of scores; they add up over allocations.

    Attributes:
        n: decisions at which the arm (for contrasts: and the control arm) was eligible, ndarray of shape
            (n_allocations, n_arms).
        sum: Σξ, the same shape.
        sum_of_squares: Σξ², the same shape.
    """

    n: FloatArray
    sum: FloatArray
    sum_of_squares: FloatArray

    def total(self) -> ArmStatistics:
        """The sums over all allocations, by arm."""
        return ArmStatistics(
            n=self.n.sum(axis=0), sum=self.sum.sum(axis=0), sum_of_squares=self.sum_of_squares.sum(axis=0)
        )


def scores(counts: AllocationCounts) -> ScoreSums:
    """Sums of the scores ξ_i of each allocation and arm."""
    n, eligible = _decisions(counts)
    corrections, squares = _corrections(counts)
    m = counts.guesses
    return ScoreSums(
        n=n * eligible,
        sum=eligible * (n * m + corrections),
        sum_of_squares=eligible * (n * m**2 + 2 * m * corrections + squares),
    )


def contrasts(counts: AllocationCounts, control: int) -> ScoreSums:
    """Sums of ξ_i − ξ_control of each allocation and arm; all 0 for the control.

    At most one of two scores is corrected at a decision, so their product needs no sum of its own.
    """
    n, eligible = _decisions(counts)
    both = eligible * eligible[:, control, None] * (np.arange(counts.n.shape[1]) != control)
    corrections, squares = _corrections(counts)
    shift = counts.guesses - counts.guesses[:, control, None]
    correction = corrections - corrections[:, control, None]
    return ScoreSums(
        n=n * both,
        sum=both * (n * shift + correction),
        sum_of_squares=both * (n * shift**2 + 2 * shift * correction + squares + squares[:, control, None]),
    )


def robust_means(score_sums: ArmStatistics, rewarded: FloatArray, *, alpha: float) -> Intervals:
    """Drift-robust intervals of each arm's mean reward, averaged over the decisions so far.

    The sequence holds for the running mean of rates that change with time, in any way, independently of which arm
    is chosen. It is asymptotic.

    Args:
        score_sums: N, Σξ and Σξ² of each arm, over all decisions that count.
        rewarded: number of each arm's outcomes with a reward other than the usual 0, shape (n_arms,).
        alpha: probability with which an arm's running mean may ever be excluded after the burn-in.

    Returns:
        Shape (n_arms,), in units of the reward, centred at Σξ/N; nan for arms with fewer than 100 rewarded outcomes.
    """
    n = np.maximum(score_sums.n, 1)
    mean = score_sums.sum / n
    deviation = np.sqrt(np.maximum(score_sums.sum_of_squares / n - mean**2, 0))
    half = deviation * boundary(n, alpha=alpha)
    known = (rewarded >= BURN_IN) & (score_sums.n > 0)
    return Intervals(lower=np.where(known, mean - half, np.nan), upper=np.where(known, mean + half, np.nan))


def robust_lifts(contrast_sums: ArmStatistics, rewarded: FloatArray, control: int, *, alpha: float) -> Intervals:
    """Drift-robust intervals of each arm's lift over the control arm; see `robust_means`.

    Args:
        contrast_sums: N, Σ(ξ_i − ξ_control) and Σ(ξ_i − ξ_control)² of each arm.
        rewarded: as `robust_means`; both compared arms need 100.
        control: index of the control arm.
        alpha: as `robust_means`.

    Returns:
        Shape (n_arms,); nan for the control arm, and for pairs of which one has fewer than 100 rewarded outcomes.
    """
    fewer = np.minimum(rewarded, rewarded[control])
    return robust_means(contrast_sums, fewer, alpha=alpha).without(control)


def _decisions(counts: AllocationCounts) -> tuple[FloatArray, FloatArray]:
    """Decisions of each allocation, shape (n_allocations, 1), and 1 where an arm was eligible, else 0."""
    return counts.n.sum(axis=1, keepdims=True), np.where(counts.propensities > 0, 1.0, 0.0)


def _corrections(counts: AllocationCounts) -> tuple[FloatArray, FloatArray]:
    """Σ 1{A=i}(r − m_i)/p_i and the sum of its squares."""
    p, m = np.where(counts.propensities > 0, counts.propensities, 1), counts.guesses
    squares = counts.sum_of_squares - 2 * m * counts.sum + m**2 * counts.n
    return (counts.sum - counts.n * m) / p, squares / p**2
