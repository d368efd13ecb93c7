"""`GET /v1/experiments/{key}/quality`: the metric hierarchy."""

from datetime import UTC, datetime

from flask import Blueprint, Response

from app.api.http import reply, requires, services
from app.api.operations import LEVEL, SINCE, UNTIL, Query, describes
from app.api.query import moment, number
from app.auth import Scope
from app.reports import QualityReport, quality_report

__all__ = ["blueprint"]

blueprint = Blueprint("quality", __name__)

_INTERVAL = Query("interval", LEVEL, "Level of the intervals", 0.95)


@blueprint.get("/v1/experiments/<key>/quality")
@requires(Scope.READ)
@describes(QualityReport, query=(_INTERVAL, SINCE, UNTIL))
def get_quality(key: str) -> Response:
    """Business metrics, the proxies under them, and what these are worth."""
    level = number("interval", 0.95, low=0.01, high=0.9999)
    since, until, parts = moment("since"), moment("until"), services()
    now = datetime.now(UTC)
    return reply(quality_report(parts.database, key, now, since=since, until=until, level=level, aside=parts.aside))
