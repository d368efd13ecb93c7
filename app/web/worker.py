"""A gunicorn worker that stops without losing a connection.

gunicorn's own resets those that have just arrived, and waits for idle ones as if they were requests.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

__all__ = ["Worker"]

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

    def __init__(self, worker: "Worker", listener: Any, *, spawn: Pool, **_: Any) -> None:  # noqa: ANN401 - gevent has no types
        super().__init__(listener, handle=partial(worker.handle, _Listener(listener)), spawn=spawn)
        self.max_accept = 1  # the others are for the other workers

    def close(self) -> None:
        """Asked to stop, or stopping after a fault: then there is nothing to take."""
        with suppress(OSError):
            while not self.closed and not self.full() and (arrived := self.do_read()):
                self.do_handle(*arrived)
        super().close()


class Worker(GeventWorker):  # type: ignore[misc] # gunicorn has no types
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
