"""`GET /v1/decisions/{id}`: why one decision was made, and what came of it."""

from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint, Response

from app.api.http import Names, caller, reply, requires, services
from app.auth import Scope, permit
from app.reports import explain

__all__ = ["blueprint"]

blueprint = Blueprint("decisions", __name__)


@blueprint.get("/v1/decisions/<uuid:decision_id>")
@requires(Scope.READ, Names.ITSELF)
def get_decision(decision_id: UUID) -> Response:
    """One decision with its allocation, feedback and outcomes."""
    explained = explain(services().database, decision_id, datetime.now(UTC))
    permit(caller(), explained["decision"].experiment)
    return reply(explained)
