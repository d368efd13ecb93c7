"""gunicorn's configuration: `gunicorn --config app/web/gunicorn_conf.py 'app.web.wsgi:build()'`.

Given as a file, not as a module: so the standard library is patched before anything of the application is imported.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402 - after the patch, like everything below
from typing import Any  # noqa: E402

from app.settings import WORKER_SLOT, Settings  # noqa: E402
from app.supervisor import stop_with_parent  # noqa: E402
from app.web.worker import Worker  # noqa: E402

_settings = Settings.from_environment()

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = type("Worker", (Worker,), {"patience_s": _settings.request_timeout_ms / 1000})
# A worker that is silent for so long is replaced.
timeout = 30
graceful_timeout = 10
keepalive = 75
max_requests = _settings.max_requests
max_requests_jitter = _settings.max_requests // 10
proc_name = "croupier-web"
loglevel = "warning"
control_socket_disable = True
# Heartbeat files in memory: on a slow disk a worker could look dead.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - a folder of the system


def when_ready(server: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's signature
    """Ends with the supervisor, if one started this server."""
    stop_with_parent()


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ANN401 - gunicorn has no types
    """Gives the worker the lowest free slot: the shard of the statistics that it increments."""
    taken = {other.croupier_slot for other in server.WORKERS.values()}
    worker.croupier_slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's signature
    """Tells the worker its slot."""
    os.environ[WORKER_SLOT] = str(worker.croupier_slot)


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ANN401, ARG001 - gunicorn's signature
    """Commits what is still open when a worker stops."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["croupier"].close()
