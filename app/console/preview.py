"""A dry look: what each arm would give a unit now, and what avatars were given."""

import json
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from flask import Blueprint, request

from app.api.query import whole
from app.avatars import operating
from app.console.rendering import rendered
from app.console.scope import Scope, of_experiment
from app.console.security import services, viewers
from app.errors import InvalidInput
from app.preview import MOST_ARMS, Preview, PreviewRequest, preview
from app.store import units

__all__ = ["blueprint"]

blueprint = Blueprint("preview", __name__, url_prefix="/preview")

_SHOWN: Final = 12
_LOOKS: Final = 30
_LONGEST_CONTEXT: Final = 2000


@blueprint.get("")
@viewers
@of_experiment(usual="")
def show(scope: Scope) -> str:
    """What a unit would be given, once one is named; and the experiment's avatars."""
    parts, unit = services(), request.args.get("unit", "").strip()
    found = _preview(scope, unit) if unit else None
    titles: dict[str, str] = {}
    if found:
        with parts.database.transaction() as connection:
            titles = units.titles(connection, sorted({item.item_id for arm in found.arms for item in arm.items}))
    return rendered(
        "preview.html",
        scope=scope,
        unit=unit,
        k=request.args.get("k", "10"),
        context=request.args.get("context", ""),
        found=found,
        titles=titles,
        avatars=operating.listed(parts.database, scope.experiment.key),
        shown=_SHOWN,
        now=datetime.now(UTC),
    )


@blueprint.get("/avatars/<avatar>")
@viewers
@of_experiment(usual="")
def avatar(scope: Scope, avatar: str) -> str:
    """What one avatar was given, look by look."""
    database, key = services().database, scope.experiment.key
    arm, before = request.args.get("arm") or None, whole("before", 0, low=0, high=2**53) or None
    looks = operating.looks(database, key, avatar, arm=arm, before=before, limit=_LOOKS)
    return rendered(
        "avatar.html",
        scope=scope,
        avatar=operating.get(database, key, avatar),
        looks=looks,
        arm=arm,
        before=before,
        next_before=looks[-1]["id"] if len(looks) == _LOOKS else None,
        shown=_SHOWN,
    )


def _preview(scope: Scope, unit: str) -> Preview:
    """Asks the arms that serve; of very many, those with the most traffic."""
    parts = services()
    served = parts.allocations.find(scope.experiment.key)
    active = [arm.key for arm in served.arms if arm.state == "active"]
    asked = {"unit": unit, "k": whole("k", 10, low=1, high=1000), "context": _context()}
    if len(active) > MOST_ARMS:
        asked["arms"] = [arm for arm in scope.lines() if arm in active]
    try:
        wanted = msgspec.convert(asked, PreviewRequest)
    except msgspec.ValidationError as error:
        raise InvalidInput.at("#", f"the form cannot be used: {error}") from error
    return preview(served, wanted, together=parts.together)


def _context() -> Any:  # noqa: ANN401 - whatever JSON holds; the request's type checks it
    text = request.args.get("context", "").strip()[:_LONGEST_CONTEXT]
    try:
        return json.loads(text) if text else {}
    except ValueError as error:
        raise InvalidInput.at("#/context", f"the context is no JSON: {error}") from error
