"""`/v1/silences`: periods in which alerts with some labels are told to nobody."""

from datetime import UTC, datetime

from flask import Blueprint, Response

from app import alerts
from app.api.answers import Silence, SilencesPage
from app.api.http import actor, read, reply, requires, services
from app.api.moments import in_utc
from app.api.operations import before, describes, limit
from app.api.query import LARGEST_ID, whole
from app.api.schemas import SilenceRequest
from app.auth import Scope

__all__ = ["blueprint"]

blueprint = Blueprint("silences", __name__, url_prefix="/v1/silences")


@blueprint.get("")
@requires(Scope.READ)
@describes(SilencesPage, query=(before(), limit(100, 1000)))
def list_silences() -> Response:
    """Silences, the newest first, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    before = whole("before", 0, low=0, high=2**53) or None
    page = alerts.silences(services().database, before=before, limit=limit)
    return reply({"silences": page, "next_before": page[-1]["id"] if len(page) == limit else None})


@blueprint.post("")
@requires(Scope.ADMIN)
@describes({201: Silence}, takes=SilenceRequest)
def add_silence() -> Response:
    """Begins a silence, now or later."""
    wanted = read(SilenceRequest)
    period = (in_utc(wanted.starts_at or datetime.now(UTC)), in_utc(wanted.ends_at))
    database = services().database
    made = alerts.silence(database, wanted.labels, period=period, comment=wanted.comment, actor=actor())
    return reply(made, 201)


@blueprint.delete("/<int:silence_id>")
@requires(Scope.ADMIN)
@describes(Silence)
def end_silence(silence_id: int) -> Response:
    """Ends a silence now."""
    now = datetime.now(UTC)
    return reply(alerts.end_silence(services().database, min(silence_id, LARGEST_ID), now, actor=actor()))
