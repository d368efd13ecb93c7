"""How much of a log speaks about a target, and whether that is enough for an estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from bandits.estimates import effective_sample_size
from bandits.interval_methods import NORMAL, ConfidenceSequence, IntervalMethod
from bandits.logged_rows import Rows
from bandits.statistics import FloatArray

__all__ = ["LEAST_EFFECTIVE_ROWS", "LEAST_REWARDED", "Overlap", "doubts", "judge"]

LEAST_EFFECTIVE_ROWS: Final = 100
LEAST_REWARDED: Final = 50

# Standard errors by which the mean weight may miss 1: chance does it once in 1.7 million logs.
_MEAN_WEIGHT_BAR: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of a log speaks about a target.

    Attributes:
        rows: n, number of rows.
        effective_sample_size: (Σw)²/Σw²: as many rows of the target's own log would be worth as much.
        max_weight: the largest weight.
        mean_weight: 1 on average, when propensities are right and the target plays only what could be logged.
        mean_weight_error: its standard error; 0 for a single row.
        zero_weight_share: share of rows with an arm that the target does not play.
        unsupported: the target's probability of each arm that was never logged, by key, where above 0.
        rewarded: number of rows with weight and a reward that is not 0.
    """

    rows: int
    effective_sample_size: float
    max_weight: float
    mean_weight: float
    mean_weight_error: float
    zero_weight_share: float
    unsupported: Mapping[str, float]
    rewarded: int

    @classmethod
    def of(cls, rows: Rows, action: npt.NDArray[np.intp], play: FloatArray, arms: Sequence[str]) -> Self:
        """From checked rows.

        Args:
            rows: logged decisions, weighted for the target.
            action: index of the logged arm, shape (n,).
            play: the target's probability of each arm, averaged over rows, shape (n_arms,).
            arms: keys of the arms, n_arms of them.
        """
        weight = rows.weight
        logged = np.bincount(action, minlength=play.size) > 0
        return cls(
            rows=weight.size,
            effective_sample_size=effective_sample_size(weight),
            max_weight=float(weight.max()),
            mean_weight=float(weight.mean()),
            mean_weight_error=float(weight.std() / np.sqrt(weight.size)),
            zero_weight_share=float(np.mean(weight == 0)),
            unsupported={arms[arm]: float(play[arm]) for arm in np.flatnonzero(~logged & (play > 0)).tolist()},
            rewarded=int(np.count_nonzero(weight * rows.reward)),
        )

    @property
    def unsupported_share(self) -> float:
        """The target's probability of arms that were never logged."""
        return sum(self.unsupported.values())


def judge(overlap: Overlap, interval: IntervalMethod = NORMAL) -> tuple[str, ...]:
    """Why no estimate can be given; empty when one can.

    The bar is on the weights as they are. Estimators that clip, drop or avoid weights are refused with the
    others: where weights fail, they rest on the reward model or on the clip, and nothing in the log checks those.

    Args:
        overlap: of the log and the target.
        interval: how intervals are to be made.
    """
    reasons = []
    if overlap.unsupported:
        names = ", ".join(overlap.unsupported)
        reasons.append(
            f"missing support: the target gives {overlap.unsupported_share:.3g} of its decisions to arms that were "
            f"never logged ({names})"
        )
    if overlap.effective_sample_size < LEAST_EFFECTIVE_ROWS:
        reasons.append(
            f"the {overlap.rows:,} rows are worth {overlap.effective_sample_size:,.3g}, and "
            f"{LEAST_EFFECTIVE_ROWS} are needed (effective sample size; largest weight {overlap.max_weight:,.5g})"
        )
    if isinstance(interval, ConfidenceSequence) and overlap.rewarded < LEAST_REWARDED:
        reasons.append(f"a confidence sequence needs {LEAST_REWARDED} rewarded rows, and there are {overlap.rewarded}")
    return tuple(reasons)


def doubts(overlap: Overlap) -> tuple[str, ...]:
    """What makes estimates doubtful, though they can be given; each a sentence."""
    found = []
    if overlap.rewarded < LEAST_REWARDED:
        found.append(f"only {overlap.rewarded} rewarded rows have weight: intervals are rough below {LEAST_REWARDED}")
    if abs(overlap.mean_weight - 1) > _MEAN_WEIGHT_BAR * overlap.mean_weight_error + 1e-9:
        found.append(
            f"weights average {overlap.mean_weight:.3f} and should average 1: propensities are not those of the "
            "logging policy, or the target plays arms where they could not be logged"
        )
    return tuple(found)
