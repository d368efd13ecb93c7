"""One unit: what it was given and why, what came of it; one decision explained; and the unit's end."""

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from flask import Blueprint, redirect, request, url_for
from werkzeug.wrappers import Response

from app.console.asking import Question, ask
from app.console.rendering import rendered
from app.console.security import operator, operators_only, services, viewers
from app.errors import InvalidInput, NotFound
from app.reports import explain
from app.specification import UnitId
from app.store import experiments, units
from app.units import Asked, UnitStory, erase_unit, unit_story

__all__ = ["blueprint"]

blueprint = Blueprint("users", __name__, url_prefix="/users")

_PAGE: Final = 20
_LATELY: Final = 10
_MOST_KEYS: Final = 1000
_AHEAD: Final = timedelta(minutes=5)  # a client's clock, from which an id's moment may be
_RANGES: Final = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
_ITEMS: Final = 10


@blueprint.get("")
@viewers
def show() -> str | Response:
    """A unit's story, the newest decisions first; without one, a search."""
    found = request.args.get("unit", "").strip()
    if decision_id := _uuid(found):
        return redirect(url_for("users.decision", decision_id=decision_id))
    database, now = services().database, datetime.now(UTC)
    range_ = request.args.get("range", "")
    range_ = range_ if range_ in _RANGES else "30d"
    with database.transaction() as connection:
        keys = experiments.keys(connection, limit=_MOST_KEYS)
        lately = [] if found else units.lately(connection, now - timedelta(days=1), limit=_LATELY)
    story, fault = None, ""
    try:
        story = _story(found, range_, now) if found else None
    except NotFound as error:  # beside the search, where it can be put right
        fault = error.detail
    return rendered(
        "users.html",
        unit=found,
        story=story,
        fault=fault,
        lately=lately,
        keys=keys,
        experiment=request.args.get("experiment") or None,
        cursor=request.args.get("cursor"),
        range=range_,
        ranges=list(_RANGES),
        most_items=_ITEMS,
        done=request.args.get("done") == "erase",
    )


@blueprint.get("/decisions/<uuid:decision_id>")
@viewers
def decision(decision_id: UUID) -> str:
    """Why one decision was made, and what came of it."""
    found = explain(services().database, decision_id, datetime.now(UTC))
    probabilities = found["allocation"]["probabilities"] if found["allocation"] else {}
    order = sorted(probabilities, key=lambda arm: (-probabilities[arm], arm))
    chosen = found["decision"].arm
    shown = order[:_PAGE] if chosen in order[:_PAGE] else [*order[: _PAGE - 1], chosen]
    return rendered("decision.html", **found, shown=[arm for arm in shown if arm in probabilities], arms=len(order))


@blueprint.get("/erase")
@operators_only
def confirm_erase() -> str:
    """Asks before a unit is erased."""
    unit = _checked(request.args.get("unit", ""))
    return ask(
        Question(
            title="Erase",
            consequence="Whatever is stored of the unit can no longer be told to be its. Nobody can take that back:"
            " decisions stay counted under a name that leads nowhere, and feedback for them is not taken any more.",
            about=[f"Unit {unit}"],
            hidden=[("unit", unit)],
            to=url_for("users.erase"),
            back=url_for("users.show", unit=unit),
            is_grave=True,
        )
    )


@blueprint.post("/erase")
@operators_only
def erase() -> Response:
    """Erases a unit."""
    unit = _checked(request.form.get("unit", ""))
    erase_unit(services().database, unit, datetime.now(UTC), actor=operator().name)
    return redirect(url_for("users.show", done="erase"), 303)


def _story(unit: str, range_: str, now: datetime) -> UnitStory:
    """What is known of a unit."""
    parts = services()
    until = now + _AHEAD
    asked = Asked(
        unit=_checked(unit),
        since=until - timedelta(days=_RANGES[range_]),
        until=until,
        experiment=request.args.get("experiment") or None,
        cursor=_uuid(request.args.get("cursor", "")),
        limit=_PAGE,
    )
    return unit_story(parts.database, parts.allocations, asked, now)


def _checked(unit: str) -> str:
    try:
        return msgspec.convert(unit, UnitId)
    except msgspec.ValidationError as error:
        raise InvalidInput.at("#/unit", f"the unit {unit[:50]!r} is none: {error}") from error


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
