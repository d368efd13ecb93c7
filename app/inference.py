"""The figures that hold although the policy moved traffic and people look at results all the time.

Honest and drift-robust intervals, lifts over the control arm, and the sample-ratio check: docs/statistics.md says what
each means. They cover all outcomes of the epochs in which an arm's present version has served, whatever the policy
remembers. Of sticky units only the first choice in each epoch counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.learning import last_mature_bucket
from app.specification import Reward
from app.store.experiments import Experiment
from app.store.inference import EpochSums, epoch_sums
from bandits.inference import (
    CONFIDENCE_SEQUENCES,
    BetaMixture,
    ConfidenceSequence,
    ExposureShares,
    Intervals,
    SampleRatio,
    robust_means,
    sample_ratio,
)
from bandits.statistics import ArmStatistics

__all__ = ["Inference", "ShareCheck", "check_shares", "infer", "read_epochs"]

Sums = tuple[float, float, float]  # count, sum, sum of squares
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """All arrays of shape (n_arms,), in the order that was asked for; nan where a figure cannot be given honestly."""

    outcomes: Floats  # number of outcomes that count
    honest: Intervals
    robust_mean: Floats
    robust: Intervals
    rewarded: Floats  # outcomes with another reward than the usual one, at least, that the robust figures rest on
    lift_mean: Floats  # difference of sample means over the epochs in which arm and control could both be chosen
    lift_honest: Intervals
    lift_robust: Intervals
    lift_rewarded: Floats  # of arm and control the fewer
    has_pair: npt.NDArray[np.bool_]  # whether there is an epoch in which arm and control could both be chosen


@dataclass(frozen=True, kw_only=True, eq=False)
class ShareCheck:
    """The sample-ratio check of one epoch; its arrays are in the order of `arms`."""

    arms: tuple[str, ...]
    result: SampleRatio


def read_epochs(connection: sa.Connection, experiment: Experiment, now: datetime) -> list[EpochSums]:
    """The sums by epoch: with `missing: default` of mature exposures only, as the policy learns."""
    reward = experiment.specification.reward
    until = None if reward.missing == "explicit" else last_mature_bucket(experiment.specification, now)
    return epoch_sums(connection, experiment.key, reward.metric, until)


def infer(experiment: Experiment, arms: Sequence[str], epochs: Sequence[EpochSums], *, level: float) -> Inference:
    """The figures of each arm.

    Args:
        experiment: whose reward and control count.
        arms: keys, in the order of the result.
        epochs: of all arms.
        level: probability with which an interval contains the truth at all looks together, as 0.95.
    """
    reward, control, alpha = experiment.specification.reward, experiment.specification.control_arm, 1 - level
    current = {(e.epoch, e.arm): e for e in epochs if e.is_current}
    by_arm: dict[str, list[EpochSums]] = {arm: [] for arm in arms}
    for (_, arm), e in current.items():
        by_arm.setdefault(arm, []).append(e)
    own = [by_arm[arm] for arm in arms]
    scored = [[e for e in mine if e.control is not None] for mine in own]
    pairs = [_pairs(mine, current, control) for mine in own]
    compared = [[(e, c) for e, c in pair if e.control == control] for pair in pairs]

    sequence = _sequence(reward)
    outcomes = _sum_up(own, lambda e: _outcomes(reward, e))
    treated = _sum_up(_firsts(pairs), lambda e: _outcomes(reward, e))
    controls = _sum_up(_seconds(pairs), lambda e: _outcomes(reward, e))
    scores = _sum_up(scored, lambda e: (e.eligible, e.score, e.score_squares))
    contrasts = _sum_up(_firsts(compared), lambda e: (e.paired, e.contrast, e.contrast_squares))
    rewarded = _rewarded(reward, scored)
    fewer = np.minimum(_rewarded(reward, _firsts(compared)), _rewarded(reward, _seconds(compared)))
    robust = robust_means(scores, rewarded, alpha=alpha)
    return Inference(
        outcomes=outcomes.n,
        honest=_where(outcomes.n > 0, sequence.means(outcomes, alpha=alpha)),
        robust_mean=np.where(np.isnan(robust.lower), np.nan, scores.sum / np.maximum(scores.n, 1)),
        robust=robust,
        rewarded=rewarded,
        lift_mean=_mean(treated) - _mean(controls),
        lift_honest=_where(np.minimum(treated.n, controls.n) > 0, sequence.differences(treated, controls, alpha=alpha)),
        lift_robust=robust_means(contrasts, fewer, alpha=alpha),
        lift_rewarded=fewer,
        has_pair=np.array([bool(pair) for pair in pairs]),
    )


def check_shares(experiment: Experiment, epochs: Sequence[EpochSums], *, alpha: float = 0.01) -> ShareCheck:
    """Whether arms were chosen as often as their probabilities say, in the present epoch.

    Args:
        experiment: whose present epoch is judged.
        epochs: of all arms.
        alpha: probability of a false alarm, at all looks together.

    Raises:
        ValueError: the stored choices and probabilities do not amount to the same.
    """
    figures = dict.fromkeys(experiment.specification.arm_keys, (0.0, 0.0, 0.0))
    figures |= {e.arm: (e.chosen, e.expected, e.variance) for e in epochs if e.epoch == experiment.epoch}
    observed, expected, variance = np.array([*figures.values()]).T
    shares = ExposureShares(observed=observed, expected=expected, variance=variance)
    return ShareCheck(arms=tuple(figures), result=sample_ratio(shares, alpha=alpha))


def _pairs(
    mine: Iterable[EpochSums], current: Mapping[tuple[int, str], EpochSums], control: str
) -> list[tuple[EpochSums, EpochSums]]:
    """An arm's epochs in which it and the control arm could both be chosen, with the control's."""
    candidates = ((e, current.get((e.epoch, control))) for e in mine if e.arm != control and e.expected > 0)
    return [(e, c) for e, c in candidates if c is not None and c.expected > 0]


def _firsts(pairs: Iterable[list[tuple[EpochSums, EpochSums]]]) -> list[list[EpochSums]]:
    return [[e for e, _ in pair] for pair in pairs]


def _seconds(pairs: Iterable[list[tuple[EpochSums, EpochSums]]]) -> list[list[EpochSums]]:
    return [[c for _, c in pair] for pair in pairs]


def _sequence(reward: Reward) -> ConfidenceSequence:
    if reward.bounds is not None:
        return BetaMixture(low=reward.bounds[0], high=reward.bounds[1])
    return CONFIDENCE_SEQUENCES[reward.model]


def _outcomes(reward: Reward, epoch: EpochSums) -> Sums:
    """Outcomes that count: exposures without feedback have the default."""
    if reward.missing == "explicit":
        return epoch.observed, epoch.sum, epoch.sum_of_squares
    silent = epoch.exposures - epoch.observed
    return (
        epoch.exposures,
        epoch.sum + silent * reward.default,
        epoch.sum_of_squares + silent * reward.default**2,
    )


def _sum_up(epochs: Iterable[Iterable[EpochSums]], sums: Callable[[EpochSums], Sums]) -> ArmStatistics:
    """The sums over each arm's epochs. What rounding leaves below 0 is 0."""
    totals = [np.sum([(0.0, 0.0, 0.0), *map(sums, mine)], axis=0) for mine in epochs]
    n, total, squares = np.array(totals).reshape(-1, 3).T
    return ArmStatistics(n=n, sum=total, sum_of_squares=np.maximum(squares, 0))


def _rewarded(reward: Reward, epochs: Iterable[Iterable[EpochSums]]) -> Floats:
    """How many outcomes of each arm were another reward than the usual one, at least.

    By Cauchy and Schwarz (Σo)² ≤ Σo² · #{o ≠ 0} for what feedback adds to the default, o; with rewards of 0 and 1 both
    sides are equal. Rewards on a continuous scale without bounds are never the usual one.
    """
    observed = _sum_up(epochs, lambda e: (e.observed, e.sum, e.sum_of_squares))
    if reward.model == "gaussian":
        return observed.n
    usual = reward.default if reward.missing == "default" else 0.0
    total = observed.sum - usual * observed.n
    squares = observed.sum_of_squares - 2 * usual * observed.sum + usual**2 * observed.n
    fewest: Floats = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    return fewest


def _mean(statistics: ArmStatistics) -> Floats:
    mean: Floats = np.full(statistics.n.shape, np.nan)
    np.divide(statistics.sum, statistics.n, out=mean, where=statistics.n > 0)
    return mean


def _where(known: npt.NDArray[np.bool_], intervals: Intervals) -> Intervals:
    """Intervals where something is known, nan elsewhere."""
    return Intervals(lower=np.where(known, intervals.lower, np.nan), upper=np.where(known, intervals.upper, np.nan))
