"""`/v1/alerts`: what is wrong now, what was lately, and who takes care of it."""

from datetime import UTC, datetime

from flask import Blueprint, Response, request

from app import alerts
from app.api.http import Names, actor, reply, requires, services
from app.api.query import LARGEST_ID, whole
from app.auth import Scope
from app.errors import InvalidInput

__all__ = ["blueprint"]

blueprint = Blueprint("alerts", __name__, url_prefix="/v1/alerts")

_STATES = ("inactive", "pending", "firing", "resolved")
# An inactive alert has a row only because its rule could not be judged.
_SHOWN = "pending,firing,resolved"


@blueprint.get("")
@requires(Scope.READ, Names.IN_QUERY)
def list_alerts() -> Response:
    """Alerts, the newest first, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    before = whole("before", 0, low=0, high=2**53) or None
    states = request.args.get("state", _SHOWN).split(",")
    if not set(states) <= set(_STATES):
        raise InvalidInput.at("#", f"query parameter state={','.join(states)!r} must name some of {', '.join(_STATES)}")
    experiment = request.args.get("experiment")
    page = alerts.listed(services().database, experiment=experiment, states=states, before=before, limit=limit)
    return reply({"alerts": page, "next_before": page[-1]["id"] if len(page) == limit else None})


@blueprint.get("/<int:alert_id>")
@requires(Scope.READ)
def get_alert(alert_id: int) -> Response:
    """One alert."""
    return reply(alerts.get(services().database, min(alert_id, LARGEST_ID)))


@blueprint.post("/<int:alert_id>/acknowledge")
@requires(Scope.ADMIN)
def acknowledge(alert_id: int) -> Response:
    """Somebody takes care of it."""
    now = datetime.now(UTC)
    return reply(alerts.acknowledge(services().database, min(alert_id, LARGEST_ID), now, actor=actor()))
