"""A gunicorn worker that stops without losing a connection, and waits for no client without end.

gunicorn's own resets connections that have just arrived, waits for idle ones as if they were requests, and answers what
it cannot read in HTML.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from app.errors import RequestTooSlow
from app.web.connection import LEFTOVER_BYTES, Connection
from app.web.refusals import as_http, refusal_of

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
    """Lets go of idle connections when it stops, of slow ones in time, and answers what it cannot read as a problem."""

    patience_s = 10.0
    """For a request's head, its body, and each piece of its answer."""

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

    def handle(self, listener: Any, client: Any, addr: Any) -> None:  # noqa: ANN401 - gunicorn's signature
        """Serves one connection."""
        super().handle(listener, Connection(client, self.patience_s), addr)

    def handle_request(self, listener_name: Any, req: Any, sock: Connection, addr: Any) -> None:  # noqa: ANN401 - gunicorn's signature
        """Answers one request, then reads what is left of its body.

        Raises:
            StopIteration: too much is left, or where the next request begins is not known.
        """
        sock.begin_body()
        super().handle_request(listener_name, req, sock, addr)
        if not _is_read(req.body):
            raise StopIteration
        sock.await_request()

    def handle_error(self, req: Any, client: Connection, addr: Any, exc: BaseException) -> None:  # noqa: ANN401, ARG002 - gunicorn's signature
        """Answers what could not be read."""
        if not isinstance(exc, Exception):  # it is to end
            return
        self.log.debug("refused a request of %s: %s", addr, exc)
        with suppress(OSError):
            client.sendall(as_http(refusal_of(exc)))
            client.close_gracefully()

    def notify(self) -> None:
        """Every second. A worker that stops, asked to or after CROUPIER_MAX_REQUESTS, does so once more at least."""
        super().notify()
        if not self.alive and not self._is_ending:
            self._is_ending = True
            gevent.spawn_later(_LINGER_S, self._end_waiting)

    def _end_waiting(self) -> None:
        for greenlet, timeout in list(self._waiting.items()):
            greenlet.kill(timeout, block=False)


def _is_read(body: Any) -> bool:  # noqa: ANN401 - gunicorn has no types
    """Reads the rest of a body; False when it does not come, or is too much."""
    left = LEFTOVER_BYTES
    try:
        while left > 0 and (piece := body.read(min(left, 64 * 1024))):
            left -= len(piece)
    except (ParseException, RequestTooSlow):
        return False
    return left > 0
