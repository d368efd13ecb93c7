"""`/v1/experiments/{key}/avatars`: units whose lists are asked for on a schedule."""

from datetime import UTC, datetime

from flask import Blueprint, Response, request

from app.api.answers import AvatarsPage, AvatarView, LooksPage
from app.api.http import actor, read, reply, requires, services
from app.api.operations import Query, before, describes, limit
from app.api.query import checked_key, whole
from app.auth import Scope
from app.avatars import AvatarRequest, operating

__all__ = ["blueprint"]

blueprint = Blueprint("avatars", __name__, url_prefix="/v1/experiments/<key>/avatars")

_ARM = Query("arm", str, "Only of this arm")


@blueprint.get("")
@requires(Scope.READ)
@describes(AvatarsPage)
def list_avatars(key: str) -> Response:
    """All avatars of an experiment, with what is wrong with their last lists."""
    return reply({"avatars": operating.listed(services().database, key)})


@blueprint.get("/<avatar>")
@requires(Scope.READ)
@describes(AvatarView)
def get_avatar(key: str, avatar: str) -> Response:
    """One avatar."""
    return reply(operating.get(services().database, key, avatar))


@blueprint.put("/<avatar>")
@requires(Scope.ADMIN)
@describes(AvatarView, takes=AvatarRequest, refusals=(409,))
def put_avatar(key: str, avatar: str) -> Response:
    """Makes or changes an avatar."""
    checked_key(avatar)
    wanted = read(AvatarRequest)
    return reply(operating.put(services().database, key, avatar, wanted, datetime.now(UTC), actor=actor()))


@blueprint.delete("/<avatar>")
@requires(Scope.ADMIN)
@describes({204: None})
def delete_avatar(key: str, avatar: str) -> Response:
    """Deletes an avatar and its history."""
    operating.remove(services().database, key, avatar, actor=actor())
    return Response(status=204)


@blueprint.get("/<avatar>/looks")
@requires(Scope.READ)
@describes(LooksPage, query=(_ARM, before(), limit(100, 1000)))
def list_looks(key: str, avatar: str) -> Response:
    """What an avatar was answered, the newest first, a page at a time."""
    limit = whole("limit", 100, low=1, high=1000)
    before = whole("before", 0, low=0, high=2**53) or None
    page = operating.looks(services().database, key, avatar, arm=request.args.get("arm"), before=before, limit=limit)
    return reply({"looks": page, "next_before": page[-1]["id"] if len(page) == limit else None})
