"""`GET /metrics`: what Prometheus scrapes."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.api.http import requires, services
from app.api.operations import describes
from app.auth import Scope
from app.errors import NotFound

__all__ = ["blueprint"]

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@requires(Scope.READ)
@describes(str, answers_text=CONTENT_TYPE_LATEST.partition(";")[0], refusals=(404,))
def get_metrics() -> Response:
    """The metrics of all processes of this machine."""
    text = services().telemetry.exposition()
    if text is None:
        raise NotFound("CROUPIER_METRICS is off, or the data directory cannot be written; then the log says so")
    return Response(text, content_type=CONTENT_TYPE_LATEST)
