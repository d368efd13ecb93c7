"""Off-policy evaluation with judgement: an estimate, or the reason why the log cannot give one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np

from bandits.estimates import Estimate, Sample
from bandits.intervals import NORMAL, IntervalMethod
from bandits.log import Log, arm_means, statistics_outside
from bandits.logged_rows import Rows, summarise
from bandits.overlap import Overlap, doubts, judge
from bandits.statistics import FloatArray
from bandits.targets import Target
from bandits.weighting import CLIP, SHRINKAGE, THRESHOLD, clip_weights, drop_weights, shrink_weights

__all__ = [
    "ESTIMATORS",
    "FOLDS",
    "Evaluation",
    "Refusal",
    "evaluate",
    "evaluate_log",
]

FOLDS: Final = 5


class _Estimator(Protocol):
    def __call__(self, rows: Rows, interval: IntervalMethod) -> Estimate: ...


ESTIMATORS: Final[Mapping[str, _Estimator]] = MappingProxyType(
    {
        "ips": lambda rows, interval: rows.without_model().mean(interval),
        "clipped_ips": lambda rows, interval: rows.without_model().mean(interval, clip_weights(CLIP)),
        "snips": lambda rows, interval: rows.without_model().self_normalised(interval),
        "dm": lambda rows, interval: rows.direct(interval),
        "dr": lambda rows, interval: rows.mean(interval),
        "sndr": lambda rows, interval: rows.self_normalised(interval),
        "switch_dr": lambda rows, interval: rows.mean(interval, drop_weights(THRESHOLD)),
        "dros": lambda rows, interval: rows.mean(interval, shrink_weights(SHRINKAGE)),
    }
)


@dataclass(frozen=True)
class Refusal:
    """No estimate, and why: at least one reason, each a sentence."""

    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a log says about a target.

    Attributes:
        target: what the target is called.
        overlap: how much of the log speaks about it.
        logged: mean reward of the log itself: what the logging policy earned.
        estimates: by name of the estimator, an estimate of the target's mean reward or a refusal.
        warnings: what makes the estimates doubtful, though they are given.
    """

    target: str
    overlap: Overlap
    logged: Estimate
    estimates: Mapping[str, Estimate | Refusal]
    warnings: tuple[str, ...]


def evaluate(
    rows: Rows,
    overlap: Overlap,
    *,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    interval: IntervalMethod = NORMAL,
) -> dict[str, Estimate | Refusal]:
    """Each estimator's estimate, or the reasons why there is none.

    Args:
        rows: with the reward model's predictions, where an estimator needs them.
        overlap: of the same rows and the target.
        estimators: some of `ESTIMATORS`.
        interval: how intervals are made.

    Raises:
        ValueError: an estimator is unknown.
    """
    unknown = [name for name in estimators if name not in ESTIMATORS]
    if unknown:
        raise ValueError(f"estimator {unknown[0]!r} is unknown; there are {', '.join(ESTIMATORS)}")
    reasons = judge(overlap, interval)
    if reasons:
        return dict.fromkeys(estimators, Refusal(reasons))
    return {name: ESTIMATORS[name](rows, interval) for name in estimators}


def evaluate_log(
    log: Log,
    target: Target,
    *,
    estimators: Sequence[str] = tuple(ESTIMATORS),
    interval: IntervalMethod = NORMAL,
    n_folds: int = FOLDS,
) -> Evaluation:
    """What a log says about a target.

    The reward model is each arm's mean, drawn towards the mean of all. It is cross-fitted, as is a target that
    learns: the log is cut into folds, and for the rows of one both come from the other rows.

    Args:
        log: decisions with their propensities.
        target: whose mean reward is asked for.
        estimators: some of `ESTIMATORS`.
        interval: how intervals are made.
        n_folds: number of folds, 2 or more.

    Raises:
        ValueError: an estimator is unknown, or the target does not fit the log.
    """
    if n_folds < 2:
        raise ValueError(f"there must be 2 folds or more, got {n_folds}")
    outside = statistics_outside(log, n_folds)
    # Small tables of one row a fold: pi and q of every logged row would be n times n_arms numbers.
    pi = target.probabilities(log.arms, outside)
    q = np.stack([arm_means(statistics) for statistics in outside])
    fold, action = log.folds(n_folds), log.action
    rows = replace(
        Rows.of(log.reward, log.propensity, pi[fold, action]),
        base=(pi * q).sum(axis=1)[fold],
        predicted=q[fold, action],
    )
    overlap = Overlap.of(rows, action, np.bincount(fold, minlength=n_folds) @ pi / log.n, log.arms)
    estimates = evaluate(rows, overlap, estimators=estimators, interval=interval)
    if isinstance(estimates.get("dm"), Estimate):
        estimates["dm"] = _direct(rows, log, pi[fold, action], interval)
    return Evaluation(
        target=target.label,
        overlap=overlap,
        logged=summarise(Sample((log.reward,)), interval),
        estimates=estimates,
        warnings=doubts(overlap),
    )


def _direct(rows: Rows, log: Log, play: FloatArray, interval: IntervalMethod) -> Estimate:
    """The direct method, with the error of the arms' means in its interval.

    Contexts do not differ here, so all of its error is that of q̂. By the delta method a row adds
    π(a)/(n_a/n) · (r − q̂(a)) to it.
    """
    share = np.bincount(log.action, minlength=log.n_arms) / log.n
    error = play / share[log.action] * (rows.reward - rows.predicted)
    return summarise(Sample((rows.base + error - error.mean(),)), interval)
