"""Whatever is sent, the answer is no server error, and afterwards everything still adds up."""

import json
import logging
import os
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.acceptance.talking import EAGER, MEMBERS, TWO_ARMS, decide, fresh_id, side_by_side
from tests.running import Api, Service

log = logging.getLogger(__name__)

# `make faults` sends 100,000, from several clients at a time.
LONG = os.environ.get("CROUPIER_FAULTS") == "long"
REQUESTS, CLIENTS = (12_500, 8) if LONG else (1500, 1)
JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 1e-320, 1e308, -1e100, 1e200,
    "", " ", "a", "\0", "é", "🎰", "a/b", "x" * 65, "x" * 300, "x" * 5000, "NaN", "null", "a", "sum", "-1",
    "fixed", "popular", "similar", "2026-11-24T09:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "00000000-0000-7000-8000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
    [], {}, [[]], [None], [1, "a", {}], {"": 1}, {"kind": "fixed"}, {"kind": "payload", "value": 10**25},
    {"a": 1, "b": 0},
]  # fmt: skip
RAW = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"\\ud800"', b'"\xff"', b"01", b"[" * 2000, b'"\\u0000"', b"\0"]


class Fuzzer:
    """Requests that are almost right."""

    def __init__(self, seed: int, decisions: list[str]) -> None:
        self.random = random.Random(seed)
        self.decisions = decisions

    def request(self) -> tuple[str, str, bytes | None]:
        """Method, path and body of the next request."""
        method, path, body = self.random.choice(self._valid())
        if self.random.random() < 0.15:
            path = self._mutated_path(path)
        if body is None:
            return method, path, None
        for _ in range(self.random.choice((0, 1, 1, 2, 3))):
            body = self._mutated(body)
        return method, path, self._mutated_bytes(json.dumps(body).encode())

    def content_type(self) -> str:
        """Of the next request: mostly JSON."""
        return self.random.choice(["application/json"] * 18 + ["", "text/plain", "application/yaml", "text/csv", "é/?"])

    def _valid(self) -> list[tuple[str, str, Any]]:
        pick = self.random.choice
        experiment = f"/v1/experiments/fuzz-{self.random.randrange(4)}"
        decision = pick(self.decisions)
        event = {
            "decision_id": decision, "value": pick((0, 1)), "metric": pick(("click", "revenue")), "item_id": "i1",
            "position": 1, "event_id": f"e{self.random.randrange(9)}", "occurred_at": "2026-11-24T09:00:00Z",
        }  # fmt: skip
        specification: dict[str, Any] = {
            "arms": [
                {"key": "a", "recommender": {"kind": "popular", "half_life_s": 60}, "prior": {"alpha": 2, "beta": 3}},
                {"key": "b", "recommender": {"kind": "static", "items": ["i1", "i2"]}, "state": "active"},
                {"key": "c", "recommender": {"kind": "payload", "value": {"x": [1]}}},
            ],
            "control": "a",
            "policy": pick(({"kind": "thompson_sampling", "min_propensity": 0.1, "warm_up": 0},
                            {"kind": "epsilon_greedy", "epsilon": 0.1},
                            {"kind": "fixed", "probabilities": {"a": 0.5, "b": 0.5, "c": 0}})),
            "reward": {"metric": "click", "missing": pick(("default", "explicit")), "window_s": 1, "late_until_s": 9e5},
            "metrics": [{"key": "revenue", "level": "business", "aggregation": pick(("sum", "max", "first", "last"))}],
            "assignment": pick(("unit", "request")), "holdout": pick((0, 0.5)), "fallback": ["i1"],
            "overrides": pick(((), [{"arm": "a", "units": ["u", "v"]}, {"arm": "b", "share": 0.5}])),
        }  # fmt: skip
        ask = {
            "experiment": f"fuzz-{self.random.randrange(4)}",
            "unit": "u",
            "k": 2,
            "context": {"item_id": "i1", "x": [1]},
        }
        items = [
            {"item_id": f"i{i}", "title": "t", "category": "c", "features": [1, i], "popularity": i} for i in (1, 2)
        ]
        return [
            ("POST", "/v1/recommendations", ask),
            ("POST", "/v1/recommendations", {**ask, "decision_id": pick((fresh_id(), decision))}),
            ("POST", "/v1/feedback", event),
            ("POST", "/v1/feedback", {"events": [event, {**event, "decision_id": fresh_id()}, event]}),
            ("PUT", experiment, {**specification, "state": "running"}),
            ("PATCH", experiment, {"policy": specification["policy"], "control": None, "holdout": 0.1}),
            ("POST", "/v1/experiments", {"key": f"fuzz-{self.random.randrange(9)}", **specification}),
            ("POST", f"{experiment}/{pick(('start', 'pause', 'resume', 'resume', 'resume'))}", None),
            ("POST", f"{experiment}/arms", pick(specification["arms"])),
            ("PATCH", f"{experiment}/arms/{pick('abc')}", {"state": "active", "prior": {"alpha": 2}}),
            ("DELETE", f"{experiment}/arms/{pick('abc')}", None),
            ("PUT", f"{experiment}/overrides/units/{pick('uvw')}", {"arm": pick("abc")}),
            ("DELETE", f"{experiment}/overrides/units/{pick('uvw')}", None),
            ("PUT", "/v1/items", {"items": items}),
            ("GET", f"{experiment}/arms?interval=0.9&since=2026-11-24T09:00:00Z", None),
            ("GET", f"{experiment}/history?before=5&limit=3&since=2026-11-24T09:00:00Z", None),
            ("GET", f"{experiment}/audit?before=50&limit=3", None),
            ("GET", "/v1/experiments?limit=2&after=a", None),
            ("GET", experiment, None),
            ("GET", f"/v1/decisions/{decision}", None),
            ("GET", "/readyz", None),
            ("POST", "/v1/recommendations/batch", {"requests": [ask, {**ask, "unit": "v"}]}),
            ("POST", "/v1/exposures", {"exposures": [{"decision_id": decision}, {"decision_id": fresh_id()}]}),
            ("GET", "/v1/quarantine?reason=metric&limit=3&before=9&state=open", None),
            (
                "POST",
                f"/v1/quarantine/{pick(('replay', 'discard'))}",
                {"experiment": f"fuzz-{self.random.randrange(4)}"},
            ),
            ("POST", f"{experiment}/evaluate", {"arm": "a", "estimators": ["ips", "dr"]}),
            ("POST", f"{experiment}/preview", {"unit": "u", "k": 2, "arms": ["a"]}),
            ("PUT", f"{experiment}/avatars/eve", {"unit": "u", "every_s": 60, "expect": {"min_items": 1}}),
            ("GET", f"{experiment}/avatars/eve/looks?arm=a&before=9&limit=2", None),
            ("GET", f"{experiment}/quality?since=2026-11-24T09:00:00Z&interval=0.9", None),
            ("GET", f"{experiment}/metrics?level=online,data&window_s=3600&limit=3", None),
            ("GET", f"{experiment}/shadow?level=0.9&since=2026-11-24T09:00:00Z", None),
            ("GET", f"{experiment}/drift?feature=x&before=2026-11-24T09:00:00Z&limit=3", None),
            ("GET", "/v1/units/u?since=2026-11-24T09:00:00Z&until=2026-11-25T09:00:00Z&limit=3", None),
            ("GET", "/v1/units/u/export", None),
            (
                "PUT",
                f"/v1/alert-rules/{pick('ab')}?experiment=fuzz-1",
                {"kind": "threshold", "metric": "x", "value": 1},
            ),
            ("PUT", "/v1/alert-channels/c", {"url": "http://127.0.0.1:9/", "secret": "s" * 16}),
            ("POST", "/v1/silences", {"labels": {"rule": "x"}, "ends_at": "2999-01-01T00:00:00Z"}),
            ("GET", "/v1/alerts?state=firing&limit=2", None),
        ]

    def _mutated(self, body: Any) -> Any:
        """The same JSON with one place changed."""
        if not isinstance(body, dict | list) or not body or self.random.random() < 0.1:
            return self.random.choice(JUNK)
        place = self.random.choice(list(body)) if isinstance(body, dict) else self.random.randrange(len(body))
        copy: Any = body.copy()
        action = self.random.random()
        if action < 0.1:
            del copy[place]
        elif action < 0.2 and isinstance(copy, dict):
            copy[self.random.choice(["x", "", "\0", "kind", "state", str(place) * 2])] = self.random.choice(JUNK)
        elif action < 0.2:
            copy += copy
        else:
            copy[place] = self._mutated(copy[place])
        return copy

    def _mutated_bytes(self, body: bytes) -> bytes:
        """Sometimes no JSON at all."""
        action, place = self.random.random(), self.random.randrange(len(body) + 1)
        if action < 0.03:
            return body[:place]
        if action < 0.06:
            return body[:place] + self.random.randbytes(3) + body[place:]
        if action < 0.12 and b"1" in body:
            return body.replace(b"1", self.random.choice(RAW), self.random.choice((1, -1)))
        return body

    def _mutated_path(self, path: str) -> str:
        junk = self.random.choice(
            ["%00", "%FF", "%0A", "a", "-1", "1e999", "nan", "%F0%9F%8E%B0", "/", "%2F", "x" * 300]
        )
        place = self.random.randrange(1, len(path))
        return self.random.choice([path[:place] + junk + path[place:], path[:place] + junk, path + junk])


@pytest.mark.timeout(7200 if LONG else 120)
def test_no_request_at_all_is_answered_by_a_server_error(own_service: Service, own_api: Api) -> None:
    """1,500 mutated requests over all routes: every answer is JSON, every error a problem, none of them ours."""
    for i in range(4):
        own_api.put(f"/v1/experiments/fuzz-{i}", {**TWO_ARMS, "policy": EAGER}).ok()
    decisions = [decide(own_api, f"fuzz-{i % 4}")["decision_id"] for i in range(8)]
    statuses = sum(side_by_side(lambda i: _fuzz(own_service, Fuzzer(20261124 + i, decisions)), CLIENTS), Counter[int]())
    log.info("%d requests: %s", statuses.total(), sorted(statuses.items()))
    assert {200, 201, 400, 404, 409, 415, 422} <= statuses.keys(), statuses
    assert own_api.get("/readyz").status == 200
    for i in range(4):
        own_api.get(f"/v1/experiments/fuzz-{i}/arms").ok()
    logged = own_service.log.read_text()
    assert "unexpected error" not in logged
    assert "cannot" not in logged, [line for line in logged.splitlines() if "cannot" in line][-1]
    verified = own_service.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def _fuzz(service: Service, fuzzer: Fuzzer) -> Counter[int]:
    """How often each status was answered."""
    api, statuses = service.api(), Counter[int]()
    for _ in range(REQUESTS):
        method, path, body = fuzzer.request()
        answer = api.call(method, path, raw=body, headers={"Content-Type": fuzzer.content_type()})
        assert answer.status < 500, (method, path, body, answer.body)
        if answer.status >= 400:
            assert isinstance(answer.body, Mapping)
            assert answer.body.keys() - {"errors"} == MEMBERS, (method, path, body, answer.body)
        statuses[answer.status] += 1
    api.close()
    return statuses
