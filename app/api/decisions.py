"""`GET /v1/decisions/{id}`: why one decision was made, and what came of it."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint, Response

from app.api.answers import Explanation
from app.api.http import reply, requires, services
from app.api.operations import describes
from app.auth import Scope
from app.reports import explain

__all__ = ["blueprint"]

blueprint = Blueprint("decisions", __name__)


@blueprint.get("/v1/decisions/<uuid:decision_id>")
@requires(Scope.READ)
@describes(Explanation)
def get_decision(decision_id: UUID) -> Response:
    """One decision with its allocation, feedback and outcomes."""
    return reply(explain(services().database, decision_id, datetime.now(UTC)))
