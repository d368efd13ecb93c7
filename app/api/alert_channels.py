"""`/v1/alert-channels`: the webhooks that alerts are delivered to."""

from flask import Blueprint, Response

from app import alerts
from app.api.answers import ChannelsPage
from app.api.http import actor, read, reply, requires, services
from app.api.operations import describes
from app.api.query import checked_key
from app.api.schemas import ChannelRequest
from app.auth import Scope

__all__ = ["blueprint"]

blueprint = Blueprint("alert_channels", __name__, url_prefix="/v1/alert-channels")


@blueprint.get("")
@requires(Scope.READ)
@describes(ChannelsPage)
def list_channels() -> Response:
    """All webhooks, without their secrets."""
    return reply({"channels": alerts.channels(services().database)})


@blueprint.put("/<key>")
@requires(Scope.ADMIN)
@describes({204: None}, takes=ChannelRequest)
def put_channel(key: str) -> Response:
    """Stores a webhook and switches it on."""
    checked_key(key)
    wanted = read(ChannelRequest)
    alerts.put_channel(services().database, key, url=wanted.url, secret=wanted.secret, actor=actor())
    return Response(status=204)


@blueprint.delete("/<key>")
@requires(Scope.ADMIN)
@describes({204: None})
def delete_channel(key: str) -> Response:
    """Deletes a webhook."""
    alerts.remove_channel(services().database, key, actor=actor())
    return Response(status=204)
