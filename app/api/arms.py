"""`/v1/experiments/{key}/arms`: changes of one arm while the experiment runs."""

from typing import Any

import msgspec
from flask import Blueprint, Response

from app import edits, experiments
from app.api.answers import Experiment
from app.api.codec import decode
from app.api.http import actor, read, requires, services
from app.api.operations import MergePatch, describes
from app.api.versions import changed_to, if_match, merge_patch, refuse_obstacles
from app.auth import Scope
from app.specification import Arm

__all__ = ["blueprint"]

blueprint = Blueprint("arms", __name__, url_prefix="/v1/experiments/<key>/arms")


@blueprint.post("")
@requires(Scope.ADMIN)
@describes({201: Experiment}, takes=Arm, refusals=(409,), guarded=True)
def post_arm(key: str) -> Response:
    """Adds an arm, or takes a retired one back."""
    arm = read(Arm)
    refuse_obstacles([arm], "#")
    return changed_to(experiments.add_arm(services().database, key, arm, if_match=if_match(), actor=actor()), 201)


@blueprint.patch("/<arm>")
@requires(Scope.ADMIN)
@describes(Experiment, takes=MergePatch, takes_merge_patch=True, refusals=(409,), guarded=True)
def patch_arm(key: str, arm: str) -> Response:
    """Changes parts of an arm by a JSON merge patch (RFC 7396)."""
    return _change(key, arm, read(dict[str, Any]))


@blueprint.delete("/<arm>")
@requires(Scope.ADMIN)
@describes(Experiment, refusals=(409,), guarded=True)
def delete_arm(key: str, arm: str) -> Response:
    """Retires an arm; its history stays."""
    return _change(key, arm, {"state": "retired"})


def _change(key: str, arm: str, changes: dict[str, Any]) -> Response:
    changed = experiments.patch(
        services().database,
        key,
        lambda specification: edits.change_arm(specification, arm, lambda old: _merged(old, changes)),
        if_match=if_match(),
        actor=actor(),
    )
    return changed_to(changed)


def _merged(arm: Arm, changes: dict[str, Any]) -> Arm:
    """The arm with changes. Another kind of recommender replaces the old one whole: it has other parameters."""
    old = msgspec.to_builtins(arm)
    recommender = changes.get("recommender")
    if isinstance(recommender, dict) and recommender.get("kind", arm.recommender.kind) != arm.recommender.kind:
        del old["recommender"]
    merged = decode(msgspec.json.encode(merge_patch(old, changes)), Arm)
    if recommender is not None:
        refuse_obstacles([merged], "#")
    return merged
