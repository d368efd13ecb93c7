"""`GET /v1/experiments/{key}/shadow`: the shadow policy beside the live one."""

from datetime import UTC, datetime

from flask import Blueprint, Response

from app.api.http import reply, requires, services
from app.api.operations import LEVEL, SINCE, Query, describes
from app.api.query import moment, number
from app.auth import Scope
from app.shadow import ShadowReport, shadow_report

__all__ = ["blueprint"]

blueprint = Blueprint("shadow", __name__)

_LEVEL = Query("level", LEVEL, "Level of the intervals", 0.95)


@blueprint.get("/v1/experiments/<key>/shadow")
@requires(Scope.READ)
@describes(ShadowReport, query=(_LEVEL, SINCE))
def get_shadow(key: str) -> Response:
    """How often the two agree, and what the shadow would have earned."""
    level = number("level", 0.95, low=0.01, high=0.9999)
    parts = services()
    report = shadow_report(
        parts.database, key, datetime.now(UTC), since=moment("since"), level=level, aside=parts.aside
    )
    return reply(report)
