"""`GET /v1/experiments/{key}/drift` and `/data-quality`: closed windows, the newest first."""

from flask import Blueprint, Response, request

from app.api.answers import DataPage, DriftPage
from app.api.http import reply, requires, services
from app.api.operations import SINCE, Moment, Query, describes, limit
from app.api.query import moment, whole
from app.auth import Scope
from app.reports.data import drift_page, quality_page

__all__ = ["blueprint"]

blueprint = Blueprint("data", __name__, url_prefix="/v1/experiments/<key>")

_FEATURE = Query("feature", str, "Only of this feature")
_BEFORE = Query("before", Moment, "`next_before` of the page before")


@blueprint.get("/drift")
@requires(Scope.READ)
@describes(DriftPage, query=(_FEATURE, SINCE, _BEFORE, limit(10, 100)))
def get_drift(key: str) -> Response:
    """What has drifted, window by window."""
    limit = whole("limit", 10, low=1, high=100)
    since, before, feature = moment("since"), moment("before"), request.args.get("feature")
    page = drift_page(services().database, key, since=since, before=before, feature=feature, limit=limit)
    return reply(page)


@blueprint.get("/data-quality")
@requires(Scope.READ)
@describes(DataPage, query=(SINCE, _BEFORE, limit(10, 100)))
def get_data_quality(key: str) -> Response:
    """Shares of what should not be there, window by window."""
    limit = whole("limit", 10, low=1, high=100)
    return reply(quality_page(services().database, key, since=moment("since"), before=moment("before"), limit=limit))
