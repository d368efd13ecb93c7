"""`/v1/experiments/{key}/overrides/units/{unit}`: pins one unit to an arm, or lets it go."""

from collections.abc import Callable

from flask import Blueprint, Response

from app import edits, experiments
from app.api.answers import Experiment
from app.api.http import actor, read, requires, services
from app.api.operations import describes
from app.api.query import checked_unit
from app.api.schemas import PinRequest
from app.api.versions import changed_to, if_match
from app.auth import Scope
from app.specification import Specification

__all__ = ["blueprint"]

# A unit may hold slashes.
blueprint = Blueprint("overrides", __name__, url_prefix="/v1/experiments/<key>/overrides/units/<path:unit>")


@blueprint.put("")
@requires(Scope.ADMIN)
@describes(Experiment, takes=PinRequest, guarded=True)
def put_unit(key: str, unit: str) -> Response:
    """Pins a unit to an arm; the same again changes nothing."""
    arm = read(PinRequest).arm
    return _change(key, unit, lambda specification: edits.pin(specification, unit, arm))


@blueprint.delete("")
@requires(Scope.ADMIN)
@describes(Experiment, guarded=True)
def delete_unit(key: str, unit: str) -> Response:
    """Lets a unit go: the policy chooses for it again."""
    return _change(key, unit, lambda specification: edits.unpin(specification, unit))


def _change(key: str, unit: str, changed: Callable[[Specification], Specification]) -> Response:
    checked_unit(unit)
    return changed_to(experiments.patch(services().database, key, changed, if_match=if_match(), actor=actor()))
