"""Every experiment in a row, and the service's health above them."""

from datetime import UTC, datetime

from flask import Blueprint, request

from app.console.rendering import rendered
from app.console.security import services, viewers
from app.console.vitals import vitals
from app.reports.overview import overview

__all__ = ["blueprint"]

blueprint = Blueprint("overview", __name__)

_PAGE = 200


@blueprint.get("/")
@viewers
def show() -> str:
    """Experiments by key, a page at a time."""
    parts, now = services(), datetime.now(UTC)
    rows = overview(parts.database, now, after=request.args.get("after", ""), limit=_PAGE, aside=parts.aside)
    return rendered(
        "overview.html",
        rows=rows,
        next_after=rows[-1].key if len(rows) == _PAGE else None,
        vitals=vitals().now(),
        now=now,
    )
