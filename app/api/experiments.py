"""`/v1/experiments`: make, change, read, start, pause, resume and stop."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET

from app import experiments
from app.api.codec import decode
from app.api.http import actor, read, reply, requires, services
from app.api.query import moment, number, whole
from app.api.schemas import ExperimentView, NewExperiment
from app.auth import Scope
from app.errors import InvalidInput
from app.experiments import Action
from app.reports import arms_report, history_page
from app.specification import KEY_PATTERN, ExperimentRequest, Specification
from app.store.experiments import Experiment

__all__ = ["blueprint"]

blueprint = Blueprint("experiments", __name__, url_prefix="/v1/experiments")


@blueprint.get("")
@requires(Scope.READ)
def list_experiments() -> Response:
    """Experiments in the order of their keys, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    page = experiments.listed(services().database, after=request.args.get("after", ""), limit=limit)
    after = page[-1].key if len(page) == limit else None
    return reply({"experiments": [_view(experiment) for experiment in page], "next_after": after})


@blueprint.post("")
@requires(Scope.ADMIN)
def create_experiment() -> Response:
    """Makes an experiment; refuses a key that is taken."""
    wanted = read(NewExperiment)
    _refuse_obstacles(wanted)
    state = "running" if wanted.state is UNSET else wanted.state
    experiment = experiments.create(services().database, wanted.key, wanted.specification(), state=state, actor=actor())
    return _changed(experiment, 201)


@blueprint.put("/<key>")
@requires(Scope.ADMIN)
def put_experiment(key: str) -> Response:
    """Makes or replaces an experiment; the same again changes nothing."""
    _check_key(key)
    wanted = read(ExperimentRequest)
    _refuse_obstacles(wanted)
    experiment, created = experiments.put(
        services().database,
        key,
        wanted.specification(),
        state="running" if wanted.state is UNSET else wanted.state,
        if_match=_if_match(),
        actor=actor(),
    )
    return _changed(experiment, 201 if created else 200)


@blueprint.get("/<key>")
@requires(Scope.READ)
def get_experiment(key: str) -> Response:
    """One experiment."""
    return _reply(experiments.get(services().database, key))


@blueprint.patch("/<key>")
@requires(Scope.ADMIN)
def patch_experiment(key: str) -> Response:
    """Changes parts of an experiment by a JSON merge patch (RFC 7396)."""
    changes = read(dict[str, Any])

    def changed(old: Specification) -> Specification:
        merged = _merge_patch(msgspec.to_builtins(old), changes)
        new = decode(msgspec.json.encode(merged), Specification)
        if "arms" in changes:
            _refuse_obstacles(new)
        return new

    return _changed(experiments.patch(services().database, key, changed, if_match=_if_match(), actor=actor()))


@blueprint.post("/<key>/<any(start, pause, resume, stop):action>")
@requires(Scope.ADMIN)
def change_state(key: str, action: Action) -> Response:
    """Moves an experiment to another state; repeating a move changes nothing."""
    return _changed(experiments.change_state(services().database, key, action, actor=actor()))


@blueprint.get("/<key>/arms")
@requires(Scope.READ)
def get_arms(key: str) -> Response:
    """The statistics of the arms, as of now."""
    level = number("interval", 0.95, low=0.01, high=0.9999)
    report = arms_report(
        services().database,
        key,
        datetime.now(UTC),
        level=level,
        since=moment("since"),
        metric=request.args.get("metric"),
    )
    return reply(report)


@blueprint.get("/<key>/history")
@requires(Scope.READ)
def get_history(key: str) -> Response:
    """Allocations over time, newest first, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    before = whole("before", 0, low=0, high=2**31 - 1) or None
    return reply(history_page(services().database, key, since=moment("since"), before=before, limit=limit))


def _changed(experiment: Experiment, status: int = 200) -> Response:
    """Answers a change; this worker serves by it from now on, the others within a poll interval."""
    services().allocations.reload(experiment.key)
    return _reply(experiment, status)


def _reply(experiment: Experiment, status: int = 200) -> Response:
    return reply(_view(experiment), status, {"ETag": f'"{experiment.version}"'})


def _view(experiment: Experiment) -> dict[str, Any]:
    """The experiment as it is read: the specification's members beside those of the row."""
    row = ExperimentView(
        key=experiment.key,
        state=experiment.state,
        version=experiment.version,
        epoch=experiment.epoch,
        allocation=experiment.allocation,
        created_at=experiment.created_at,
        updated_at=experiment.updated_at,
    )
    return {**msgspec.structs.asdict(row), **msgspec.structs.asdict(experiment.specification)}


def _refuse_obstacles(specification: Specification) -> None:
    """What this service's settings rule out is better heard of now than found in a log."""
    faults = services().allocations.obstacles(specification)
    if faults:
        raise InvalidInput(*faults)


def _check_key(key: str) -> None:
    if not re.search(KEY_PATTERN, key):
        raise InvalidInput.at("#", f"the key {key!r} must be 1 to 64 of A-Z a-z 0-9 . _ : -")


def _if_match() -> int | None:
    """The version that a change is meant for."""
    tag = request.headers.get("If-Match", "*").strip()
    if tag == "*":
        return None
    found = re.fullmatch(r'(?:W/)?"(\d{1,9})"', tag)
    if found is None:
        raise InvalidInput.at("#", f"If-Match must be an ETag of this experiment, not {tag}")
    return int(found[1])


def _merge_patch(target: Any, changes: Any) -> Any:  # noqa: ANN401 - JSON
    """RFC 7396: members replace members, null removes, everything else is replaced whole."""
    if not isinstance(changes, dict):
        return changes
    merged = dict(target) if isinstance(target, dict) else {}
    for name, change in changes.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_patch(merged.get(name), change)
    return merged
