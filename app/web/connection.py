"""A client's connection on which each request must arrive in time, and each answer be taken."""

import errno
import time
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]

from app.errors import RequestTooSlow

__all__ = ["LEFTOVER_BYTES", "Connection"]

LEFTOVER_BYTES = 8 * 1024 * 1024
"""What a refused request may still send before its connection is closed: a client that sends hears no answer."""
_LEFTOVER_S = 2.0


class Connection:
    """What gunicorn needs of a socket.

    Args:
        socket: of gevent's, so that waiting lets others work.
        patience_s: how long a request's head may take from its first byte on, how long its body, and how long
            a client may leave a piece of the answer untaken.
    """

    def __init__(self, socket: Any, patience_s: float) -> None:  # noqa: ANN401 - gevent has no types
        self._socket = socket
        self._patience_s = patience_s
        self._end: float | None = None  # when what is read now must be here; None: nothing has begun

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the socket's own
        return getattr(self._socket, name)

    def begin_body(self) -> None:
        """The head is here."""
        self._end = time.monotonic() + self._patience_s

    def await_request(self) -> None:
        """The request is over: the next one may begin when it likes."""
        self._end = None

    def recv(self, size: int) -> bytes:
        """Some bytes, as a socket's.

        Raises:
            RequestTooSlow: the request has taken too long.
        """
        if self._end is None:
            self._socket.settimeout(None)
            first: bytes = self._socket.recv(size)
            self._end = time.monotonic() + self._patience_s
            return first
        left = self._end - time.monotonic()
        if left <= 0:
            raise self._too_slow()
        self._socket.settimeout(left)
        try:
            more: bytes = self._socket.recv(size)
        except TimeoutError as error:
            raise self._too_slow() from error
        return more

    def sendall(self, data: bytes) -> None:
        """Sends all of it.

        Raises:
            ConnectionResetError: the client does not take it.
        """
        self._socket.settimeout(self._patience_s)
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client does not take its answer") from error

    def close_gracefully(self) -> None:
        """Closes it once the client has had its answer."""
        util.close_graceful(self._socket, timeout=_LEFTOVER_S, max_drain=LEFTOVER_BYTES)

    def _too_slow(self) -> RequestTooSlow:
        return RequestTooSlow(f"head and body may take {self._patience_s:g} s each; send them faster, or less at once")
