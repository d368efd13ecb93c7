"""Every experiment in a row, and the service's health above them."""

from datetime import UTC, datetime

from flask import Blueprint, current_app, request

from app.console.rendering import rendered
from app.console.security import services, viewers
from app.console.vitals import vitals
from app.reports.overview import overview

__all__ = ["blueprint"]

blueprint = Blueprint("overview", __name__)

_PAGE = 100


@blueprint.get("/")
@viewers
def show() -> str:
    """Experiments by key, a page at a time."""
    parts, now = services(), datetime.now(UTC)
    found = request.args.get("find", "").strip()
    page = overview(
        parts.database,
        now,
        leaders=current_app.extensions["leaders"],
        containing=found,
        after=request.args.get("after", ""),
        limit=_PAGE,
        aside=parts.aside,
    )
    return rendered(
        "overview.html",
        rows=page.rows,
        next_after=page.rows[-1].key if len(page.rows) == _PAGE else None,
        vitals=vitals().now(),
        found=found,
        after=request.args.get("after", ""),
        firing=page.firing,
    )
