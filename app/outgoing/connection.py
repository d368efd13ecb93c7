"""HTTP connections whose every operation ends at a deadline, however slowly the other side sends.

A socket's timeout bounds each read, so a server that sends a byte now and then holds up its client for ever. Here
each read and write is given what is left until the deadline. This works with threads and with gevent's alike.
Deadlines are `time.monotonic()` seconds.
"""

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from app.outgoing.guard import Guard

if TYPE_CHECKING:  # exists for type checkers only
    from _typeshed import WriteableBuffer

__all__ = ["Connection", "connect", "post"]


class Connection(http.client.HTTPConnection):
    """A connection that is open, for one exchange after the other."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__("")  # never connects by itself
        self._timed = _TimedSocket(sock)
        self.sock = self._timed
        self.exchanges = 0

    def begin(self, deadline: float) -> None:
        """Sets the end of what follows."""
        self._timed.deadline = deadline
        self.exchanges += 1

    def fileno(self) -> int:
        """For waiting on it."""
        return self._timed.fileno()

    def hang_up(self) -> None:
        """Closes it. `close` does not: `http.client` calls that before it reads an answer that is to be the last."""
        self.close()
        self._timed.hang_up()


def connect(url: SplitResult, tls: ssl.SSLContext | None, deadline: float, guard: Guard) -> Connection:
    """Connects, in a thread of its own: nothing else bounds how long looking up a name or a handshake takes.

    Raises:
        Refused: the guard does not allow it.
        TimeoutError: the deadline has passed. The thread goes on, and closes what it gets.
        OSError: it cannot be had.
    """
    future: Future[socket.socket] = Future()
    opening = partial(_open, url, tls, deadline, guard)
    threading.Thread(target=_tell, args=(opening, future), name="connect", daemon=True).start()
    try:
        return Connection(future.result(deadline - time.monotonic()))
    except TimeoutError:
        if future.cancel() or future.exception() is not None:
            raise
        return Connection(future.result())  # it came at the last moment


def post(url: str, body: bytes, headers: Mapping[str, str], guard: Guard, *, timeout_s: float) -> int:
    """One POST on a connection of its own; returns the status. Redirects are not followed, the body is not read.

    Raises:
        Refused: the guard does not allow it.
        OSError: there is no answer in time.
        HTTPException: the answer is not HTTP.
        ValueError: the URL is none.
    """
    parts, deadline = urlsplit(url), time.monotonic() + timeout_s
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    target = parts._replace(scheme="", netloc="", fragment="", path=parts.path or "/").geturl()
    connection = connect(parts, tls, deadline, guard)
    try:
        connection.begin(deadline)
        connection.request("POST", target, body=body, headers={"Host": parts.netloc, **headers})
        return connection.getresponse().status
    finally:
        connection.hang_up()


def _tell(opening: Callable[[], socket.socket], future: "Future[socket.socket]") -> None:
    """Opens a socket for whoever waits for it; closes it when nobody does any more."""
    try:
        sock = opening()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is none
        if future.set_running_or_notify_cancel():
            future.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
        return
    if future.set_running_or_notify_cancel():
        future.set_result(sock)
    else:
        sock.close()


def _open(url: SplitResult, tls: ssl.SSLContext | None, deadline: float, guard: Guard) -> socket.socket:
    host, port = url.hostname or "", url.port or (443 if tls else 80)
    sock = guard.connect(host, port, deadline)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock if tls is None else _encrypted(sock, tls, host)


def _encrypted(sock: socket.socket, tls: ssl.SSLContext, host: str) -> socket.socket:
    try:
        return tls.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


class _TimedSocket:
    """What `http.client` asks of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.deadline = 0.0

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(_left(self.deadline))
            rest = rest[self._sock.send(rest) :]

    def recv_into(self, buffer: "WriteableBuffer") -> int:
        self._sock.settimeout(_left(self.deadline))
        return self._sock.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # always "rb"
        return io.BufferedReader(_Reader(self))

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        pass  # see `Connection.hang_up`

    def hang_up(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, sock: _TimedSocket) -> None:
        self._timed = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        return self._timed.recv_into(buffer)


def _left(deadline: float) -> float:
    """Seconds until then.

    Raises:
        TimeoutError: none is left.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
