"""What gunicorn loads in each worker, after the fork and after gevent has patched the standard library."""

import gc
import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any

import gevent
import psycopg2.extensions
from flask import Flask
from gevent.pool import Pool
from gevent.socket import wait_read, wait_write
from psycopg2.extensions import POLL_ERROR, POLL_OK, POLL_READ, POLL_WRITE

from app import create_app
from app.errors import ConfigurationError
from app.services import Services
from app.settings import WORKER_SLOT, Settings
from app.telemetry import telemetry_of
from monitoring.logs import configure

__all__ = ["build", "together", "wait_with_gevent"]

# A database that hangs, or whose packets are dropped, keeps no timeout of its own, and libpq's are not kept in this
# mode. Longer than the longest statement of a web worker that does its work.
_PATIENCE_S = 10.0
# Requests of one batch that wait for recommenders at the same time: an eighth of what a model server gets at once.
_TOGETHER = 16


def build() -> Flask:
    """The app of this worker, running."""
    settings = Settings.from_environment()
    configure(settings.log_level, role="web")
    if settings.database_url is None:
        raise ConfigurationError("A web worker needs DATABASE_URL; `croupier up` starts an embedded PostgreSQL")
    psycopg2.extensions.set_wait_callback(wait_with_gevent)
    services = Services.build(
        settings,
        settings.database_url,
        shard=int(os.environ[WORKER_SLOT]),
        telemetry=telemetry_of(settings, "web"),
        together=together,
        aside=gevent.get_hub().threadpool.apply,  # a thread of the system's: gevent's own would not let others run
    )
    app = create_app(services)
    # What is there now stays. Looking through it for garbage takes 50 ms, and loading a catalogue makes Python look.
    gc.collect()
    gc.freeze()
    services.start()
    return app


def together(calls: Sequence[Callable[[], Any]]) -> Sequence[Any]:
    """Makes calls that mostly wait, some at a time; each knows the request that it belongs to, as its caller does."""
    here = [(copy_context(), call) for call in calls]  # a context can be entered once only
    return Pool(_TOGETHER).map(lambda one: one[0].run(one[1]), here)


def wait_with_gevent(connection: psycopg2.extensions.connection) -> None:
    """Lets other requests run while the driver waits for the database (psycopg's documented green mode).

    Raises:
        psycopg2.OperationalError: nothing came for long; psycopg2 then gives the connection up.
    """
    silence = psycopg2.OperationalError(f"nothing came from the database for {_PATIENCE_S} s")
    while (state := connection.poll()) != POLL_OK:
        if state == POLL_READ:
            wait_read(connection.fileno(), timeout=_PATIENCE_S, timeout_exc=silence)
        elif state == POLL_WRITE:
            wait_write(connection.fileno(), timeout=_PATIENCE_S, timeout_exc=silence)
        elif state == POLL_ERROR:
            raise psycopg2.OperationalError("the connection failed while waiting")
