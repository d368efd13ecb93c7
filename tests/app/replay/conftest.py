"""A small stand-in for the service: real HTTP on a real socket, arms dealt at random, faults on demand."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Body = dict[str, Any]


class StandIn:
    """What the stand-in was sent, and how it is to misbehave."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, str, Body]] = []
        self.keys: set[str | None] = set()
        self.decisions: dict[str, Body] = {}
        self.events: dict[str, Body] = {}
        self.away = 0  # how many calls are still to be answered by 503
        self.hang_up = 0  # how many calls are still to be cut off after they were carried out
        self.problem: tuple[int, Body] | None = None  # the answer to every call
        self.reason = "policy"
        self.at_decision: dict[int, Callable[[], None]] = {}  # what happens when so many were made
        self.lock = threading.Lock()

    def paths(self) -> list[str]:
        """Method and path of each call that was carried out."""
        return [f"{method} {path}" for method, path, _ in self.calls]

    def specification(self, experiment: str = "msweb") -> Body:
        """The experiment as it was put."""
        return next(body for method, path, body in self.calls if path == f"/v1/experiments/{experiment}")

    def answer(self, method: str, path: str, body: Body) -> tuple[int, Body]:
        """Status and body of the answer to a call."""
        with self.lock:
            if self.away > 0:
                self.away -= 1
                return 503, {"title": "The database did not answer in time", "status": 503}
            if self.problem:
                return self.problem
            self.calls.append((method, path, body))
            if path == "/v1/recommendations":
                self.at_decision.pop(len(self.decisions), lambda: None)()
                return 200, self._decide(body)
            if path in (many := {"/v1/recommendations/batch": self._decide_many, "/v1/feedback": self._feed_back}):
                return 200, many[path](body)
            if path.endswith("/arms"):
                arms = [{"arm": "similar", "probability_best": 0.97, "mean": 0.5}, {"arm": "random"}]
                return 200, {"experiment": "msweb", "arms": arms}
            return 200, {}

    def _decide_many(self, body: Body) -> Body:
        problem = {"title": "Conflict", "detail": "stopped"}
        return {"results": [problem if one["unit"] == "refuse-me" else self._decide(one) for one in body["requests"]]}

    def _decide(self, body: Body) -> Body:
        arms = self.specification(body["experiment"])["arms"]
        fresh = {
            "decision_id": body["decision_id"],
            "experiment": body["experiment"],
            "arm": random.choice(arms)["key"],
            "propensity": 1 / len(arms),
            "allocation": 1,
            "reason": self.reason,
            "items": [{"item_id": i, "score": 0.5} for i in ("1008", "1034", "1004")],
            "payload": None,
            "durability": "committed",
        }
        return self.decisions.setdefault(body["decision_id"], fresh)

    def _feed_back(self, body: Body) -> Body:
        if "events" not in body:
            return {"status": self._accept(body)}
        return {"results": [{"status": self._accept(event)} for event in body["events"]]}

    def _accept(self, event: Body) -> str:
        known = event["decision_id"] in self.events
        self.events[event["decision_id"]] = event
        return "duplicate" if known else "accepted"


class Handler(BaseHTTPRequestHandler):
    """Reads a call, lets the stand-in answer it."""

    protocol_version = "HTTP/1.1"
    stand_in: StandIn

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.stand_in.keys.add(self.headers.get("Authorization"))
        status, answer = self.stand_in.answer(self.command, self.path, json.loads(body or b"{}"))
        if status == 200 and self.stand_in.hang_up > 0:
            self.stand_in.hang_up -= 1
            self.close_connection = True
            return
        encoded = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    do_GET = do_PUT = do_POST = _handle  # noqa: N815 -- the library's names

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A running stand-in."""
    state = StandIn()
    handler = type("BoundHandler", (Handler,), {"stand_in": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
