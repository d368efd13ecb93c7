"""Evaluates targets on an experiment's own log."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta, Struct

from app.errors import Conflict, InvalidInput, NotFound
from app.evaluation.report import EvaluationReport, report
from app.learning import last_mature_bucket
from app.specification import Key, Specification, bucket_width, check, priors_of
from app.store import experiments
from app.store import log as store
from app.store.database import Database
from app.store.experiments import ArmRecord, Experiment
from app.store.log import LoggedRows, Question
from bandits.evaluation import ESTIMATORS, evaluate_log
from bandits.interval_methods import Normal
from bandits.log import Log
from bandits.policy import AnyPolicy
from bandits.targets import Learned, OneArm, Shares, Target

__all__ = ["EvaluationRequest", "ExperimentEvaluation", "evaluate_experiment", "question_of"]

_MOST_ROWS = 500_000
_PATIENCE_S = 20.0
# Whoever stamped the decision may have another clock than whoever stamped the experiment.
_CLOCKS_DIFFER = timedelta(days=1)


class EvaluationRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/experiments/{key}/evaluate`: one of `policy`, `arm` and `probabilities`."""

    policy: AnyPolicy | None = None  # after it has learned from the log
    arm: Key | None = None
    probabilities: dict[Key, float] | None = None  # arms that are not named have 0
    estimators: Annotated[list[str], Meta(min_length=1)] | None = None  # null: all
    since: Annotated[datetime, Meta(tz=True)] | None = None
    level: Annotated[float, Meta(ge=0.01, le=0.9999)] = 0.95


class ExperimentEvaluation(EvaluationReport, frozen=True, kw_only=True):
    """What an experiment's log says about a target, and which part of the log was asked."""

    experiment: str
    rows: int
    since: datetime  # when the first of them was decided
    until: datetime  # decisions that were made later are not mature
    cut: bool  # whether older rows were left out, to bound the work


def evaluate_experiment(
    database: Database, key: str, wanted: EvaluationRequest, *, now: datetime, aside: Callable[[Callable[[], Any]], Any]
) -> ExperimentEvaluation:
    """What a target would have earned, judged by the decisions of an experiment that its policy learns from.

    Args:
        database: where to read.
        key: the experiment's.
        wanted: which target, by which estimators.
        now: which exposures are mature is judged by it.
        aside: runs a long computation so that it does not hold up requests.

    Raises:
        NotFound: there is no such experiment.
        InvalidInput: the target does not fit it, or an estimator is unknown.
        Conflict: no decision counts yet.
    """
    estimators = _estimators(wanted)
    with database.transaction(snapshot=True) as connection:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise NotFound(f"There is no experiment {key!r}")
        arms = experiments.arms_of(connection, key)
        target = _target(wanted, experiment.specification, [arm.key for arm in arms])
        question = _question(experiment, arms, now, since=wanted.since, named=_named(wanted))
        rows = store.newest(connection, question, [arm.key for arm in arms], most=_MOST_ROWS, patience_s=_PATIENCE_S)
    if rows.oldest is None:
        where = f"in the part that was read within {_PATIENCE_S:g} s" if rows.cut else "yet"
        raise Conflict(
            f"No decision of experiment {key!r} counts and is mature {where}; try later, or an earlier `since`"
        )

    def compute() -> EvaluationReport:
        log = _log(rows, arms)
        return report(log, evaluate_log(log, target, estimators=estimators, interval=Normal(level=wanted.level)))

    width = timedelta(seconds=bucket_width(experiment.specification.reward, experiment.specification.memory))
    return ExperimentEvaluation(
        **msgspec.structs.asdict(aside(compute)),
        experiment=key,
        rows=rows.action.size,
        since=rows.oldest,
        until=min(question.until, question.mature_bucket + width),
        cut=rows.cut,
    )


def question_of(
    connection: sa.Connection, experiment: Experiment, now: datetime, *, since: datetime | None, until: datetime | None
) -> Question:
    """Which decisions count, of those made since one moment and before another.

    Decisions are comparable from the epoch on since which no arm that may be dealt has changed its recommender or come
    anew, and the reward has meant the same. Earlier ones are left out whatever their arm: the log would otherwise lack
    just the decisions for the changed arms, and its propensities would not be those of what is left.
    """
    return _question(experiment, experiments.arms_of(connection, experiment.key), now, since=since, until=until)


def _question(
    experiment: Experiment,
    arms: Iterable[ArmRecord],
    now: datetime,
    *,
    since: datetime | None,
    until: datetime | None = None,
    named: frozenset[str] = frozenset(),
) -> Question:
    reward = experiment.specification.reward
    earliest = experiment.created_at - _CLOCKS_DIFFER
    return Question(
        experiment=experiment.key,
        metric=reward.metric,
        default=reward.default if reward.missing == "default" else None,
        epoch=max(arm.since_epoch for arm in arms if arm.state != "retired" or arm.key in named),
        mature_bucket=last_mature_bucket(experiment.specification, now),
        since=max(since or earliest, earliest),
        until=min(until or now, now),
    )


def _estimators(wanted: EvaluationRequest) -> tuple[str, ...]:
    estimators = tuple(ESTIMATORS) if wanted.estimators is None else tuple(dict.fromkeys(wanted.estimators))
    for index, name in enumerate(wanted.estimators or ()):
        if name not in ESTIMATORS:
            raise InvalidInput.at(f"#/estimators/{index}", f"{name!r} is unknown; choose of {', '.join(ESTIMATORS)}")
    return estimators


def _target(wanted: EvaluationRequest, specification: Specification, ever: list[str]) -> Target:
    """The target of a request.

    Raises:
        InvalidInput: there is not just one, or it does not fit the experiment.
    """
    given = [name for name in ("policy", "arm", "probabilities") if getattr(wanted, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise InvalidInput.at("#", f"give exactly one target: policy, arm or probabilities; there is {found}")
    if wanted.policy is not None:
        return _learned(wanted.policy, specification)
    unknown = sorted(_named(wanted) - set(ever))
    if unknown:
        raise InvalidInput.at(f"#/{given[0]}", f"{unknown[0]!r} is no arm of it; the arms are {', '.join(ever)}")
    if wanted.arm is not None:
        return OneArm(wanted.arm)
    try:
        return Shares(wanted.probabilities or {})
    except ValueError as error:
        raise InvalidInput.at("#/probabilities", str(error)) from error


def _learned(policy: AnyPolicy, specification: Specification) -> Learned:
    """A policy in the place of the experiment's own, with the same arms, rewards and priors."""
    check(msgspec.structs.replace(specification, policy=policy))
    reward = specification.reward
    return Learned(
        policy,
        reward.model,
        bounds=reward.bounds,
        priors=dict(zip(specification.arm_keys, priors_of(specification), strict=True)),
        inactive=frozenset(arm.key for arm in specification.arms if arm.state != "active"),
    )


def _named(wanted: EvaluationRequest) -> frozenset[str]:
    """Keys of arms that the target names."""
    probabilities: Mapping[str, float] = wanted.probabilities or {}
    return frozenset(probabilities) | ({wanted.arm} if wanted.arm is not None else set())


def _log(rows: LoggedRows, arms: Iterable[ArmRecord]) -> Log:
    return Log(arms=tuple(arm.key for arm in arms), action=rows.action, reward=rows.reward, propensity=rows.propensity)
