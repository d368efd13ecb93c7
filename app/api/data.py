"""`GET /v1/experiments/{key}/drift` and `/data-quality`: closed windows, the newest first."""

from flask import Blueprint, Response, request

from app.api.http import reply, requires, services
from app.api.query import moment, whole
from app.auth import Scope
from app.reports.data import drift_page, quality_page

__all__ = ["blueprint"]

blueprint = Blueprint("data", __name__, url_prefix="/v1/experiments/<key>")


@blueprint.get("/drift")
@requires(Scope.READ)
def get_drift(key: str) -> Response:
    """What has drifted, window by window."""
    limit = whole("limit", 10, low=1, high=100)
    since, before, feature = moment("since"), moment("before"), request.args.get("feature")
    page = drift_page(services().database, key, since=since, before=before, feature=feature, limit=limit)
    return reply(page)


@blueprint.get("/data-quality")
@requires(Scope.READ)
def get_data_quality(key: str) -> Response:
    """Shares of what should not be there, window by window."""
    limit = whole("limit", 10, low=1, high=100)
    return reply(quality_page(services().database, key, since=moment("since"), before=moment("before"), limit=limit))
