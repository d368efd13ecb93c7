"""The arms' statistics, as of one moment."""

import logging
import math
from collections.abc import Sequence
from datetime import datetime

import msgspec

from app.errors import InvalidInput, NotFound
from app.inference import Inference, ShareCheck, check_shares, infer, read_epochs
from app.learning import evidence_of, read_counts, read_remembered
from app.reports.beliefs import Belief, beliefs_of
from app.reports.reasons import Scope, reasons_of
from app.reports.shapes import ArmReport, ArmShares, ArmsReport, Interval, Lift, Outcomes, SampleRatioReport
from app.specification import Specification
from app.store import allocations, experiments, quarantine
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.inference import EpochSums
from app.store.statistics import ArmCounts
from bandits.inference import Intervals

log = logging.getLogger(__name__)

__all__ = ["arms_report"]


def arms_report(
    database: Database,
    key: str,
    now: datetime,
    *,
    level: float = 0.95,
    since: datetime | None = None,
    metric: str | None = None,
) -> ArmsReport:
    """The arms' statistics as of one moment.

    Args:
        database: where to read.
        key: the experiment's.
        now: which exposures are mature is judged by it.
        level: of the intervals, between 0 and 1.
        since: only exposures from then on; honest figures count all of them, so then there are none.
        metric: whose outcomes; None: the reward's. Only the reward has a model, so only of it anything is believed.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: it does not have this metric.
    """
    with database.transaction(snapshot=True) as connection:
        experiment = _existing(experiments.find(connection, key), key)
        specification = experiment.specification
        scope = Scope(is_reward=_known(specification, metric) == specification.reward.metric, is_whole=since is None)
        counts = read_counts(connection, experiment, now, since=since, metric=metric)
        remembered = read_remembered(connection, experiment, now, since=since)
        epochs = read_epochs(connection, experiment, now) if scope.is_reward and scope.is_whole else None
        rejected = quarantine.rejected_by_arm(connection, key, since)
        allocation = allocations.find(connection, key, experiment.allocation)
    evidence = evidence_of(specification, counts, remembered) if scope.is_reward else None
    beliefs = evidence and beliefs_of(specification, evidence, level=level, seed=experiment.allocation)
    inference = None if epochs is None else infer(experiment, [c.arm for c in counts], epochs, level=level)
    total = sum(c.exposures for c in counts)
    propensities = allocation.probabilities if allocation else {}
    arms = [
        _arm_report(
            specification,
            c,
            beliefs.arms.get(c.arm) if beliefs else None,
            shares=(propensities.get(c.arm, 0.0), c.exposures / total if total else None),
            rejected=rejected.get(c.arm, 0),
        )
        for c in counts
    ]
    if inference is not None:
        arms = [_with_inference(arm, inference, i, specification.control_arm) for i, arm in enumerate(arms)]
    report = ArmsReport(
        experiment=key,
        allocation=experiment.allocation,
        data_as_of=now,
        policy=specification.policy.kind,
        state=experiment.state,
        metric=metric or specification.reward.metric,
        arms=arms,
        value_remaining=beliefs.value_remaining if beliefs and beliefs.have_data else None,  # priors alone say nothing
        sample_ratio=None if epochs is None else _sample_ratio(experiment, epochs),
        unavailable={},
    )
    reasons = reasons_of(report, inference, scope, control=specification.control_arm)
    return msgspec.structs.replace(report, unavailable=reasons)


def _existing(experiment: Experiment | None, key: str) -> Experiment:
    if experiment is None:
        raise NotFound(f"There is no experiment {key!r}")
    return experiment


def _known(specification: Specification, metric: str | None) -> str:
    """The metric asked for, if the experiment has it."""
    if metric is not None and metric not in specification.metric_keys:
        known = ", ".join(sorted(specification.metric_keys))
        raise InvalidInput.at("#", f"query parameter metric={metric!r} must be one of {known}")
    return metric or specification.reward.metric


def _arm_report(
    specification: Specification,
    counts: ArmCounts,
    belief: Belief | None,
    *,
    shares: tuple[float, float | None],  # of the allocation in force, and of all exposures
    rejected: int,
) -> ArmReport:
    explicit = specification.reward.missing == "explicit"
    learned = belief if belief and belief.n > 0 else None
    return ArmReport(
        arm=counts.arm,
        state=counts.state,
        propensity=shares[0],
        decisions=counts.decisions,
        exposures=counts.exposures,
        fallbacks=counts.fallbacks,
        mature=counts.mature,
        rewards=counts.sum if explicit else counts.mature_sum,
        mean=learned.mean if learned else None,
        interval=learned.interval if learned else None,
        probability_best=belief.probability_best if belief else None,
        expected_loss=belief.expected_loss if belief else None,
        share=shares[1],
        outcomes=_outcomes(counts, explicit=explicit, rejected=rejected),
    )


def _with_inference(report: ArmReport, inference: Inference, index: int, control: str) -> ArmReport:
    """An arm's report with the honest figures."""
    lift = Lift(
        mean=_finite(inference.lift_mean[index]),
        honest_interval=_interval(inference.lift_honest, index),
        robust_interval=_interval(inference.lift_robust, index),
    )
    return msgspec.structs.replace(
        report,
        honest_interval=_interval(inference.honest, index),
        robust_mean=_finite(inference.robust_mean[index]),
        robust_interval=_interval(inference.robust, index),
        lift=lift if report.arm != control and inference.has_pair[index] else None,
    )


def _outcomes(counts: ArmCounts, *, explicit: bool, rejected: int) -> Outcomes:
    silent = counts.exposures - counts.observed
    defaulted = 0 if explicit else counts.mature - counts.mature_observed
    return Outcomes(
        pending=silent - defaulted,
        defaulted=defaulted,
        observed=counts.observed - counts.corrected,
        corrected=counts.corrected,
        rejected=rejected,
    )


def _sample_ratio(experiment: Experiment, epochs: Sequence[EpochSums]) -> SampleRatioReport | None:
    try:
        check: ShareCheck = check_shares(experiment, epochs)
    except ValueError as error:  # the other figures are still worth reading
        log.warning("no sample ratio: %s; `croupier verify` says more", error, extra={"experiment": experiment.key})
        return None
    shares, deviations = check.result.shares, check.result.deviations
    return SampleRatioReport(
        ok=check.result.ok,
        statistic=_finite(check.result.statistic),
        arms={
            arm: ArmShares(
                observed=int(shares.observed[i]),
                expected=float(shares.expected[i]),
                deviation=_finite(deviations[i]),
            )
            for i, arm in enumerate(check.arms)
        },
    )


def _finite(number: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return float(number) if math.isfinite(number) else None


def _interval(intervals: Intervals, index: int) -> Interval | None:
    lower, upper = _finite(intervals.lower[index]), _finite(intervals.upper[index])
    return None if lower is None or upper is None else (lower, upper)
