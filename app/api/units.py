"""`/v1/units/{id}`: the story of one unit, a copy of everything that is stored about it, and the end of that."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint, Response, request

from app.api.codec import encode
from app.api.http import Names, actor, reply, requires, services
from app.api.query import checked_unit, moment, whole
from app.auth import Scope
from app.errors import InvalidInput
from app.units import Asked, erase_unit, export_unit, unit_story

__all__ = ["blueprint"]

# A unit may hold slashes.
blueprint = Blueprint("units", __name__, url_prefix="/v1/units/<path:unit>")

_DEFAULT_RANGE = timedelta(days=30)
_AHEAD = timedelta(minutes=5)  # a client's clock, from which an id's moment may be
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)


@blueprint.get("")
@requires(Scope.READ, Names.IN_QUERY)
def get_unit(unit: str) -> Response:
    """What the unit was given and why, what came of it, and how it compares with everybody."""
    parts, now = services(), datetime.now(UTC)
    return reply(unit_story(parts.database, parts.allocations, _asked(unit, now), now))


@blueprint.get("/export")
@requires(Scope.ADMIN)
def export(unit: str) -> Response:
    """Everything that is stored about the unit, as NDJSON."""
    lines = (encode(one) + b"\n" for one in export_unit(services().database, checked_unit(unit)))
    return Response(lines, content_type="application/x-ndjson")


@blueprint.delete("")
@requires(Scope.ADMIN)
def erase(unit: str) -> Response:
    """Erases the unit: its decisions stay countable under a name that leads nowhere."""
    return reply(erase_unit(services().database, checked_unit(unit), datetime.now(UTC), actor=actor()))


def _asked(unit: str, now: datetime) -> Asked:
    until = min(moment("until") or now + _AHEAD, now + timedelta(days=1))
    since = max(moment("since") or until - _DEFAULT_RANGE, _FIRST)
    if since >= until:
        raise InvalidInput.at("#", f"since={since.isoformat()} must be before until={until.isoformat()}")
    return Asked(
        unit=checked_unit(unit),
        since=since,
        until=until,
        experiment=request.args.get("experiment"),
        cursor=_cursor(),
        limit=whole("limit", 50, low=1, high=200),
    )


def _cursor() -> UUID | None:
    text = request.args.get("cursor")
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise InvalidInput.at("#", f"query parameter cursor={text!r} must be a next_cursor of this call") from error
