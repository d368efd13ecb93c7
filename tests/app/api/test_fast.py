"""Fast routes answer as Flask's views do, to the byte; batches; answers before the commit."""

import http.client
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from flask import Flask

from app import create_app
from app.api import FAST
from app.api.fast import FastRoutes
from app.auth import Scope, new_key
from app.keys import Wanted, add_key
from app.services import Services
from app.settings import Settings
from app.store.database import Database
from app.store.decisions import DecisionRow
from tests.app.building import disagreements, id_at, now, put, query, specification
from tests.running import ADMIN_KEY, Service, until

DECIDE, BATCH, FEEDBACK, EXPOSURES = FAST
LIMIT = 1024 * 1024


class Answered(NamedTuple):
    """An answer as it goes over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


class Worker(NamedTuple):
    """A web worker's app, in this process, with an experiment "home" and keys by scope."""

    app: Flask
    services: Services
    keys: dict[str, str]

    @property
    def flask(self) -> Any:
        """The app without its fast routes."""
        fast = self.app.wsgi_app
        assert isinstance(fast, FastRoutes)
        return fast._otherwise

    def headers(self, path: str) -> dict[str, str]:
        """Those that a good client sends."""
        return {"HTTP_AUTHORIZATION": f"Bearer {self.keys[str(FAST[path].scope)]}"}

    def post(self, path: str, value: object) -> Answered:
        """What a good client is answered."""
        return call(self.app.wsgi_app, environ(path, json.dumps(value).encode(), **self.headers(path)))


@pytest.fixture(scope="module")
def worker(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One that is used by all tests of this file."""
    put(shared_database, "home", specification("a", "b"))
    put(shared_database, "waiting", specification("a", "b"), state="draft")
    put(shared_database, "queued", specification("a", "b", ack="queued"))
    keys = {str(scope): new_key() for scope in Scope}
    with shared_database.transaction() as connection:
        for scope in Scope:
            add_key(connection, keys[str(scope)], Wanted(name="test", scopes=(scope,)), actor="test")
    url = shared_database.engine.url.render_as_string(hide_password=False)
    settings = Settings(commit_budget_ms=5_000, data_dir=tmp_path_factory.mktemp("worker"))
    services = Services.build(settings, url)
    services.allocations.refresh()
    services.keys.refresh()
    yield Worker(create_app(services), services, keys)
    services.close()


def environ(path: str, body: bytes, **more: str) -> dict[str, Any]:
    """A POST request."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **more,
    }


def chunked(path: str, body: bytes, **more: str) -> dict[str, Any]:
    """The same, sent in chunks: the server says where the body ends, not the client."""
    made = environ(path, body, HTTP_TRANSFER_ENCODING="chunked", **more) | {"wsgi.input_terminated": True}
    del made["CONTENT_LENGTH"]
    return made


def call(application: Any, request: dict[str, Any]) -> Answered:
    """What a WSGI application answers."""
    said: list[Any] = []

    def start_response(status: str, headers: Iterable[tuple[str, str]], _: object = None) -> None:
        said.extend((status, dict(headers)))

    body = b"".join(application(request, start_response))
    # The words after the status differ in their case, and mean nothing.
    return Answered(int(said[0][:3]), said[1], body)


def wanted(**more: Any) -> dict[str, Any]:
    """A request for a decision with an id of its own."""
    return {"experiment": "home", "unit": "u", "decision_id": str(id_at(now())), **more}


def test_scopes_are_those_of_the_views(worker: Worker) -> None:
    """Each fast route is also a view, and asks for the same scope."""
    adapter = worker.app.url_map.bind("localhost")
    for path, route in FAST.items():
        endpoint, _ = adapter.match(path, method="POST")
        view: Any = worker.app.view_functions[endpoint]
        assert view.scope is route.scope


GOOD = {
    "decision": (DECIDE, wanted(k=3, context={"device": "ios"})),
    "decision of a unit with other letters": (DECIDE, wanted(unit="Ünïcøde 🎲")),
    "batch": (BATCH, {"requests": [wanted(), wanted(unit="v"), {"experiment": "nothing", "unit": "u"}, 7]}),
    "empty batch": (BATCH, {"requests": []}),
    "events": (FEEDBACK, {"events": [{"decision_id": wanted()["decision_id"], "value": 1}, {"value": 1}]}),
    "event": (FEEDBACK, {"decision_id": wanted()["decision_id"], "value": 1}),
    "exposures": (EXPOSURES, {"exposures": [{"decision_id": wanted()["decision_id"]}, {}]}),
    "exposure": (EXPOSURES, {"decision_id": wanted()["decision_id"]}),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_request_is_answered_the_same(worker: Worker, name: str) -> None:
    """With the length said, sent in chunks, with either header for the key, with a query: the same bytes."""
    path, value = GOOD[name]
    body, key = json.dumps(value).encode(), worker.headers(path)
    other = {"HTTP_X_API_KEY": worker.keys[str(FAST[path].scope)]}
    call(worker.flask, environ(path, body, **key))  # the first of its id; the others are repetitions
    expected = call(worker.flask, environ(path, body, **key))
    assert expected.status == 200
    for request in (environ(path, body, **key), environ(path, body, **other), chunked(path, body, **key)):
        assert call(worker.app.wsgi_app, request) == expected
    assert call(worker.app.wsgi_app, environ(path, body, QUERY_STRING="a=b", **key)) == expected


BAD_BODIES: dict[str, tuple[int, bytes]] = {
    "nothing": (400, b""),
    "no JSON": (400, b"{"),
    "no UTF-8": (400, b"\xff\xfe"),
    "no object": (422, b"[]"),
    "no member": (422, b"{}"),
    "another member": (422, b'{"experiment": "home", "unit": "u", "colour": 1, "events": 3, "requests": 4}'),
    "a character that cannot be stored": (422, b'{"experiment": "home", "unit": "\\u0000", "events": 1}'),
    "nested without end": (422, b'{"context": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "not a number": (422, b'{"value": NaN, "k": NaN, "requests": NaN}'),
    "too large": (413, b" " * (LIMIT + 1)),
}


@pytest.mark.parametrize("path", FAST)
@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_answered_the_same(worker: Worker, path: str, name: str) -> None:
    """Whether its length is said or it comes in chunks."""
    status, body = BAD_BODIES[name]
    key = worker.headers(path)
    expected = call(worker.flask, environ(path, body, **key))
    assert expected.status == status, expected
    assert expected.headers["Content-Type"] == "application/problem+json"
    assert call(worker.app.wsgi_app, environ(path, body, **key)) == expected
    assert call(worker.app.wsgi_app, chunked(path, body, **key)) == expected


BAD_REQUESTS = {
    "unknown experiment": (404, {"experiment": "nothing", "unit": "u"}),
    "not running": (409, {"experiment": "waiting", "unit": "u"}),
    "an id of another version": (422, wanted(decision_id="c4b2a5a0-3b1e-4d1a-9c53-7f1f0f3f1e11")),
    "an id of the future": (422, wanted(decision_id="0fffffff-ffff-7000-8000-000000000000")),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_refused_decision_is_answered_the_same(worker: Worker, name: str) -> None:
    """Unknown, not being served, impossible ids."""
    status, value = BAD_REQUESTS[name]
    body = json.dumps(value).encode()
    expected = call(worker.flask, environ(DECIDE, body, **worker.headers(DECIDE)))
    assert expected.status == status, expected
    assert call(worker.app.wsgi_app, environ(DECIDE, body, **worker.headers(DECIDE))) == expected


def test_the_same_id_for_another_unit_is_answered_the_same(worker: Worker) -> None:
    """409, by either way."""
    first = wanted()
    assert worker.post(DECIDE, first).status == 200
    body = json.dumps({**first, "unit": "another"}).encode()
    expected = call(worker.flask, environ(DECIDE, body, **worker.headers(DECIDE)))
    assert expected.status == 409
    found = call(worker.app.wsgi_app, environ(DECIDE, body, **worker.headers(DECIDE)))
    assert found == expected


@pytest.mark.parametrize("path", FAST)
def test_who_may_not_is_answered_the_same(worker: Worker, path: str) -> None:
    """Without a key, with an unknown or odd one, with one of another scope."""
    keys: list[tuple[int, dict[str, str]]] = [
        (401, {}),
        (401, {"HTTP_AUTHORIZATION": "Bearer unknown"}),
        (401, {"HTTP_AUTHORIZATION": "Basic dXNlcjpwYXNz"}),
        (401, {"HTTP_X_API_KEY": "ck_00000000.\xff"}),
        (403, {"HTTP_X_API_KEY": worker.keys["read"]}),
    ]
    for status, headers in keys:
        expected = call(worker.flask, environ(path, b"{}", **headers))
        assert expected.status == status
        found = call(worker.app.wsgi_app, environ(path, b"{}", **headers))
        assert found == expected


@pytest.mark.parametrize(
    "odd",
    [
        {"CONTENT_LENGTH": str(LIMIT + 1)},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-5"},
        {"CONTENT_LENGTH": "5x"},
        {"CONTENT_LENGTH": "9" * 30},
        {"QUERY_STRING": "x=%00"},
        {"REQUEST_METHOD": "GET"},
        {"REQUEST_METHOD": "PUT"},
        {"REQUEST_METHOD": "OPTIONS"},
        {"CONTENT_TYPE": "text/plain"},
        {"CONTENT_TYPE": "multipart/form-data; boundary=x"},
    ],
    ids=str,
)
def test_odd_requests_are_answered_the_same(worker: Worker, odd: dict[str, str]) -> None:
    """Lengths that are missing or wrong, other methods and types, queries."""
    body = json.dumps(wanted()).encode()
    call(worker.flask, environ(DECIDE, body, **worker.headers(DECIDE)))
    expected = call(worker.flask, environ(DECIDE, body, **{**worker.headers(DECIDE), **odd}))
    found = call(worker.app.wsgi_app, environ(DECIDE, body, **{**worker.headers(DECIDE), **odd}))
    assert found == expected


def test_a_fault_of_ours_is_answered_the_same(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug is a problem of status 500 that shows nothing of its inside."""

    def fail(_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(worker.services.decisions, "record", fail)
    body = json.dumps(wanted()).encode()
    expected = call(worker.flask, environ(DECIDE, body, **worker.headers(DECIDE)))
    found = call(worker.app.wsgi_app, environ(DECIDE, body, **worker.headers(DECIDE)))
    assert found == expected
    assert found.json["status"] == 500
    assert b"secret" not in found.body


def recorded(database: Database, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are in the database."""
    text = "SELECT decision_id::text FROM decisions WHERE decision_id = ANY(CAST(:ids AS uuid[]))"
    return {i for (i,) in query(database, text, ids=list(ids))}


def test_a_batch_of_a_thousand_is_answered_in_order(worker: Worker, shared_database: Database) -> None:
    """Each request has its own decision, at its own place; all are committed."""
    requests = [wanted(unit=f"u{n}") for n in range(1000)]
    results = worker.post(BATCH, {"requests": requests}).json["results"]
    assert [r["decision_id"] for r in results] == [r["decision_id"] for r in requests]
    assert {r["durability"] for r in results} == {"committed"}
    assert recorded(shared_database, [r["decision_id"] for r in requests]) == {r["decision_id"] for r in requests}
    again = worker.post(BATCH, {"requests": requests}).json["results"]
    assert again == results
    assert disagreements(shared_database) == []


def test_a_batch_of_more_is_refused(worker: Worker, shared_database: Database) -> None:
    """As a whole, and nothing of it is decided."""
    requests = [wanted() for _ in range(1001)]
    answer = worker.post(BATCH, {"requests": requests})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "#/requests")
    assert recorded(shared_database, [r["decision_id"] for r in requests]) == set()


def test_what_is_wrong_with_one_of_a_batch_is_its_own_result(worker: Worker, shared_database: Database) -> None:
    """A problem stands where the request stood; the others are decided."""
    good = [wanted() for _ in range(3)]
    bad = [({"experiment": "nothing", "unit": "u"}, 404), ({"experiment": "home"}, 422), ([], 422)]
    bad += [({"experiment": "waiting", "unit": "u"}, 409), (wanted(k=0), 422)]
    mixed = [good[0], *(value for value, _ in bad[:3]), good[1], *(value for value, _ in bad[3:]), good[2]]
    results = worker.post(BATCH, {"requests": mixed}).json["results"]
    assert [r.get("status", 200) for r in results] == [200, 404, 422, 422, 200, 409, 422, 200]
    assert [results[n]["decision_id"] for n in (0, 4, 7)] == [r["decision_id"] for r in good]
    assert all(r["instance"] == BATCH and r["title"] for r in results if "status" in r)
    assert len(recorded(shared_database, [r["decision_id"] for r in good])) == 3


def test_the_same_id_twice_in_one_batch_is_one_decision(worker: Worker, shared_database: Database) -> None:
    """Both get the first answer; a third request with that id and another unit gets a conflict."""
    one = wanted()
    results = worker.post(BATCH, {"requests": [one, wanted(), one, {**one, "unit": "another"}]}).json["results"]
    assert results[0] == results[2]
    assert results[3]["status"] == 409
    assert len(recorded(shared_database, [one["decision_id"]])) == 1
    assert disagreements(shared_database) == []


def test_a_queued_decision_is_answered_first_and_arrives(worker: Worker, shared_database: Database) -> None:
    """Alone and in a batch: `queued` is what is promised, and the row comes."""
    requests = [wanted(experiment="queued") for _ in range(30)]
    answers = [worker.post(DECIDE, request).json for request in requests[:10]]
    answers += worker.post(BATCH, {"requests": requests[10:]}).json["results"]
    assert {answer["durability"] for answer in answers} == {"queued"}
    ids = [request["decision_id"] for request in requests]
    until(lambda: len(recorded(shared_database, ids)) == 30, "the queued rows", 5)


def test_a_batch_of_which_one_must_be_committed_is_committed(worker: Worker) -> None:
    """The stricter experiment decides for all."""
    requests = [wanted(experiment="queued"), wanted()]
    results = worker.post(BATCH, {"requests": requests}).json["results"]
    assert [result["durability"] for result in results] == ["committed", "committed"]


def test_an_orderly_end_loses_no_queued_decision(worker: Worker, shared_database: Database, tmp_path: Path) -> None:
    """A worker that is closed right after it answered has recorded everything."""
    url = shared_database.engine.url.render_as_string(hide_password=False)
    services = Services.build(Settings(commit_budget_ms=5_000, data_dir=tmp_path), url)
    services.allocations.refresh()
    services.keys.refresh()
    stopping = Worker(create_app(services), services, worker.keys)
    requests = [wanted(experiment="queued") for _ in range(200)]
    assert {stopping.post(DECIDE, request).json["durability"] for request in requests} == {"queued"}
    services.close()
    ids = [request["decision_id"] for request in requests]
    kept = recorded(shared_database, ids)
    spooled = list(tmp_path.rglob("*.spool"))
    assert kept == set(ids)
    assert spooled == []


def test_rows_are_as_a_batch_and_alone(worker: Worker) -> None:
    """Apart from its durability nothing tells whether a decision was asked for alone."""
    one = wanted(experiment="queued", unit="same")
    alone = worker.post(DECIDE, one).json
    (together,) = worker.post(BATCH, {"requests": [one]}).json["results"]
    assert alone == together
    assert alone.keys() <= {*DecisionRow.__struct_fields__, "durability"}


def test_a_refused_request_leaves_its_connection_usable(service: Service) -> None:
    """Over real HTTP: what is refused before its body was read does not spoil the next request of its connection."""
    api = service.api()
    api.put("/v1/experiments/connections", {"arms": [{"key": "a"}]}).ok()
    api.close()
    body = json.dumps({"experiment": "connections", "unit": "u", "context": {"x": "y" * 100_000}})
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=10)
    for key, status in (("wrong", 401), (ADMIN_KEY, 200)) * 3:
        connection.request("POST", DECIDE, body, {"X-API-Key": key})
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
        connection.request("POST", DECIDE, iter([body.encode()]), {"X-API-Key": key}, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (status, True)
    connection.close()
