"""Arms answered by a model server, against a real one that misbehaves in every way."""

import gc
import gzip
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from app.outgoing import Guard
from app.recommenders import Answerer, Catalogue, Http, Item, ModelServers, Query, RecommenderFailed, Sources
from tests.app.recommenders.conftest import Ask
from tests.models import ModelServer, after, breaking_off, dripping, listing, model_server, raw

# How late an answer may be on a machine that is busy with other tests.
TOLERANCE_S = 0.25


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """A model server of this test's own."""
    with model_server() as server:
        yield server


@pytest.fixture
def servers() -> ModelServers:
    """A process's model servers."""
    return ModelServers(Guard(private=True))


def prepared(url: str, servers: ModelServers, catalogue: Catalogue | None = None, **parameters: Any) -> Answerer:
    """What answers for an arm with this URL."""
    patient = {"deadline_ms": 5000, **parameters}
    sources = Sources(servers=servers) if catalogue is None else Sources(servers=servers, catalogue=catalogue)
    return Http(url=url, **patient).prepare(sources)


def reason(answerer: Answerer, query: Query) -> str:
    """Why it fails."""
    with pytest.raises(RecommenderFailed) as failed:
        answerer(query)
    return failed.value.reason


def test_the_question_and_the_answer(models: ModelServer, servers: ModelServers) -> None:
    """Unit, context, k and seed are sent as JSON; items come with scores or without."""
    models.answers["/rank?model=2"] = listing([{"item_id": "a", "score": 0.5, "why": "more"}, "b", {"item_id": "c"}])
    query = Query(unit="ü", context={"page": {"n": [1, None]}}, k=3, seed=2**64 - 1)
    answer = prepared(models.url("/rank?model=2"), servers)(query)
    assert answer.items == (Item("a", 0.5), Item("b"), Item("c"))
    assert answer.payload is None
    assert models.questions == [{"unit": "ü", "context": {"page": {"n": [1, None]}}, "k": 3, "seed": 2**53 - 1}]
    assert models.headers["Content-Type"] == "application/json"
    assert models.headers.get_all("Host") == [f"127.0.0.1:{models.port}"]


def test_connections_are_kept(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """One connection serves one request after the other, of all arms and loads with this URL."""
    models.answers["/rank"] = listing(["a"])
    for _ in range(5):
        answerer = prepared(models.url(), servers)
        for _ in range(5):
            answerer(ask())
    assert (models.asked["/rank"], models.connections) == (25, 1)


def test_chunked_answers_are_read_and_keep_the_connection(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """Not every server knows the length beforehand."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
    models.answers["/rank"] = head + b'8\r\n{"items"\r\n7\r\n:["a"]}\r\n0\r\n\r\n'
    answerer = prepared(models.url(), servers)
    assert [answerer(ask()).items for _ in range(3)] == [(Item("a"),)] * 3
    assert models.connections == 1


def test_a_server_that_keeps_no_connection_is_asked_on_new_ones(
    models: ModelServer, servers: ModelServers, ask: Ask
) -> None:
    """With `Connection: close`, or an answer that ends with its connection, each question has one of its own."""
    models.answers["/close"] = breaking_off(listing(["a"], extra="Connection: close\r\n"))
    models.answers["/end"] = breaking_off(b'HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"items": ["a"]}')
    for path in ("/close", "/end"):
        answerer = prepared(models.url(path), servers)
        assert [answerer(ask()).items for _ in range(3)] == [(Item("a"),)] * 3
    assert models.connections == 6


def test_connections_of_servers_that_no_arm_has_any_more_are_closed(
    models: ModelServer, servers: ModelServers, ask: Ask
) -> None:
    """The last reference closes them; nothing has to be told."""
    gone = threading.Event()

    def reply(connection: socket.socket, _: dict[str, Any]) -> bool:
        connection.sendall(listing(["a"]))
        if connection.recv(1) == b"":
            gone.set()
        return False

    models.answers["/rank"] = reply
    answerer = prepared(models.url(), servers)
    answerer(ask())
    del answerer
    gc.collect()
    assert gone.wait(5)


def test_a_list_is_cut_to_k_and_repetitions_are_dropped(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """The first of equal items counts; of too many the first k; too few are taken as they are."""
    models.answers["/rank"] = listing(["a", "a", "b", {"item_id": "a", "score": 1}, "c", "d"])
    answerer = prepared(models.url(), servers)
    assert [item.item_id for item in answerer(ask(k=3)).items] == ["a", "b", "c"]
    assert [item.item_id for item in answerer(ask(k=9)).items] == ["a", "b", "c", "d"]


def test_unknown_items_are_dropped_unless_they_are_wanted(
    models: ModelServer, servers: ModelServers, catalogue: Catalogue, ask: Ask
) -> None:
    """A catalogue says what may be recommended; without one everything may."""
    models.answers["/rank"] = listing(["x", "a", "y", "b"])

    def ids(answerer: Answerer) -> list[str]:
        return [item.item_id for item in answerer(ask(k=2)).items]

    assert ids(prepared(models.url(), servers, catalogue)) == ["a", "b"]
    assert ids(prepared(models.url(), servers, catalogue, unknown_items="keep")) == ["x", "a"]
    assert ids(prepared(models.url(), servers)) == ["x", "a"]
    models.answers["/rank"] = listing(["x", "y"])
    assert "no items but 2 not in the catalogue" in reason(prepared(models.url(), servers, catalogue), ask())


FAULTS: dict[str, tuple[bytes, str]] = {
    "500": (listing(["a"], status="500 Internal Server Error"), "answered 500"),
    "404": (listing(["a"], status="404 Not Found"), "answered 404"),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
    "redirect": (raw(b"", status="302 Found", extra="Location: /elsewhere\r\n"), "redirects are not followed"),
    "HTML": (raw(b"<html>", kind="text/html"), "text/html, not with application/json"),
    "no JSON": (raw(b'{"items": ["a"'), "another shape"),
    "a list": (raw(b'["a"]'), "another shape"),
    "no list": (raw(b'{"items": "a"}'), "another shape"),
    "numbers": (listing([1, 2]), "another shape"),
    "null": (listing([None]), "another shape"),
    "no UTF-8": (raw(b'{"items": ["\xff"]}'), "another shape"),
    "deep": (raw(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b', "items": []}'), "another shape"),
    "gzip": (raw(gzip.compress(b'{"items": ["a"]}'), extra="Content-Encoding: gzip\r\n"), "another shape"),
    "nothing": (listing([]), "has no items"),
    "empty id": (listing([""]), "no item id"),
    "long id": (listing(["x" * 257]), "no item id"),
    "U+0000": (listing(["\0"]), "no item id"),
    "no HTTP": (b"what?\r\n\r\n", "broke off"),
    "long line": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", "broke off"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_none_fails_with_the_reason(
    models: ModelServer, servers: ModelServers, ask: Ask, fault: str
) -> None:
    """Whatever comes, the caller hears one kind of error, and operators a reason; and no redirect is followed."""
    answer, expected = FAULTS[fault]
    models.answers["/rank"] = breaking_off(answer)
    models.answers["/elsewhere"] = listing(["a"])
    assert expected in reason(prepared(models.url(), servers), ask())
    assert set(models.asked) == {"/rank"}


def test_ten_megabytes_are_not_read(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """With its length said the answer is refused at once; without, reading stops after a mebibyte."""
    body = b'{"items": ["' + b"x" * 10_000_000 + b'"]}'
    models.answers["/said"] = breaking_off(raw(body))
    models.answers["/unsaid"] = breaking_off(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body)
    assert "at most 1048576 are read" in reason(prepared(models.url("/said"), servers), ask())
    assert "longer than 1048576 bytes" in reason(prepared(models.url("/unsaid"), servers), ask())


@pytest.mark.parametrize(
    ("sent", "expected"), [(0, "broke off"), (8, "broke off"), (20, "text/plain"), (-1, "broke off")]
)
def test_a_connection_that_closes_in_the_middle(
    models: ModelServer, servers: ModelServers, ask: Ask, sent: int, expected: str
) -> None:
    """Before, within and after the headers, and one byte before the end: it fails, and is not asked again."""
    models.answers["/rank"] = breaking_off(listing(["a", "b"])[:sent])
    assert expected in reason(prepared(models.url(), servers), ask())
    assert models.asked["/rank"] == 1


SLOW = {
    "late": after(2, listing(["a"])),
    "dripping headers": dripping(listing(["a"])),
    "dripping body": dripping(listing(["a"] * 100), at_once=90),
    "dripping chunks": dripping(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\n \r\n" * 100,
        at_once=90,
    ),
    "endless interim answers": dripping(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}


@pytest.mark.parametrize("slowness", SLOW)
def test_the_deadline_holds_for_the_whole_answer(
    models: ModelServer, servers: ModelServers, ask: Ask, slowness: str
) -> None:
    """However a server spreads its bytes, the answer is here within the deadline or given up."""
    models.answers["/rank"] = SLOW[slowness]
    answerer = prepared(models.url(), servers, deadline_ms=150)
    began = time.monotonic()
    assert "within the deadline" in reason(answerer, ask())
    assert 0.14 < time.monotonic() - began < 0.15 + TOLERANCE_S


def test_a_fallback_has_less_time(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """The query's patience is the share of the deadline that may be used."""
    models.answers["/rank"] = after(2, listing(["a"]))
    answerer = prepared(models.url(), servers, deadline_ms=400)
    began = time.monotonic()
    reason(answerer, msgspec.structs.replace(ask(), patience=0.5))
    assert 0.19 < time.monotonic() - began < 0.2 + TOLERANCE_S


def test_the_deadline_holds_for_connecting(servers: ModelServers, ask: Ask) -> None:
    """A host that drops packets, as one whose queue of connections is full does, is given up too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(("127.0.0.1", port))
        began = time.monotonic()
        assert "within the deadline" in reason(prepared(f"http://127.0.0.1:{port}/", servers, deadline_ms=150), ask())
        assert 0.14 < time.monotonic() - began < 0.15 + TOLERANCE_S
        for one in waiting:
            one.close()


def test_a_name_that_does_not_exist_fails(servers: ModelServers, ask: Ask) -> None:
    """A host name without an address, or one that can be none, is a reason as any other."""
    for host in ("no-such-host.invalid", "x" * 70):
        assert "no connection" in reason(prepared(f"http://{host}/", servers), ask())


def test_a_refused_connection_is_tried_twice(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """A server that is being replaced may be back at once; one that is not has cost nothing but two refusals."""
    models.close()
    assert "no connection" in reason(prepared(models.url(), servers), ask())


def test_a_connection_closed_while_idle_is_replaced(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """A server may close what it kept at any time: requests do not notice."""
    models.answers["/rank"] = listing(["a"])
    answerer = prepared(models.url(), servers)
    for _ in range(3):
        assert answerer(ask()).items == (Item("a"),)
        models.hang_up()
        time.sleep(0.05)
    assert models.connections == 3


def test_a_kept_connection_that_breaks_is_retried(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """When the server closes just as it is asked, nobody has answered: the question goes out again."""
    turns = iter([True, False, True])

    def reply(connection: socket.socket, _: dict[str, Any]) -> bool:
        if next(turns):
            connection.sendall(listing(["a"]))
            return True
        return False

    models.answers["/rank"] = reply
    answerer = prepared(models.url(), servers)
    assert [answerer(ask()).items for _ in range(2)] == [(Item("a"),)] * 2
    assert (models.asked["/rank"], models.connections) == (3, 2)


@pytest.mark.parametrize(("status", "asked"), [(502, 2), (503, 2), (504, 2), (500, 1), (429, 1), (404, 1)])
def test_only_some_refusals_are_retried(
    models: ModelServer, servers: ModelServers, ask: Ask, status: int, asked: int
) -> None:
    """Those that say "not now", once; the others say "not so"."""
    models.answers["/rank"] = listing([], status=f"{status} No")
    assert f"answered {status}" in reason(prepared(models.url(), servers), ask())
    assert models.asked["/rank"] == asked


def test_retries_have_a_budget(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """A server that answers every fourth question with 503 is asked a tenth more, and ten times, at most."""
    turn = iter(range(1000))

    def reply(connection: socket.socket, _: dict[str, Any]) -> bool:
        connection.sendall(listing([], status="503 No") if next(turn) % 4 == 0 else listing(["a"]))
        return True

    models.answers["/rank"] = reply
    answerer = prepared(models.url(), servers)
    failed = 0
    for _ in range(300):
        try:
            answerer(ask())
        except RecommenderFailed:
            failed += 1
    retries = models.asked["/rank"] - 300
    assert 30 <= retries <= 40
    assert failed > 0


def test_the_breaker_opens_and_recovers(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """A server that only fails is left alone; a probe finds out when it answers again."""
    models.answers["/rank"] = listing([], status="500 No")
    answerer = prepared(models.url(), servers)
    reasons = [reason(answerer, ask()) for _ in range(30)]
    assert (models.asked["/rank"], reasons[-1].endswith("(circuit breaker open)")) == (10, True)
    again = prepared(models.url(), servers)
    assert "breaker open" in reason(again, ask())
    models.answers["/rank"] = listing(["a"])
    time.sleep(1.05)
    assert [again(ask()).items for _ in range(20)] == [(Item("a"),)] * 20


def test_refused_questions_do_not_open_the_breaker(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """Clients that send nonsense, or units that a model knows nothing for, must not close the arm to all others."""
    models.answers["/rank"] = listing([], status="422 No")
    models.answers["/none"] = listing([])
    for path, expected in (("/rank", "answered 422"), ("/none", "no items")):
        answerer = prepared(models.url(path), servers)
        assert all(expected in reason(answerer, ask()) for _ in range(30))


def test_fallbacks_in_a_hurry_do_not_open_the_breaker(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """A server that needs more than half its deadline answers its own arm, however often it was late for others."""
    models.answers["/rank"] = after(0.1, listing(["a"]))
    answerer = prepared(models.url(), servers, deadline_ms=1000)
    hurried = msgspec.structs.replace(ask(), patience=0.03)
    assert all("within the deadline" in reason(answerer, hurried) for _ in range(15))
    assert answerer(ask()).items == (Item("a"),)


def test_many_at_once(models: ModelServer, servers: ModelServers, ask: Ask) -> None:
    """Requests of many threads have a connection each, and more than 128 do not pile up on a slow server."""
    models.answers["/rank"] = after(0.5, listing(["a"]))
    answerer = prepared(models.url(), servers)

    def outcome(_: int) -> str:
        try:
            return answerer(ask()).items[0].item_id
        except RecommenderFailed as failed:
            return failed.reason

    with ThreadPoolExecutor(140) as threads:
        outcomes = list(threads.map(outcome, range(140)))
    answered = outcomes.count("a")
    assert 100 <= answered <= 139
    assert any("128 requests are waiting" in one for one in outcomes)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://models/rank", "file:///etc/passwd", "models:9000/rank", "//models/rank", "", "http://", "http://:80/",
        "http://user:secret@models/", "http://user@models/", "http://models:99999/", "http://models:0/",
        "http://models:x/", "http://[::1/", "http://models/a b", "http://models/\n", "http://modèles/", "http://m/#x",
        "http://models/" + "x" * 2000,
    ],
)  # fmt: skip
def test_urls_that_are_none_are_refused(url: str) -> None:
    """What could never be asked, or would put a password into the specification, is refused when it is sent."""
    with pytest.raises(msgspec.ValidationError, match=r"url|Expected `str` of length"):
        msgspec.convert({"kind": "http", "url": url}, Http)


@pytest.mark.parametrize("parameters", [{"deadline_ms": 0}, {"deadline_ms": 10_001}, {"unknown_items": "flag"}])
def test_parameters_out_of_range_are_refused(parameters: dict[str, Any]) -> None:
    """Deadlines are between a millisecond and ten seconds."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "http", "url": "http://models/", **parameters}, Http)
