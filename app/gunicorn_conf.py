"""gunicorn's configuration: `gunicorn --config app/gunicorn_conf.py 'app.wsgi:build()'`.

Given as a file, not as a module: so the standard library is patched before anything of the application is imported.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402 - after the patch, like everything below
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager, suppress  # noqa: E402
from functools import partial  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from gevent.server import StreamServer  # noqa: E402
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped] # noqa: E402

from app.settings import WORKER_SLOT, Settings  # noqa: E402
from app.supervisor import stop_with_parent  # noqa: E402

_settings = Settings.from_environment()
# A stopping worker closes the connections of what it still answers; those that are idle for so long after it stopped
# listening, it closes too.
_LINGER_S = 0.5


class _Listener:
    """What gunicorn asks of a listening socket that may be closed by the time that a connection is handled."""

    def __init__(self, listening: Any) -> None:  # noqa: ANN401 - gevent has no types
        self._name = listening.getsockname()

    def getsockname(self) -> Any:  # noqa: ANN401 - as the socket's own
        """The address that it listens on."""
        return self._name


class _Server(StreamServer):
    """Takes the connections that have arrived before it closes: the system would reset them."""

    def __init__(self, worker: "_Worker", listener: Any, *, spawn: Pool, **_: Any) -> None:  # noqa: ANN401 - gevent has no types
        super().__init__(listener, handle=partial(worker.handle, _Listener(listener)), spawn=spawn)
        self.max_accept = 1  # the others are for the other workers

    def close(self) -> None:
        """Asked to stop, or stopping after a fault: then there is nothing to take."""
        with suppress(OSError):
            while not self.closed and not self.full() and (arrived := self.do_read()):
                self.do_handle(*arrived)
        super().close()


class _Worker(GeventWorker):  # type: ignore[misc] # gunicorn has no types
    """Lets go of idle connections when it stops: gunicorn's own would wait for them as if they were requests."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - gunicorn's signature
        super().__init__(*arguments, **options)
        self._waiting: dict[Any, gevent.Timeout] = {}
        self._is_ending = False
        self.server_class = partial(_Server, self)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """Around the wait for a connection's next request."""
        here = gevent.getcurrent()
        with gevent.Timeout(self.cfg.keepalive, False) as timeout:  # type: ignore[arg-type] # noqa: FBT003
            self._waiting[here] = timeout
            try:
                yield
            finally:
                del self._waiting[here]

    def notify(self) -> None:
        """Every second. A worker that stops, asked to or after CROUPIER_MAX_REQUESTS, does so once more at least."""
        super().notify()
        if not self.alive and not self._is_ending:
            self._is_ending = True
            gevent.spawn_later(_LINGER_S, self._end_waiting)

    def _end_waiting(self) -> None:
        for greenlet, timeout in list(self._waiting.items()):
            greenlet.kill(timeout, block=False)


bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = _Worker
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
