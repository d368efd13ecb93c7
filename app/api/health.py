"""`/livez` and `/readyz`: is the process alive, and can it do its work."""

import time

from flask import Blueprint, Response

from app.api.answers import Liveness, Readiness
from app.api.http import open_to_all, reply, services
from app.api.operations import describes
from app.errors import CroupierError

__all__ = ["blueprint"]

blueprint = Blueprint("health", __name__)


@blueprint.get("/livez")
@open_to_all
@describes(Liveness)
def livez() -> Response:
    """Alive: it answers. The database is not asked, so its absence restarts nobody."""
    return reply({"status": "alive"})


@blueprint.get("/readyz")
@open_to_all
@describes({200: Readiness, 503: Readiness})
def readyz() -> Response:
    """Ready: it can answer decisions. Shows every dependency by name; one may be down without making it unready."""
    checks = {"database": _database(), "allocations": _allocations(), "spool": _spool()}
    # Without the database the spool serves; without either nothing does.
    ready = checks["allocations"]["ok"] and (checks["database"]["ok"] or checks["spool"]["ok"])
    return reply({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)


def _database() -> dict[str, object]:
    if services().health.away:  # recovery is looking for it: to ask again might take long
        return {"ok": False, "detail": "away"}
    try:
        services().database.ping()
    except CroupierError as error:
        return {"ok": False, "detail": error.detail}
    return {"ok": True}


def _allocations() -> dict[str, object]:
    """Serving goes on from old allocations, so only having none is a reason to send traffic elsewhere."""
    refreshed_at = services().allocations.refreshed_at
    if refreshed_at is None:
        return {"ok": False, "detail": "not loaded yet"}
    return {"ok": True, "age_s": round(time.monotonic() - refreshed_at, 3)}


def _spool() -> dict[str, object]:
    """Not ok when it could not take anything more."""
    used, limit = services().spool.size_bytes(), services().settings.spool_limit_mb * 1_000_000
    return {"ok": used < limit, "bytes": used}
