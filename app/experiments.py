"""Changes of experiments: each one transaction, with its audit entry, its arms and a fresh allocation."""

import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from app import edits
from app.errors import Conflict, Fault, InvalidInput, NotFound, PreconditionFailed
from app.learning import publish_allocation, read_evidence
from app.specification import Arm, Contract, Specification, State, check, contract_of, epoch_changes, same
from app.store import audit, contracts
from app.store import experiments as store
from app.store.database import Database
from app.store.experiments import ArmRecord, Experiment

__all__ = ["Action", "add_arm", "audit_page", "change_state", "create", "get", "listed", "patch", "put", "put_on"]

Action = Literal["start", "pause", "resume", "stop"]

_ANOTHER_FOLD = "metric {!r} has outcomes of another aggregation; give the new one another metric key"

# Action → the states it leaves, and the one it reaches. Repeating an action changes nothing.
_TRANSITIONS: dict[Action, tuple[tuple[State, ...], State]] = {
    "start": (("draft",), "running"),
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "stop": (("draft", "running", "paused"), "stopped"),
}


def get(database: Database, key: str) -> Experiment:
    """One experiment.

    Raises:
        NotFound: it does not exist.
    """
    with database.transaction() as connection:
        return _existing(store.find(connection, key), key)


def listed(database: Database, *, after: str, limit: int, only: Collection[str] | None = None) -> list[Experiment]:
    """Experiments in the order of their keys, a page at a time; `only` those with these keys (None: all)."""
    with database.transaction() as connection:
        return store.listed(connection, after=after, limit=limit, only=only)


def put(
    database: Database,
    key: str,
    specification: Specification,
    *,
    state: State,
    if_match: int | None,
    actor: str,
) -> tuple[Experiment, bool]:
    """Creates or replaces an experiment; says whether it was created. The same again changes nothing.

    `state` is obeyed on creation only, so that re-applying a file never wakes a paused experiment.

    Raises:
        InvalidInput: the specification contradicts itself.
        PreconditionFailed: the version is not `if_match`.
    """
    with database.transaction() as connection:
        return put_on(connection, key, specification, state=state, if_match=if_match, actor=actor)


def put_on(
    connection: sa.Connection,
    key: str,
    specification: Specification,
    *,
    state: State,
    if_match: int | None,
    actor: str,
) -> tuple[Experiment, bool]:
    """The same, within a transaction of the caller's; where it raises, nothing of this experiment is written."""
    check(specification)
    created = if_match is None and _add(connection, key, specification, state=state, actor=actor)
    if not created:
        experiment = store.find(connection, key, lock=True)
        if experiment is None:  # only with If-Match, which is not for making new ones
            raise PreconditionFailed(f"There is no experiment {key!r} to match")
        _refuse_stale(experiment, if_match)
        _replace(connection, experiment, specification, actor=actor)
    return _existing(store.find(connection, key), key), created


def create(database: Database, key: str, specification: Specification, *, state: State, actor: str) -> Experiment:
    """Creates an experiment.

    Raises:
        InvalidInput: the specification contradicts itself.
        Conflict: the key is taken.
    """
    check(specification)
    with database.transaction() as connection:
        if not _add(connection, key, specification, state=state, actor=actor):
            raise Conflict(f"Experiment {key!r} exists; PUT or PATCH changes it")
        return _existing(store.find(connection, key), key)


def patch(
    database: Database,
    key: str,
    changed: Callable[[Specification], Specification],
    *,
    if_match: int | None,
    actor: str,
) -> Experiment:
    """Replaces an experiment's specification by what `changed` makes of it.

    Raises:
        NotFound: it does not exist.
        InvalidInput: the result contradicts itself.
        PreconditionFailed: the version is not `if_match`.
    """
    with database.transaction() as connection:
        experiment = _locked(connection, key, if_match)
        return _revise(connection, experiment, changed(experiment.specification), actor=actor)


def add_arm(database: Database, key: str, arm: Arm, *, if_match: int | None, actor: str) -> Experiment:
    """Adds an arm to an experiment, or takes a retired one back.

    Raises:
        NotFound: the experiment does not exist.
        Conflict: the arm's key is in use, or was that of another arm.
        InvalidInput: the result contradicts itself.
        PreconditionFailed: the version is not `if_match`.
    """
    with database.transaction() as connection:
        experiment = _locked(connection, key, if_match)
        ever = {record.key: record.specification for record in store.arms_of(connection, key)}
        return _revise(connection, experiment, edits.add_arm(experiment.specification, arm, ever), actor=actor)


def change_state(database: Database, key: str, action: Action, *, actor: str) -> Experiment:
    """Starts, pauses, resumes or stops an experiment.

    Raises:
        NotFound: it does not exist.
        Conflict: its state does not allow this.
    """
    allowed, reached = _TRANSITIONS[action]
    with database.transaction() as connection:
        experiment = _existing(store.find(connection, key, lock=True), key)
        if experiment.state == reached:
            return experiment
        if experiment.state not in allowed:
            raise Conflict(f"Cannot {action} experiment {key!r}: it is {experiment.state}, not {' or '.join(allowed)}")
        store.set_state(connection, experiment, reached)
        audit.record(connection, actor=actor, action=action, subject=key, before=experiment.state, after=reached)
        return _existing(store.find(connection, key), key)


def audit_page(database: Database, key: str, *, before: int | None, limit: int) -> dict[str, Any]:
    """Who changed an experiment, when, from what to what: newest first.

    Raises:
        NotFound: it does not exist.
    """
    with database.transaction() as connection:
        _existing(store.find(connection, key), key)
        page = audit.trail(connection, key, before=before, limit=limit)
    return {"experiment": key, "entries": page, "next_before": page[-1]["id"] if len(page) == limit else None}


def _add(connection: sa.Connection, key: str, specification: Specification, *, state: State, actor: str) -> bool:
    """Stores a new experiment; False when the key is taken."""
    if not store.add(connection, key, specification, state, secrets.token_bytes(16)):
        return False
    experiment = _existing(store.find(connection, key), key)
    contracts.save(connection, key, experiment.epoch, contract_of(specification))
    _save_arms(connection, experiment, old=None)
    _allocate(connection, experiment)
    audit.record(connection, actor=actor, action="create", subject=key, after=_as_json(specification))
    return True


def _locked(connection: sa.Connection, key: str, if_match: int | None) -> Experiment:
    """An experiment at the version that a change is meant for; nobody else changes it before the transaction ends."""
    experiment = _existing(store.find(connection, key, lock=True), key)
    _refuse_stale(experiment, if_match)
    return experiment


def _refuse_stale(experiment: Experiment, if_match: int | None) -> None:
    if if_match is not None and if_match != experiment.version:
        raise PreconditionFailed(f"Experiment {experiment.key!r} is at version {experiment.version} now; read it again")


def _revise(connection: sa.Connection, old: Experiment, specification: Specification, *, actor: str) -> Experiment:
    """Checks another specification, stores it, and returns the experiment as it is then."""
    check(specification)
    _replace(connection, old, specification, actor=actor)
    return _existing(store.find(connection, old.key), old.key)


def _replace(connection: sa.Connection, old: Experiment, specification: Specification, *, actor: str) -> None:
    """Stores another specification, if it is another."""
    if same(specification, old.specification):
        return
    earlier = contracts.of_experiment(connection, old.key)
    _refuse_other_folds(earlier.values(), specification)
    epoch = old.epoch + epoch_changes(old.specification, specification)
    contract = contract_of(specification)
    if epoch in earlier:  # events of metrics that are not declared any more may be under way
        begun = earlier[epoch]
        contract = msgspec.structs.replace(contract, metrics=begun.metrics | contract.metrics, control=begun.control)
    store.replace(connection, old, specification, epoch=epoch)
    contracts.save(connection, old.key, epoch, contract)
    experiment = _existing(store.find(connection, old.key), old.key)
    _save_arms(connection, experiment, old=old.specification)
    _allocate(connection, experiment)
    before, after = _as_json(old.specification), _as_json(specification)
    audit.record(connection, actor=actor, action="replace", subject=old.key, before=before, after=after)


def _refuse_other_folds(earlier: Iterable[Contract], new: Specification) -> None:
    """An outcome must stay the fold of its events, so a metric keeps its aggregation, also when it was away."""
    folds = {fold for contract in earlier for fold in contract.metrics.items()}
    faults = [
        Fault("#/reward/aggregation" if metric == new.reward.metric else "#/metrics", _ANOTHER_FOLD.format(metric))
        for metric, aggregation in folds
        if new.aggregation_of(metric) not in {None, aggregation}
    ]
    if faults:
        raise InvalidInput(*faults)


def _save_arms(connection: sa.Connection, experiment: Experiment, *, old: Specification | None) -> None:
    """Brings the arms' rows in line with the specification; arms that it no longer has are retired."""
    known = {record.key: record for record in store.arms_of(connection, experiment.key)}
    specification = experiment.specification
    afresh = old is not None and _meaning(old) != _meaning(specification)
    records = [
        _arm_record(arm, position, known.get(arm.key), epoch=experiment.epoch, afresh=afresh)
        for position, arm in enumerate(specification.arms)
    ]
    gone = known.keys() - {record.key for record in records}
    # An arm that comes back goes on learning where it was, unless the reward has changed meanwhile.
    retired = [
        replace(known[key], state="retired", since_epoch=experiment.epoch if afresh else known[key].since_epoch)
        for key in sorted(gone)
    ]
    store.save_arms(connection, experiment.key, records + retired)


def _arm_record(arm: Arm, position: int, old: ArmRecord | None, *, epoch: int, afresh: bool) -> ArmRecord:
    """An arm's row. Another recommender is another version, of which the old outcomes say nothing."""
    same_recommender = old is not None and same(old.specification.recommender, arm.recommender)
    return ArmRecord(
        key=arm.key,
        position=position,
        version=1 if old is None else old.version + (not same_recommender),
        since_epoch=old.since_epoch if old is not None and same_recommender and not afresh else epoch,
        state=arm.state,
        specification=arm,
    )


def _meaning(specification: Specification) -> tuple[Any, ...]:
    """What an outcome means; when it changes, learning starts afresh."""
    r = specification.reward
    return specification.exposure, r.metric, r.model, r.bounds, r.missing, r.default, r.window_s, r.aggregation


def _allocate(connection: sa.Connection, experiment: Experiment) -> None:
    """Puts a fresh allocation in force with the change itself, so that no worker sees one without the other."""
    now = datetime.now(UTC)
    evidence = read_evidence(connection, experiment, now)
    publish_allocation(connection, experiment, evidence, data_as_of=now, cause="config")


def _existing(experiment: Experiment | None, key: str) -> Experiment:
    if experiment is None:
        raise NotFound(f"There is no experiment {key!r}; PUT /v1/experiments/{key} makes one")
    return experiment


def _as_json(specification: Specification) -> Any:  # noqa: ANN401 - JSON
    return msgspec.to_builtins(specification)
