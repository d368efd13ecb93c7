"""How the shadow policy of an experiment compares with the live one: what it chose, and what it would have earned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from app.errors import NotFound
from app.evaluation.report import EstimateReport, LogReport, OverlapReport, report
from app.learning import last_mature_bucket
from app.specification import Shadow, Specification
from app.store import experiments, shadow
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.shadow import ShadowedDecisions, ShadowQuestion
from bandits.interval_methods import Normal
from bandits.log import Log
from bandits.shadow import ESTIMATORS, SideBySide, evaluate_shadow

__all__ = ["ShadowReport", "ShadowShare", "shadow_report"]

# Bounds of what one report reads: the newest decisions, and both policies' probabilities in their allocations.
_MOST_DECISIONS = 500_000
_MOST_PROBABILITIES = 2_000_000

_DEPENDENT = "with assignment unit, decisions of one unit are alike: intervals are too narrow where units come back"


class ShadowShare(Struct, frozen=True, kw_only=True):
    """One arm's share of the decisions."""

    arm: str
    live: float
    shadow: float


class ShadowReport(Struct, frozen=True, kw_only=True):
    """The body of `GET /v1/experiments/{key}/shadow`. A figure that cannot be given is null, with the reason."""

    experiment: str
    data_as_of: datetime
    policy: str
    metric: str
    level: float
    decisions: int
    match_rate: float | None = None
    expected_match_rate: float | None = None
    arms: list[ShadowShare] = []
    log: LogReport | None = None
    overlap: OverlapReport | None = None
    estimates: Mapping[str, EstimateReport | None] = {}
    warnings: tuple[str, ...] = ()
    unavailable: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Beside:
    """What was read: the decisions, and both policies' probabilities in their allocations."""

    arms: tuple[str, ...]
    decisions: ShadowedDecisions
    policies: SideBySide


def shadow_report(
    database: Database,
    key: str,
    now: datetime,
    *,
    since: datetime | None = None,
    level: float = 0.95,
    aside: Callable[[Callable[[], ShadowReport]], ShadowReport] = lambda compute: compute(),
) -> ShadowReport:
    """How the shadow policy compares with the live one, since it is declared as it is.

    Args:
        database: where to read.
        key: the experiment's.
        now: which decisions are mature is judged by it.
        since: only exposures from then on.
        level: of the intervals, between 0 and 1.
        aside: runs a long computation so that it does not hold up requests.

    Raises:
        NotFound: there is no such experiment, or it has no shadow.
    """
    with database.transaction(snapshot=True) as connection:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise NotFound(f"There is no experiment {key!r}")
        declared = experiment.specification.shadow
        if declared is None:
            raise NotFound(f"Experiment {key!r} has no shadow; PATCH it with a shadow to have one")
        beside = _read(connection, experiment, declared, since=since, now=now)
    empty = ShadowReport(
        experiment=key,
        data_as_of=now,
        policy=declared.policy.kind,
        metric=experiment.specification.reward.metric,
        level=level,
        decisions=0,
        estimates=dict.fromkeys(ESTIMATORS),
    )
    if beside is None:
        missing = ("match_rate", "expected_match_rate", "log", "overlap", *(f"estimates/{name}" for name in ESTIMATORS))
        return replace(empty, unavailable=dict.fromkeys((f"#/{name}" for name in missing), "no mature decision yet"))
    return aside(lambda: _with_value(_with_matches(empty, beside), beside, experiment.specification))


def _read(
    connection: sa.Connection, experiment: Experiment, declared: Shadow, *, since: datetime | None, now: datetime
) -> _Beside | None:
    """None when there is no decision to judge by."""
    records = experiments.arms_of(connection, experiment.key)
    arms = tuple(record.key for record in records)
    first = shadow.declared_since(connection, experiment.key, msgspec.to_builtins(declared))
    if first is None:
        return None
    question = ShadowQuestion(
        experiment=experiment.key,
        metric=experiment.specification.reward.metric,
        arms=arms,
        first_allocation=first[0],
        decided_since=_decided_since(experiment.specification, since, first[1]),
        since_epoch=_oldest_epoch(experiment.specification, {r.key: r.since_epoch for r in records}),
        since=since,
        mature_bucket=last_mature_bucket(experiment.specification, now),
    )
    decisions = shadow.shadowed_decisions(connection, question, _MOST_DECISIONS)
    if not decisions.allocation.size:
        return None
    newest = np.unique(decisions.allocation)[-(_MOST_PROBABILITIES // len(arms)) :]
    numbers, live, beside = shadow.probabilities(connection, experiment.key, newest, arms)
    decisions = _part(decisions, np.isin(decisions.allocation, numbers))
    row = np.searchsorted(numbers, decisions.allocation)
    return _Beside(arms=arms, decisions=decisions, policies=SideBySide(live=live, shadow=beside, allocation=row))


def _decided_since(specification: Specification, since: datetime | None, declared_at: datetime) -> datetime:
    """A decision comes before its exposure, where that is confirmed by up to `late_until_s`."""
    waits = specification.reward.late_until_s if specification.exposure == "confirmed" else 0.0
    return declared_at if since is None else max(declared_at, since - timedelta(seconds=waits))


def _oldest_epoch(specification: Specification, since: Mapping[str, int]) -> int:
    """Since when outcomes mean what they do now: a change of that makes all arms learn afresh, others only some."""
    return min(since[key] for key in specification.arm_keys)


def _part(decisions: ShadowedDecisions, kept: npt.NDArray[np.bool_]) -> ShadowedDecisions:
    return ShadowedDecisions(
        allocation=decisions.allocation[kept],
        live=decisions.live[kept],
        shadow=decisions.shadow[kept],
        propensity=decisions.propensity[kept],
        value=decisions.value[kept],
    )


def _with_matches(answer: ShadowReport, beside: _Beside) -> ShadowReport:
    decisions = beside.decisions
    n = decisions.live.size
    live, shadowed = (
        np.bincount(chosen, minlength=len(beside.arms)) / n for chosen in (decisions.live, decisions.shadow)
    )
    return replace(
        answer,
        decisions=n,
        match_rate=float(np.mean(decisions.live == decisions.shadow)),
        expected_match_rate=beside.policies.expected_match,
        arms=[
            ShadowShare(arm=arm, live=float(live[index]), shadow=float(shadowed[index]))
            for index, arm in enumerate(beside.arms)
        ],
    )


def _with_value(answer: ShadowReport, beside: _Beside, specification: Specification) -> ShadowReport:
    reward = specification.reward
    value = beside.decisions.value
    if reward.missing == "default":
        value = np.where(np.isnan(value), reward.default, value)
    known = ~np.isnan(value)
    if not known.any():
        missing = ("log", "overlap", *(f"estimates/{name}" for name in ESTIMATORS))
        return replace(answer, unavailable=dict.fromkeys((f"#/{name}" for name in missing), "no outcome yet"))
    decisions = _part(beside.decisions, known)
    log = Log(arms=beside.arms, action=decisions.live, reward=value[known], propensity=decisions.propensity)
    evaluation = evaluate_shadow(log, beside.policies.part(known), interval=Normal(level=answer.level))
    said = report(log, evaluation)
    return replace(
        answer,
        log=said.log,
        overlap=said.overlap,
        estimates=said.estimates,
        warnings=(*said.warnings, *((_DEPENDENT,) if specification.assignment == "unit" else ())),
        unavailable=said.unavailable,
    )
