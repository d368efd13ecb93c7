"""`GET /v1/experiments/{key}/metrics`: the quality of recommendations over time."""

from typing import Annotated, get_args

from flask import Blueprint, Response, request
from msgspec import Meta

from app.api.http import reply, requires, services
from app.api.operations import SINCE, UNTIL, Query, describes, limit
from app.api.query import moment, whole, words
from app.auth import Scope
from app.metric_series import SeriesPage, series_page
from app.store.metric_values import Level, Selection

__all__ = ["blueprint"]

blueprint = Blueprint("metric_series", __name__)

_LONGEST_WINDOW_S = 31_536_000
_QUERY = (
    Query("level", list[Level], "Only of these levels"),
    Query("metric", list[str], "Only these metrics"),
    Query("arm", str, "Only this arm; empty: all together"),
    Query("window_s", Annotated[int, Meta(ge=1, le=_LONGEST_WINDOW_S)], "Only windows of this width"),
    SINCE,
    UNTIL,
    Query("after", str, "`next_after` of the page before"),
    limit(1000, 10_000),
)


@blueprint.get("/v1/experiments/<key>/metrics")
@requires(Scope.READ)
@describes(SeriesPage, query=_QUERY)
def get_metric_series(key: str) -> Response:
    """Figures of windows that are over, the oldest first, a page at a time."""
    asked = Selection(
        levels=words("level", get_args(Level)) or get_args(Level),
        metrics=words("metric"),
        arm=request.args.get("arm"),
        window_s=whole("window_s", 0, low=1, high=_LONGEST_WINDOW_S) or None,
        since=moment("since"),
        until=moment("until"),
    )
    after, limit = request.args.get("after"), whole("limit", 1000, low=1, high=10_000)
    return reply(series_page(services().database, key, asked, after=after, limit=limit))
