"""What is no HTTP, too large a head, or too slow: refused with the one problem shape, and nobody else notices."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.talking import MEMBERS, TWO_ARMS
from tests.running import ADMIN_KEY, Service, running_service

PATIENCE_S = 1.0
KEY = f"X-API-Key: {ADMIN_KEY}\r\n".encode()
DECIDE = b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\n" + KEY
BODY = b'{"experiment":"raw","unit":"u"}'
LENGTH = b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def impatient(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of one web worker that gives each head and each body a second."""
    folder, timeout = tmp_path_factory.mktemp("impatient"), str(int(PATIENCE_S * 1000))
    settings = {"CROUPIER_REQUEST_TIMEOUT_MS": timeout, "CROUPIER_WORKERS": "1"}
    with running_service(new_database(), folder, roles=("web",), **settings) as running:
        running.api().put("/v1/experiments/raw", TWO_ARMS).ok()
        yield running


def connect(service: Service) -> socket.socket:
    """A connection that waits for no answer for ever."""
    at = urlsplit(service.url)
    return socket.create_connection((at.hostname, at.port), timeout=20)


def answer_to(service: Service, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer on a connection of its own."""
    with connect(service) as connection:
        connection.sendall(sent)
        return read(connection)


def read(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next answer on a connection."""
    with connection.makefile("rb", buffering=0) as stream:
        status = int(stream.readline().split()[1])
        lines = iter(stream.readline, b"\r\n")
        headers = {n.strip().lower(): v.strip() for n, _, v in (line.decode().partition(":") for line in lines)}
        left, body = int(headers["content-length"]), b""
        while len(body) < left and (piece := stream.read(left - len(body))):
            body += piece
        return status, headers, body


def refused(answer: tuple[int, dict[str, str], bytes], status: int) -> dict[str, Any]:
    """The problem that an answer must be."""
    assert answer[0] == status, answer
    assert answer[1]["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer[2])
    assert found.keys() - {"errors"} == MEMBERS
    assert found["status"] == status
    assert (status in {400, 422}) == ("errors" in found)
    return found


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"G@T /livez HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (GET + b"no colon\r\n\r\n", 400),
        (GET + b"a b: c\r\n\r\n", 400),
        (GET + b"X: a\r\n b\r\n\r\n", 400),
        (GET + b"X: a\0b\r\n\r\n", 400),
        (DECIDE + b"Content-Length: -1\r\n\r\n", 400),
        (DECIDE + b"Content-Length: x\r\n\r\n", 400),
        (DECIDE + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (DECIDE + b"Content-Length: 5\r\n" + CHUNKED, 400),
        (DECIDE + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (DECIDE + CHUNKED + b"zz\r\n" + BODY, 400),
        (DECIDE + CHUNKED + b"5\r\nabcdefgh\r\n0\r\n\r\n", 400),
        (DECIDE + CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (GET + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (GET + b"".join(b"X-%d: a\r\n" % i for i in range(500)) + b"\r\n", 431),
        (GET + b"X: a\r\n" * 500_000, 431),
        (DECIDE + b"Expect: the-unexpected\r\n" + LENGTH + BODY, 417),
        (DECIDE + b"Content-Length: 2000000\r\n\r\n" + b" " * 2_000_000, 413),
        (DECIDE + b"Content-Type: text/plain\r\n" + LENGTH + BODY, 415),
        (DECIDE + LENGTH.replace(b"31", b"33") + BODY.replace(b'"u"', b'"\xff\xfe\xfd"'), 400),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else None,
)
def test_what_cannot_be_read_is_a_problem(sent: bytes, status: int, impatient: Service) -> None:
    """Malformed, oversized and unsupported requests get their status, JSON, and nothing is logged as a bug."""
    assert refused(answer_to(impatient, sent), status)["detail"]
    assert answer_to(impatient, DECIDE + LENGTH + BODY)[0] == 200
    assert "unexpected error" not in impatient.log.read_text()


@pytest.mark.parametrize(
    "begun",
    [b"GET /li", GET + b"X: ", DECIDE + LENGTH + BODY[:5], DECIDE + CHUNKED + b"1f\r\n{", b"\r\n"],
    ids=["line", "head", "body", "chunks", "nothing"],
)
def test_who_sends_slowly_is_told_so_in_time(begun: bytes, impatient: Service) -> None:
    """A byte now and then does not keep a connection: 408 after the time for head or body, then it is closed."""
    with connect(impatient) as connection:
        began = time.monotonic()
        connection.sendall(begun)
        connection.settimeout(0.1)
        while (slow := time.monotonic() - began) < 10 and not _readable(connection):
            connection.sendall(b"a")
        assert PATIENCE_S * 0.9 < slow < PATIENCE_S + 5
        connection.settimeout(10)
        refused(read(connection), 408)
        assert connection.recv(1) == b""


def test_slow_clients_hold_up_nobody(impatient: Service) -> None:
    """While 300 connections send nothing more, and nobody takes their answers, decisions are answered as ever."""
    slow = [connect(impatient) for _ in range(300)]
    for i, connection in enumerate(slow):
        connection.sendall((GET, DECIDE + LENGTH)[i % 2])
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: answer_to(impatient, DECIDE + LENGTH + BODY)[0], range(40)))
    assert answers == [200] * 40
    assert time.monotonic() - began < 10
    for connection in slow:
        refused(read(connection), 408)
        connection.close()


def test_the_answer_comes_before_the_rest_of_the_body(impatient: Service) -> None:
    """Who announces too much hears so at once, and is not waited for."""
    with connect(impatient) as connection:
        connection.sendall(DECIDE + b"Content-Length: 9000000000\r\n\r\n{")
        refused(read(connection), 413)
        assert connection.recv(1) == b""


def test_a_refused_body_is_not_the_next_request(impatient: Service) -> None:
    """What stands in a body that was refused unread is not done."""
    hidden = b"DELETE /v1/experiments/raw/arms/b HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n"
    sent = b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    with connect(impatient) as connection:
        connection.sendall(sent + hidden + GET + b"\r\n")
        refused(read(connection), 404)
        assert read(connection)[0] == 200
    assert impatient.api().get("/v1/experiments/raw").ok()["arms"][1]["state"] == "active"


def test_nothing_of_this_is_an_error_of_the_service(impatient: Service) -> None:
    """Its log has no traceback."""
    assert impatient.api().get("/readyz").status == 200
    logged = impatient.log.read_text()
    assert "Traceback" not in logged, logged[logged.index("Traceback") - 500 :][:3000]


def _readable(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
