"""A model server for tests: each path misbehaves in its own way."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Reply = Callable[[socket.socket, dict[str, Any]], bool]


def listing(items: list[Any], *, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    """An answer with these items."""
    return raw(json.dumps({"items": items}).encode(), status=status, kind=kind, extra=extra)


def raw(body: bytes, *, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    """An answer with this body."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


class ModelServer:
    """A real server on a port of its own, with a thread for each connection.

    `answers` holds what each path does: the bytes to send, or a function that sends them and says whether the
    connection goes on. `asked` counts requests by path, `connections` all connections; `questions` holds the bodies,
    `headers` those of the last request.
    """

    def __init__(self, port: int = 0) -> None:
        self.answers: dict[str, bytes | Reply] = {}
        self.asked: Counter[str] = Counter()
        self.questions: list[dict[str, Any]] = []
        self.headers = http.client.HTTPMessage()
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = int(self._listening.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def url(self, path: str = "/rank") -> str:
        """Where a path is found."""
        return f"http://127.0.0.1:{self.port}{path}"

    def hang_up(self) -> None:
        """Closes the connections that are open."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def close(self) -> None:
        """Stops; what is asked from now on is refused."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(5)
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as reader:
            while self._serve_one(connection, reader):
                pass

    def _serve_one(self, connection: socket.socket, reader: Any) -> bool:
        first = reader.readline().decode()
        if not first:
            return False
        headers = http.client.parse_headers(reader)
        question = json.loads(reader.read(int(headers["Content-Length"])))
        path = first.split()[1]
        self.asked[path] += 1
        self.headers = headers
        self.questions.append(question)
        answer = self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        if callable(answer):
            return answer(connection, question)
        connection.sendall(answer)
        return True


def after(seconds: float, answer: bytes) -> Reply:
    """Answers late."""

    def reply(connection: socket.socket, _: dict[str, Any]) -> bool:
        time.sleep(seconds)
        connection.sendall(answer)
        return True

    return reply


def dripping(answer: bytes, *, at_once: int = 0, every_s: float = 0.02) -> Reply:
    """Sends the first bytes at once, and then one at a time."""

    def reply(connection: socket.socket, _: dict[str, Any]) -> bool:
        connection.sendall(answer[:at_once])
        for i in range(at_once, len(answer)):
            time.sleep(every_s)
            connection.sendall(answer[i : i + 1])
        return True

    return reply


def breaking_off(answer: bytes) -> Reply:
    """Sends this and closes the connection."""

    def reply(connection: socket.socket, _: dict[str, Any]) -> bool:
        connection.sendall(answer)
        return False

    return reply


@contextmanager
def model_server() -> Iterator[ModelServer]:
    """A model server that is gone afterwards."""
    server = ModelServer()
    try:
        yield server
    finally:
        server.close()
