"""What a policy that only looked on would have earned, since its probabilities are on record as the live ones are.

For decision t let p_t be the live policy's probabilities and q_t the other's. The weight q_t(a_t)/p_t(a_t) is exact,
though both policies learn: both were fixed before the decision. See `bandits.off_policy` for the estimators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from bandits.estimates import Estimate, Sample
from bandits.evaluation import FOLDS, Evaluation, Refusal, evaluate
from bandits.interval_methods import NORMAL, IntervalMethod
from bandits.log import FoldStatistics, Log, arm_means
from bandits.logged_rows import Rows, summarise
from bandits.overlap import Overlap, doubts
from bandits.statistics import FloatArray

__all__ = ["ESTIMATORS", "SideBySide", "evaluate_shadow"]

ESTIMATORS: Final = ("ips", "snips", "dr")

# Share of the shadow's decisions that may have been impossible without a word: a rounding, not a lack of support.
_NEGLIGIBLE: Final = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class SideBySide:
    """Two policies' probabilities in m allocations, and which of these each of n decisions was made from.

    Attributes:
        live: of the policy that decided, shape (m, n_arms), rows sum to 1.
        shadow: of the one beside it, the same.
        allocation: row of both for each decision, shape (n,).
    """

    live: FloatArray
    shadow: FloatArray
    allocation: npt.NDArray[np.intp]

    @property
    def expected_match(self) -> float:
        """Σ_i p_i q_i averaged over decisions: how often two independent choices are the same arm."""
        return float((self.live * self.shadow).sum(axis=1)[self.allocation].mean())

    def part(self, kept: npt.NDArray[np.bool_]) -> SideBySide:
        """The same for some of the decisions, `kept` of shape (n,)."""
        return replace(self, allocation=self.allocation[kept])

    def mean_of(self, table: FloatArray) -> FloatArray:
        """The mean over decisions of one row per allocation: from shape (m, n_arms) to (n_arms,)."""
        times = np.bincount(self.allocation, minlength=len(table))
        mean: FloatArray = times @ table / self.allocation.size
        return mean

    def impossible(self) -> FloatArray:
        """The shadow's probability of each arm where the live policy could not choose it, averaged, shape (n_arms,)."""
        return self.mean_of(np.where(self.live > 0, 0.0, self.shadow))


def evaluate_shadow(log: Log, policies: SideBySide, *, interval: IntervalMethod = NORMAL) -> Evaluation:
    """What the shadow policy would have earned in the logged decisions, beside what the live one did.

    Of `dr` the reward model is each arm's mean, cross-fitted: see `bandits.arm_model.ModelledLog`.

    Args:
        log: the decisions, of the live policy.
        policies: of the same decisions and arms.
        interval: how intervals are made.

    Raises:
        ValueError: a value is out of its range.
    """
    rows = _rows(log, policies)
    overlap = Overlap.of(rows, log.action, policies.mean_of(policies.shadow), log.arms)
    estimates = evaluate(rows, overlap, estimators=ESTIMATORS, interval=interval)
    impossible = _impossible(log.arms, policies.impossible(), overlap)
    if impossible:
        estimates = {name: _refused(estimate, impossible) for name, estimate in estimates.items()}
    refused = any(isinstance(estimate, Refusal) for estimate in estimates.values())
    return Evaluation(
        target="shadow",
        overlap=overlap,
        logged=summarise(Sample((log.reward,)), interval),
        estimates=estimates,
        warnings=() if refused else doubts(overlap),
    )


def _rows(log: Log, policies: SideBySide) -> Rows:
    q = np.stack([arm_means(fold) for fold in FoldStatistics.of(log, FOLDS).outside])
    fold, allocation = log.folds(FOLDS), policies.allocation
    rows = Rows.of(log.reward, log.propensity, policies.shadow[allocation, log.action])
    # A table of one row an allocation: of every decision it would be n times n_arms numbers.
    base = (policies.shadow @ q.T)[allocation, fold]
    return replace(rows, base=base, predicted=q[fold, log.action])


def _impossible(arms: Sequence[str], share: FloatArray, overlap: Overlap) -> tuple[str, ...]:
    """What `overlap` cannot see: arms that were logged, but not always within the live policy's reach."""
    found = {arms[i]: float(share[i]) for i in np.flatnonzero(share).tolist() if arms[i] not in overlap.unsupported}
    total = sum(found.values())
    if total <= _NEGLIGIBLE:
        return ()
    reason = (
        f"missing support: the shadow gives {total:.3g} of its decisions to arms while the live policy could not "
        f"choose them ({', '.join(found)})"
    )
    return (reason,)


def _refused(estimate: Estimate | Refusal, reasons: tuple[str, ...]) -> Refusal:
    return Refusal((*reasons, *(estimate.reasons if isinstance(estimate, Refusal) else ())))
