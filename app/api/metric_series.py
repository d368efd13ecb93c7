"""`GET /v1/experiments/{key}/metrics`: the quality of recommendations over time."""

from typing import get_args

from flask import Blueprint, Response, request

from app.api.http import reply, requires, services
from app.api.query import moment, whole, words
from app.auth import Scope
from app.metric_series import series_page
from app.store.metric_values import Level, Selection

__all__ = ["blueprint"]

blueprint = Blueprint("metric_series", __name__)

_LONGEST_WINDOW_S = 31_536_000


@blueprint.get("/v1/experiments/<key>/metrics")
@requires(Scope.READ)
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
