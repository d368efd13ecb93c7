"""`/v1/alert-channels`: the webhooks that alerts are delivered to."""

from urllib.parse import urlsplit

from flask import Blueprint, Response

from app import alerts
from app.api.http import actor, read, reply, requires, services
from app.api.query import checked_key
from app.api.schemas import ChannelRequest
from app.auth import Scope
from app.errors import InvalidInput
from app.outgoing import fault_of

__all__ = ["blueprint"]

blueprint = Blueprint("alert_channels", __name__, url_prefix="/v1/alert-channels")


@blueprint.get("")
@requires(Scope.READ)
def list_channels() -> Response:
    """All webhooks, without their secrets."""
    return reply({"channels": alerts.channels(services().database)})


@blueprint.put("/<key>")
@requires(Scope.ADMIN)
def put_channel(key: str) -> Response:
    """Stores a webhook and switches it on."""
    checked_key(key)
    wanted = read(ChannelRequest)
    _refuse_unreachable(wanted.url)
    alerts.put_channel(services().database, key, url=wanted.url, secret=wanted.secret, actor=actor())
    return Response(status=204)


@blueprint.delete("/<key>")
@requires(Scope.ADMIN)
def delete_channel(key: str) -> Response:
    """Deletes a webhook."""
    alerts.remove_channel(services().database, key, actor=actor())
    return Response(status=204)


def _refuse_unreachable(url: str) -> None:
    """What this service will never ask is better heard of now than found in the channel's `fault`."""
    objection = fault_of(url) or services().settings.outgoing_guard.objection(urlsplit(url).hostname or "")
    if objection is not None:
        raise InvalidInput.at("#/url", objection)
