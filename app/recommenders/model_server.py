"""Model servers as a web worker knows them: kept connections, a circuit breaker and a retry budget for each URL."""

import http.client
import ssl
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from urllib3.util import wait_for_read

from app.outgoing import Connection, Guard, Refused, connect
from app.recommenders.breaker import CircuitBreaker, RetryBudget
from app.recommenders.values import RecommenderFailed

__all__ = ["Listed", "ModelServer", "ModelServers", "ServerFault"]

_LARGEST_ANSWER = 1024 * 1024
_MOST_AT_ONCE = 128
_MOST_IDLE = 32
_RETRIED = (502, 503, 504)


class Listed(msgspec.Struct, frozen=True):
    """An item of a model server's answer, with its score."""

    item_id: str
    score: float | None = None


class _Answer(msgspec.Struct, frozen=True):
    items: Annotated[list[str | Listed], Meta(max_length=100_000)]


class ServerFault(RecommenderFailed):
    """The model server gave no usable answer.

    Args:
        reason: for operators.
        again: whether the same call may well succeed at once.
        lasting: whether it says something about further calls too.
    """

    def __init__(self, reason: str, *, again: bool = False, lasting: bool = True) -> None:
        self.again = again
        self.lasting = lasting
        super().__init__(reason)


class ModelServers:
    """The model servers of this process, by URL. One that nothing refers to any more is gone, with its connections.

    Args:
        guard: where they may be; None: anywhere in the internet.
    """

    def __init__(self, guard: Guard | None = None) -> None:
        self.guard = guard or Guard()
        self._servers: weakref.WeakValueDictionary[str, ModelServer] = weakref.WeakValueDictionary()

    def at(self, url: str) -> "ModelServer":
        """The model server with this URL, the same for all who ask."""
        server = self._servers.get(url)
        if server is None:
            server = self._servers[url] = ModelServer(url, self.guard)
        return server


class ModelServer:
    """One model server; requests share it."""

    def __init__(self, url: str, guard: Guard) -> None:
        self._guard = guard
        self._url = urlsplit(url)
        self._target = self._url._replace(scheme="", netloc="", path=self._url.path or "/").geturl()
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else None
        self._headers = {
            "Host": self._url.netloc,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "croupier",
        }
        self._lock = threading.Lock()
        self._breaker = CircuitBreaker()
        self._retries = RetryBudget()
        self._at_once = 0
        self._idle: deque[Connection] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def ask(self, question: bytes, deadline: float, *, hurried: bool = False) -> list[str | Listed]:
        """What it answers to a question, at the latest at the deadline (`time.monotonic()` seconds).

        To be late when `hurried`, with less time than usual, says nothing about the server.

        Raises:
            ServerFault: it gave no usable answer, or was not asked because it failed often just before.
        """
        period = self._admit()
        try:
            answer = self._asked(question, deadline)
            self._record(period, ok=True)
        except ServerFault as fault:
            if not (hurried and isinstance(fault.__cause__, TimeoutError)):
                self._record(period, ok=not fault.lasting)
            raise
        finally:
            with self._lock:
                self._at_once -= 1
        return answer

    def _record(self, period: int, *, ok: bool) -> None:
        with self._lock:
            self._breaker.record(period, time.monotonic(), ok=ok)

    def _admit(self) -> int:
        with self._lock:
            if self._at_once >= _MOST_AT_ONCE:
                raise ServerFault(f"{_MOST_AT_ONCE} requests are waiting for the model server already")
            period = self._breaker.admit(time.monotonic())
            if period is None:
                raise ServerFault("the model server failed often and is left alone for a while (circuit breaker open)")
            self._at_once += 1
            self._retries.earn()
            return period

    def _asked(self, question: bytes, deadline: float) -> list[str | Listed]:
        try:
            return self._attempt(question, deadline)
        except ServerFault as fault:
            if not fault.again or time.monotonic() >= deadline or not self._may_retry():
                raise
        return self._attempt(question, deadline)

    def _may_retry(self) -> bool:
        with self._lock:
            return self._retries.spend()

    def _attempt(self, question: bytes, deadline: float) -> list[str | Listed]:
        connection = self._kept() or self._connected(deadline)
        reused = connection.exchanges > 0
        keep = False
        try:
            connection.begin(deadline)
            connection.request("POST", self._target, body=question, headers=self._headers)
            answer, keep = _read(connection.getresponse())
        except TimeoutError as error:
            raise ServerFault("the model server did not answer within the deadline") from error
        except (OSError, http.client.HTTPException) as error:
            # A kept connection may have been closed while it was idle: then nobody has read the question.
            stale = reused and isinstance(error, ConnectionError)
            raise ServerFault(f"the model server's answer broke off: {_words(error)}", again=stale) from error
        finally:
            self._let_go(connection, keep=keep)
        return _decoded(answer)

    def _kept(self) -> Connection | None:
        """The connection that was used last, if it is still good."""
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                # Idle, yet there is something to read: the other side has closed it.
                if not wait_for_read(connection, timeout=0):  # type: ignore[arg-type] # whatever has a fileno
                    return connection
                connection.hang_up()
        return None

    def _connected(self, deadline: float) -> Connection:
        try:
            return connect(self._url, self._tls, deadline, self._guard)
        except TimeoutError as error:
            raise ServerFault("no connection to the model server within the deadline") from error
        except OSError as error:
            again = not isinstance(error, Refused)
            raise ServerFault(f"no connection to the model server: {_words(error)}", again=again) from error

    def _let_go(self, connection: Connection, *, keep: bool) -> None:
        if keep and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.hang_up()


def _read(response: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """The body of a success, and whether the connection can be used again."""
    if response.status != 200:
        raise _refusal(response.status)
    media_type = response.headers.get_content_type()
    if media_type != "application/json":
        raise ServerFault(f"the model server answered with {media_type}, not with application/json")
    if (response.length or 0) > _LARGEST_ANSWER:
        raise ServerFault(f"the model server's answer has {response.length} bytes; at most {_LARGEST_ANSWER} are read")
    body = response.read(_LARGEST_ANSWER + 1)
    if len(body) > _LARGEST_ANSWER:
        raise ServerFault(f"the model server's answer is longer than {_LARGEST_ANSWER} bytes")
    if response.length:
        raise ServerFault(f"the model server's answer broke off {response.length} bytes before its end")
    return body, response.isclosed() and not response.will_close


def _refusal(status: int) -> ServerFault:
    """What another status than 200 means. 4xx blames this one question, but for 408 and 429."""
    if 300 <= status < 400:
        return ServerFault(f"the model server answered {status}: redirects are not followed")
    blames_question = 400 <= status < 500 and status not in {408, 429}
    return ServerFault(f"the model server answered {status}", again=status in _RETRIED, lasting=not blames_question)


def _decoded(body: bytes) -> list[str | Listed]:
    try:
        return msgspec.json.decode(body, type=_Answer).items
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ServerFault(f"the model server's answer has another shape: {error}") from error


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _close_all(connections: deque[Connection]) -> None:
    while connections:
        connections.pop().hang_up()
