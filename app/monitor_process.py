"""The monitor process: all its roles at once. Each takes a lock of its own, so processes may share them."""

import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module

from app import alerting, avatars, monitor
from app.batch import role as batch
from app.data_watch.windows import Widths
from app.recommenders import ModelServers, PythonFunctions
from app.settings import Settings
from app.store.database import Database
from monitoring.meter import Meter

__all__ = ["run"]

# How long the process waits, when it ends, for a recommender that hangs and a query that takes long.
_PATIENCE_S = 3.0


def run(settings: Settings, database: Database, *, stop: threading.Event, meter: Meter) -> None:
    """Works until `stop` is set. Nothing that does not answer, and no long window, holds up the house."""
    alert = partial(
        alerting.run,
        interval_s=settings.alert_interval_ms / 1000,
        alertmanagers=settings.alertmanagers,
        runbook_url=settings.runbook_url,
        guard=settings.outgoing_guard,
        stop=stop,
        meter=meter,
    )
    # Only the monitor needs what this loads: scipy costs every other command half a second and 70 MB.
    data_watch = import_module("app.data_watch.role")
    widths = Widths(window_s=settings.data_window_s, reference_s=settings.data_reference_s)
    watch = partial(data_watch.run, widths=widths, stop=stop, meter=meter)
    measure = partial(batch.run, interval_s=settings.batch_interval_ms / 1000, stop=stop, meter=meter)
    look = partial(
        avatars.run,
        functions=PythonFunctions.from_setting(settings.python_recommenders),
        servers=ModelServers(settings.outgoing_guard),
        stop=stop,
    )
    waited_for = [_beside(role, database, daemon=False) for role in (alert, watch)]
    # What these have not finished, the next process begins anew.
    others = [_beside(role, database, daemon=True) for role in (measure, look)]
    interval_s, days = settings.monitor_interval_ms / 1000, settings.retention_days
    monitor.run(database, interval_s=interval_s, retention_days=days, stop=stop, meter=meter)
    for thread in waited_for:
        thread.join()
    last = time.monotonic() + _PATIENCE_S
    for thread in others:
        thread.join(max(0.0, last - time.monotonic()))


def _beside(role: "partial[None]", database: Database, *, daemon: bool) -> threading.Thread:
    """A thread that runs a role."""
    function: Callable[..., None] = role.func
    thread = threading.Thread(target=role, args=(database,), name=function.__module__, daemon=daemon)
    thread.start()
    return thread
