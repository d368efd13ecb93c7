"""The monitor process: all its roles at once. Each takes a lock of its own, so processes may share them."""

import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module

from app import alerting, avatars, monitor
from app.data_watch.windows import Widths
from app.recommenders import PythonFunctions
from app.settings import Settings
from app.store.database import Database
from monitoring.meter import Meter

__all__ = ["run"]

# What a recommender that hangs would have answered is not waited for.
_LAST_LOOK_S = 2.0


def run(settings: Settings, database: Database, *, stop: threading.Event, meter: Meter) -> None:
    """Works until `stop` is set. Nothing that does not answer, and no long window, holds up the house."""
    alert = partial(
        alerting.run,
        interval_s=settings.alert_interval_ms / 1000,
        alertmanagers=settings.alertmanagers,
        stop=stop,
        meter=meter,
    )
    # Only the monitor needs what this loads: scipy costs every other command half a second and 70 MB.
    data_watch = import_module("app.data_watch.role")
    widths = Widths(window_s=settings.data_window_s, reference_s=settings.data_reference_s)
    watch = partial(data_watch.run, widths=widths, stop=stop, meter=meter)
    functions = PythonFunctions.from_setting(settings.python_recommenders)
    look = partial(avatars.run, functions=functions, stop=stop)
    others = [_beside(run, database, daemon=False) for run in (alert, watch)]
    looker = _beside(look, database, daemon=True)
    interval_s, days = settings.monitor_interval_ms / 1000, settings.retention_days
    monitor.run(database, interval_s=interval_s, retention_days=days, stop=stop, meter=meter)
    for thread in others:
        thread.join()
    looker.join(_LAST_LOOK_S)


def _beside(run: "partial[None]", database: Database, *, daemon: bool) -> threading.Thread:
    """A thread that runs a role."""
    role: Callable[..., None] = run.func
    thread = threading.Thread(target=run, args=(database,), name=role.__module__, daemon=daemon)
    thread.start()
    return thread
