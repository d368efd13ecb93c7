"""The part of the monitor that looks at avatars. One is active, others stand by."""

import threading
from datetime import UTC, datetime

from app.avatars.looking import Looking
from app.recommenders import PythonFunctions
from app.roles import run_as_only_one
from app.serving.allocations import Allocations
from app.store.database import Database

__all__ = ["run"]

_AVATAR_LOCK = 0x61766174617273
# How often it is looked which avatars are due.
_INTERVAL_S = 1.0


def run(database: Database, functions: PythonFunctions, *, stop: threading.Event) -> None:
    """Looks at avatars until `stop` is set, and then waits for the look that it has begun."""
    looking = Looking(database, Allocations(database, functions=functions))

    def work() -> None:
        looking.look_at_due(datetime.now(UTC), stopping=stop.is_set)

    run_as_only_one(database, _AVATAR_LOCK, work, interval_s=_INTERVAL_S, stop=stop)
