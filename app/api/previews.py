"""`POST /v1/experiments/{key}/preview`: what the arms answer, without a decision."""

from flask import Blueprint, Response

from app.api.http import read, reply, requires, services
from app.api.operations import describes
from app.auth import Scope
from app.preview import Preview, PreviewRequest, preview

__all__ = ["blueprint"]

blueprint = Blueprint("previews", __name__)


@blueprint.post("/v1/experiments/<key>/preview")
@requires(Scope.READ)
@describes(Preview, takes=PreviewRequest)
def post_preview(key: str) -> Response:
    """What each arm answers now, with its probability, and which one the unit would get."""
    wanted = read(PreviewRequest)
    parts = services()
    return reply(preview(parts.allocations.find(key), wanted, together=parts.together))
