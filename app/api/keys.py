"""`/v1/keys`: API keys. A secret stands in one answer, that to the request which made it."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response

from app import keys
from app.api.codec import decode
from app.api.http import actor, body, read, reply, requires, services
from app.api.schemas import IssuedKey, KeyRequest, KeyView, RotationRequest
from app.auth import Scope
from app.keys import Wanted
from app.store.keys import KeyRecord

__all__ = ["blueprint"]

blueprint = Blueprint("keys", __name__, url_prefix="/v1/keys")


@blueprint.get("")
@requires(Scope.ADMIN)
def list_keys() -> Response:
    """All keys, without their secrets."""
    return reply({"keys": [KeyView.of(record) for record in keys.listed(services().database)]})


@blueprint.post("")
@requires(Scope.ADMIN)
def create_key() -> Response:
    """Makes a key."""
    sent = read(KeyRequest)
    wanted = Wanted(
        name=sent.name,
        scopes=tuple(dict.fromkeys(sent.scopes)),
        experiments=None if sent.experiments is None else tuple(sorted(set(sent.experiments))),
        rate_per_s=sent.rate_per_s,
        expires_at=sent.expires_at,
    )
    return _issued(*keys.create(services().database, wanted, datetime.now(UTC), actor=actor()))


@blueprint.post("/<prefix>/rotate")
@requires(Scope.ADMIN)
def rotate_key(prefix: str) -> Response:
    """Gives a key another secret."""
    overlap = timedelta(seconds=decode(body() or b"{}", RotationRequest).overlap_s)
    return _issued(*keys.rotate(services().database, prefix, datetime.now(UTC), overlap=overlap, actor=actor()))


@blueprint.delete("/<prefix>")
@requires(Scope.ADMIN)
def revoke_key(prefix: str) -> Response:
    """Revokes a key for ever."""
    keys.revoke(services().database, prefix, actor=actor())
    services().keys.refresh()
    return Response(status=204)


def _issued(key: str, record: KeyRecord) -> Response:
    """The one answer with a secret; this worker knows the key from now on, the others when they are asked."""
    services().keys.refresh()
    return reply(IssuedKey(key=key, record=KeyView.of(record)), 201, {"Cache-Control": "no-store"})
