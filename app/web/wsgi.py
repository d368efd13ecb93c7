"""What gunicorn loads in each worker, after the fork and after gevent has patched the standard library."""

import os

import psycopg2.extensions
from flask import Flask
from gevent.socket import wait_read, wait_write
from psycopg2.extensions import POLL_ERROR, POLL_OK, POLL_READ, POLL_WRITE

from app import create_app
from app.errors import ConfigurationError
from app.services import Services
from app.settings import WORKER_SLOT, Settings
from app.telemetry import telemetry_of
from monitoring.logs import configure

__all__ = ["build", "wait_with_gevent"]

# A database that hangs, or whose packets are dropped, keeps no timeout of its own, and libpq's are not kept in this
# mode. Longer than the longest statement of a web worker that does its work.
_PATIENCE_S = 10.0


def build() -> Flask:
    """The app of this worker, running."""
    settings = Settings.from_environment()
    configure(settings.log_level, role="web")
    if settings.database_url is None:
        raise ConfigurationError("A web worker needs DATABASE_URL; `croupier up` starts an embedded PostgreSQL")
    psycopg2.extensions.set_wait_callback(wait_with_gevent)
    shard, telemetry = int(os.environ[WORKER_SLOT]), telemetry_of(settings, "web")
    services = Services.build(settings, settings.database_url, shard=shard, telemetry=telemetry)
    services.start()
    return create_app(services)


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
