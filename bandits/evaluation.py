"""Off-policy evaluation with judgement: an estimate, or the reason why the log cannot give one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bandits.arm_model import ModelledLog
from bandits.estimates import Estimate, Sample
from bandits.interval_methods import NORMAL, IntervalMethod
from bandits.log import Log
from bandits.logged_rows import Rows, summarise
from bandits.overlap import Overlap, doubts, judge
from bandits.targets import Target
from bandits.weighting import CLIP, SHRINKAGE, THRESHOLD, Weighting, clip_weights, drop_weights, shrink_weights

__all__ = ["ESTIMATORS", "FOLDS", "Evaluation", "Refusal", "evaluate", "evaluate_log"]

FOLDS: Final = 5

# Total variation between folds. In a simulation of five arms, 95 % intervals held the truth in 94 % of the logs
# that stay below it, and in 83 to 92 % of the others.
_SETTLED: Final = 0.1

ESTIMATORS: Final[Mapping[str, Callable[[Rows, IntervalMethod], Estimate]]] = MappingProxyType(
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

# Those that rest on the reward model wherever they make weights smaller: its error must be in their intervals.
_LEANING: Final[Mapping[str, Weighting | None]] = MappingProxyType(
    {"dm": None, "switch_dr": drop_weights(THRESHOLD), "dros": shrink_weights(SHRINKAGE)}
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
    """Each estimator's estimate, or the reasons why there is none; for any context, target and reward model.

    Args:
        rows: with the reward model's predictions, where an estimator needs them.
        overlap: of the same rows and the target.
        estimators: some of `ESTIMATORS`.
        interval: how intervals are made.

    Raises:
        ValueError: an estimator is unknown.
    """
    _check(estimators)
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
    """What a log says about a target, with each arm's mean as the reward model; see `ModelledLog`.

    Args:
        log: decisions with their propensities.
        target: whose mean reward is asked for.
        estimators: some of `ESTIMATORS`.
        interval: how intervals are made.
        n_folds: number of folds, 2 or more.

    Raises:
        ValueError: an estimator is unknown, or the target does not fit the log.
    """
    _check(estimators)
    if n_folds < 2:
        raise ValueError(f"there must be 2 folds or more, got {n_folds}")
    modelled = ModelledLog.of(log, target, n_folds)
    overlap = Overlap.of(modelled.rows, log.action, modelled.mean_play, log.arms)
    reasons = judge(overlap, interval)
    return Evaluation(
        target=target.label,
        overlap=overlap,
        logged=summarise(Sample((log.reward,)), interval),
        estimates={name: Refusal(reasons) if reasons else _estimate(name, modelled, interval) for name in estimators},
        warnings=() if reasons else (*doubts(overlap), *_unsettled(modelled.unsettled)),
    )


def _estimate(name: str, modelled: ModelledLog, interval: IntervalMethod) -> Estimate:
    if name in _LEANING:
        return modelled.mean(_LEANING[name], interval)
    return ESTIMATORS[name](modelled.rows, interval)


def _unsettled(distance: float) -> tuple[str, ...]:
    if distance <= _SETTLED:
        return ()
    doubt = (
        f"the policy is not settled: learned from different parts of the log, up to {distance:.0%} of its decisions "
        "differ, and intervals are too narrow"
    )
    return (doubt,)


def _check(estimators: Sequence[str]) -> None:
    unknown = [name for name in estimators if name not in ESTIMATORS]
    if unknown:
        raise ValueError(f"estimator {unknown[0]!r} is unknown; there are {', '.join(ESTIMATORS)}")
