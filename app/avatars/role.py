"""The part of the monitor that looks at avatars. One is active, others stand by."""

import threading
from datetime import UTC, datetime

from app.avatars.looking import Looking
from app.recommenders import ModelServers, PythonFunctions
from app.roles import run_as_only_one
from app.serving.allocations import Allocations
from app.store.database import Database

__all__ = ["run"]

_AVATAR_LOCK = 0x61766174617273
# How often it is looked which avatars are due.
_INTERVAL_S = 1.0


def run(database: Database, functions: PythonFunctions, servers: ModelServers, *, stop: threading.Event) -> None:
    """Looks at avatars until `stop` is set, and then waits for the look that it has begun.

    Args:
        database: where avatars and their experiments are.
        functions: that recommenders may call.
        servers: that recommenders may ask.
        stop: ends it.
    """
    looking = Looking(database, Allocations(database, functions=functions, servers=servers))

    def work() -> None:
        looking.look_at_due(datetime.now(UTC), stopping=stop.is_set)

    run_as_only_one(database, _AVATAR_LOCK, work, interval_s=_INTERVAL_S, stop=stop)
