"""`/v1/experiments`: make, change, read, start, pause, resume and stop."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET

from app import experiments
from app.api.codec import decode
from app.api.http import Names, actor, caller, read, reply, requires, services
from app.api.query import checked_key, moment, number, whole
from app.api.schemas import NewExperiment
from app.api.versions import changed_to, if_match, merge_patch, refuse_obstacles, reply_with, view_of
from app.auth import Scope
from app.experiments import Action
from app.reports import arms_report, history_page
from app.specification import ExperimentRequest, Specification

__all__ = ["blueprint"]

blueprint = Blueprint("experiments", __name__, url_prefix="/v1/experiments")


@blueprint.get("")
@requires(Scope.READ, Names.ITSELF)
def list_experiments() -> Response:
    """Experiments in the order of their keys, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    after = request.args.get("after", "")
    page = experiments.listed(services().database, after=after, limit=limit, only=caller().experiments)
    next_after = page[-1].key if len(page) == limit else None
    return reply({"experiments": [view_of(experiment) for experiment in page], "next_after": next_after})


@blueprint.post("")
@requires(Scope.ADMIN)
def create_experiment() -> Response:
    """Makes an experiment; refuses a key that is taken."""
    wanted = read(NewExperiment)
    refuse_obstacles(wanted.arms)
    state = "running" if wanted.state is UNSET else wanted.state
    experiment = experiments.create(services().database, wanted.key, wanted.specification(), state=state, actor=actor())
    return changed_to(experiment, 201)


@blueprint.put("/<key>")
@requires(Scope.ADMIN)
def put_experiment(key: str) -> Response:
    """Makes or replaces an experiment; the same again changes nothing."""
    checked_key(key)
    wanted = read(ExperimentRequest)
    refuse_obstacles(wanted.arms)
    experiment, created = experiments.put(
        services().database,
        key,
        wanted.specification(),
        state="running" if wanted.state is UNSET else wanted.state,
        if_match=if_match(),
        actor=actor(),
    )
    return changed_to(experiment, 201 if created else 200)


@blueprint.get("/<key>")
@requires(Scope.READ)
def get_experiment(key: str) -> Response:
    """One experiment."""
    return reply_with(experiments.get(services().database, key))


@blueprint.patch("/<key>")
@requires(Scope.ADMIN)
def patch_experiment(key: str) -> Response:
    """Changes parts of an experiment by a JSON merge patch (RFC 7396)."""
    changes = read(dict[str, Any])

    def changed(old: Specification) -> Specification:
        merged = merge_patch(msgspec.to_builtins(old), changes)
        new = decode(msgspec.json.encode(merged), Specification)
        if "arms" in changes:
            refuse_obstacles(new.arms)
        return new

    return changed_to(experiments.patch(services().database, key, changed, if_match=if_match(), actor=actor()))


@blueprint.post("/<key>/<any(start, pause, resume, stop):action>")
@requires(Scope.ADMIN)
def change_state(key: str, action: Action) -> Response:
    """Moves an experiment to another state; repeating a move changes nothing."""
    return changed_to(experiments.change_state(services().database, key, action, actor=actor()))


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


@blueprint.get("/<key>/audit")
@requires(Scope.READ)
def get_audit(key: str) -> Response:
    """Who changed what, newest first, a page at a time."""
    limit = whole("limit", 20, low=1, high=100)
    before = whole("before", 0, low=0, high=2**53) or None
    return reply(experiments.audit_page(services().database, key, before=before, limit=limit))
