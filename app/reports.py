"""What operators read: arm statistics, and the explanation of one decision."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import Struct

from app.errors import InvalidInput, NotFound
from app.learning import Evidence, evidence_of, read_counts, read_remembered
from app.specification import Specification
from app.store import allocations, decisions, experiments, exposures, feedback, quarantine
from app.store.allocations import AllocationRecord
from app.store.database import Database
from app.store.statistics import ArmCounts
from bandits.winning import maximum

__all__ = ["ArmReport", "ArmsReport", "arms_report", "explain", "history_page"]


class Outcomes(Struct, frozen=True, kw_only=True):
    """In which state the outcomes of an arm's exposures are."""

    pending: int  # inside the attribution window, nothing came yet
    defaulted: int  # the window has passed, nothing came: counts as the default
    observed: int  # feedback came in time
    corrected: int  # feedback came after the window: it replaces the default
    rejected: int  # events, of all metrics, that could not be used and are in quarantine


class ArmReport(Struct, frozen=True, kw_only=True):
    """One arm's statistics. A figure without data is null, never 0."""

    arm: str
    state: str
    propensity: float
    decisions: int
    exposures: int
    fallbacks: int
    mature: int
    rewards: float
    mean: float | None
    interval: tuple[float, float] | None
    probability_best: float | None
    expected_loss: float | None
    share: float | None
    outcomes: Outcomes


class ArmsReport(Struct, frozen=True, kw_only=True):
    """The body of `GET /v1/experiments/{key}/arms`."""

    experiment: str
    allocation: int
    data_as_of: datetime
    policy: str
    state: str
    metric: str
    arms: list[ArmReport]
    unavailable: dict[str, str]


class _Belief(Struct, frozen=True, kw_only=True):
    """What is believed of one arm."""

    mean: float
    interval: tuple[float, float]
    probability_best: float | None  # of arms that may be chosen
    expected_loss: float | None
    n: float


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
        level: of the credible intervals, between 0 and 1.
        since: only exposures from then on.
        metric: whose outcomes; None: the reward's. Only the reward has a model, so only of it anything is believed.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: it does not have this metric.
    """
    with database.transaction(snapshot=True) as connection:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise NotFound(f"There is no experiment {key!r}")
        specification = experiment.specification
        metric = metric or specification.reward.metric
        if metric not in specification.metric_keys:
            known = ", ".join(sorted(specification.metric_keys))
            raise InvalidInput.at("#", f"query parameter metric={metric!r} must be one of {known}")
        counts = read_counts(connection, experiment, now, since=since, metric=metric)
        remembered = read_remembered(connection, experiment, now, since=since)
        rejected = quarantine.rejected_by_arm(connection, key, since)
        allocation = allocations.find(connection, key, experiment.allocation)
    is_reward = metric == specification.reward.metric
    beliefs = _beliefs(specification, evidence_of(specification, counts, remembered), level) if is_reward else {}
    probabilities: Mapping[str, float] = allocation.probabilities if allocation else {}
    total = sum(c.exposures for c in counts)
    arms = [
        _arm_report(
            specification,
            c,
            beliefs.get(c.arm),
            propensity=probabilities.get(c.arm, 0.0),
            total=total,
            rejected=rejected.get(c.arm, 0),
        )
        for c in counts
    ]
    return ArmsReport(
        experiment=key,
        allocation=experiment.allocation,
        data_as_of=now,
        policy=specification.policy.kind,
        state=experiment.state,
        metric=metric,
        arms=arms,
        unavailable=_reasons(arms, is_reward=is_reward),
    )


def history_page(
    database: Database, key: str, *, since: datetime | None, before: int | None, limit: int
) -> dict[str, Any]:
    """Allocations over time, newest first.

    Raises:
        NotFound: there is no such experiment.
    """
    with database.transaction() as connection:
        if experiments.find(connection, key) is None:
            raise NotFound(f"There is no experiment {key!r}")
        page = allocations.history(connection, key, since=since, before=before, limit=limit)
    return {
        "experiment": key,
        "allocations": [_allocation_view(allocation) for allocation in page],
        "next_before": page[-1].number if len(page) == limit else None,
    }


def explain(database: Database, decision_id: UUID) -> dict[str, Any]:
    """One decision, why it was made, and what came of it.

    Raises:
        NotFound: there is no such decision.
    """
    with database.transaction(snapshot=True) as connection:
        decision = decisions.find(connection, decision_id)
        if decision is None:
            raise NotFound(f"There is no decision {decision_id}")
        allocation = allocations.find(connection, decision.experiment, decision.allocation)
        return {
            "decision": decision,
            "allocation": allocation and _allocation_view(allocation),
            "exposure": exposures.confirmation_of(connection, decision_id),
            "feedback": feedback.events_of(connection, decision_id),
            "outcomes": feedback.outcomes_of(connection, decision_id),
        }


def _beliefs(specification: Specification, evidence: Evidence, level: float) -> dict[str, _Belief]:
    """Belief about each arm of the specification, by key."""
    posterior = evidence.posterior
    lower, upper = posterior.interval(level)
    active = np.flatnonzero([arm.state == "active" for arm in specification.arms])
    contenders = posterior.select(active)
    winner = maximum(contenders)
    best = dict(zip(active.tolist(), winner.probability_best.tolist(), strict=True))
    loss = dict(zip(active.tolist(), np.maximum(winner.expected_maximum - contenders.mean, 0).tolist(), strict=True))
    return {
        key: _Belief(
            mean=float(posterior.mean[i]),
            interval=(float(lower[i]), float(upper[i])),
            probability_best=best.get(i),
            expected_loss=loss.get(i),
            n=float(evidence.statistics.n[i]),
        )
        for i, key in enumerate(evidence.arms)
    }


def _arm_report(
    specification: Specification,
    counts: ArmCounts,
    belief: _Belief | None,
    *,
    propensity: float,
    total: int,
    rejected: int,
) -> ArmReport:
    explicit = specification.reward.missing == "explicit"
    learned = belief if belief and belief.n > 0 else None
    return ArmReport(
        arm=counts.arm,
        state=counts.state,
        propensity=propensity,
        decisions=counts.decisions,
        exposures=counts.exposures,
        fallbacks=counts.fallbacks,
        mature=counts.mature,
        rewards=counts.sum if explicit else counts.mature_sum,
        mean=learned.mean if learned else None,
        interval=learned.interval if learned else None,
        probability_best=belief.probability_best if belief else None,
        expected_loss=belief.expected_loss if belief else None,
        share=counts.exposures / total if total else None,
        outcomes=_outcomes(counts, explicit=explicit, rejected=rejected),
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


def _reasons(arms: list[ArmReport], *, is_reward: bool) -> dict[str, str]:
    """Why figures are null."""
    reasons: dict[str, str] = {}
    for index, arm in enumerate(arms):
        without_model = "only the reward has a model to believe in"
        no_belief = "no outcome to learn from: none yet, or none within the memory" if is_reward else without_model
        no_contender = f"the arm is {arm.state}: it cannot be chosen" if is_reward else without_model
        causes = {
            "mean": no_belief,
            "interval": no_belief,
            "probability_best": no_contender,
            "expected_loss": no_contender,
            "share": "no exposures yet",
        }
        reasons |= {f"#/arms/{index}/{f}": why for f, why in causes.items() if getattr(arm, f) is None}
    return reasons


def _allocation_view(allocation: AllocationRecord) -> dict[str, Any]:
    """An allocation as it is read."""
    return {
        "number": allocation.number,
        "reason": allocation.reason,
        "version": allocation.version,
        "epoch": allocation.epoch,
        "probabilities": allocation.probabilities,
        "posterior": allocation.posterior,
        "evidence": allocation.evidence,
        "data_as_of": allocation.data_as_of,
        "applied_at": allocation.created_at,
    }
