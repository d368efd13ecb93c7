"""Bad input is answered with a problem that says where and what, and changes nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from app.ids import time_of
from app.store.database import Database
from tests.acceptance.talking import TWO_ARMS, decide, fresh_id, id_at, problem, written
from tests.running import Api, Service

DECIDE, FEEDBACK, ITEMS = "/v1/recommendations", "/v1/feedback", "/v1/items"
NEW, RULE = "/v1/experiments/bad-new", "/v1/alert-rules/bad"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Case:
    """A request, and the problem that answers it. `DECISION` in its body stands for a decision that exists."""

    name: str
    body: object
    pointer: str | None = None
    status: int = 422
    path: str = DECIDE
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def asking(name: str, pointer: str | None, status: int = 422, **members: Any) -> Case:
    """A request for a decision with something wrong."""
    return Case(name, {"experiment": "bad-running", "unit": "user", **members}, pointer, status)


def asking_raw(name: str, pointer: str | None, member: bytes, status: int = 422) -> Case:
    """The same, with members that Python's JSON would not write."""
    return Case(name, b'{"experiment":"bad-running","unit":"user",' + member + b"}", pointer, status)


def rewarding(name: str, pointer: str | None, status: int = 422, **members: Any) -> Case:
    """Feedback with something wrong."""
    return Case(name, {"decision_id": "DECISION", "value": 1, **members}, pointer, status, FEEDBACK)


def rewarding_raw(name: str, pointer: str | None, value: bytes, status: int = 422) -> Case:
    """Feedback with a value that Python's JSON would not write."""
    return Case(name, b'{"decision_id":"DECISION","value":' + value + b"}", pointer, status, FEEDBACK)


def making(name: str, pointer: str | None, status: int = 422, **members: Any) -> Case:
    """An experiment with something wrong."""
    return Case(name, {**TWO_ARMS, **members}, pointer, status, NEW, "PUT")


FORBIDDEN = {
    "space": "a b",
    "slash": "a/b",
    "newline": "a\n",
    "empty": "",
    "65 characters": "k" * 65,
    "unicode": "clé",
    "null character": "a\0",
}
BAD_COUNTS: tuple[Any, ...] = (0, -1, 501, "3", 2.5, None, True, [], 10**400)
NUMBERS = {"NaN": b"NaN", "Infinity": b"Infinity", "-Infinity": b"-Infinity", "1e999": b"1e999", "-1e999": b"-1e999"}
TODAY = datetime.now(UTC)
IDS = {
    "of the future": id_at(TODAY + timedelta(hours=1)),
    "of the year 10000": "ffffffff-ffff-7fff-bfff-ffffffffffff",
    "of the past": id_at(TODAY - timedelta(days=400)),
    "of 1970": "00000000-0000-7000-8000-000000000000",
    "of version 4": str(uuid4()),
    "nil": "00000000-0000-0000-0000-000000000000",
    "garbage": "garbage",
    "empty": "",
    "a number": 17,
}

DECISIONS = [
    asking("unknown experiment", None, 404, experiment="bad-unknown"),
    asking("draft experiment", None, 409, experiment="bad-draft"),
    asking("stopped experiment", None, 409, experiment="bad-stopped"),
    *(asking(f"k {k!r}", "#/k", k=k) for k in BAD_COUNTS),
    *(asking_raw(f"k {name}", "#/k", b'"k":' + raw) for name, raw in NUMBERS.items()),
    *(asking(f"experiment key with {name}", None, experiment=key) for name, key in FORBIDDEN.items()),
    *(asking(f"decision id {name}", "#/decision_id", decision_id=i) for name, i in IDS.items()),
    asking("decision id of another unit", None, 409, decision_id="DECISION"),
    asking("no unit", "#/unit", unit=None),
    asking("empty unit", "#/unit", unit=""),
    asking("long unit", "#/unit", unit="u" * 257),
    asking("number as unit", "#/unit", unit=17),
    asking("U+0000 in unit", "#/unit", unit="a\0b"),
    asking("U+0000 in context", "#/context/a~1b/1", context={"a/b": ["x", "\0"]}),
    asking("U+0000 in a member's name", "#/context", context={"\0": 1}),
    asking("list as context", "#/context", context=[]),
    asking("null as context", "#/context", context=None),
    asking("deep context", "#", context={"x": json.loads("[" * 300 + "]" * 300)}),
    asking_raw("very deep context", "#", b'"context":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    asking_raw("deep context with U+0000", "#", b'"context":{"x":' + b"[" * 965 + b'"\\u0000"' + b"]" * 965 + b"}"),
    asking_raw("deep object", "#", b'"context":' + b'{"x":' * 200 + b"1" + b"}" * 200),
    *(
        asking_raw(f"{name} in context", "#/context/x", b'"context":{"x":' + raw + b"}")
        for name, raw in NUMBERS.items()
    ),
    *(
        asking_raw(f"{name} deep in context", "#/context/x/0/y", b'"context":{"x":[{"y":' + raw + b"}]}")
        for name, raw in NUMBERS.items()
    ),
    asking_raw("integer of 5,000 digits", "#/context", b'"context":{"x":1' + b"0" * 5000 + b"}"),
    asking_raw("half a surrogate pair", "#", b'"context":{"x":"\\ud800"}', 400),
    asking_raw("half a surrogate pair, raw", "#", b'"context":{"x":"\xed\xa0\x80"}', 400),
    asking_raw("no UTF-8", "#", b'"context":{"x":"\xff"}', 400),
    asking_raw("raw U+0000", "#", b'"context":{"x":"\0"}', 400),
    asking_raw("raw line break", "#", b'"context":{"x":"\n"}', 400),
    asking("unknown member", "#", untis="x"),
]
BODIES = [
    Case("empty body", b"", "#", 400),
    Case("no JSON", b"{", "#", 400),
    Case(
        "a form",
        b"experiment=bad-running&unit=user",
        "#",
        400,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    Case("two values", b'{"experiment":"bad-running","unit":"u"} {}', "#", 400),
    Case("trailing comma", b'{"experiment":"bad-running","unit":"user",}', "#", 400),
    Case("UTF-16", '{"experiment":"bad-running","unit":"user"}'.encode("utf-16"), "#", 400),
    Case("null", b"null", "#"),
    Case("a list", b"[]", "#"),
    Case("a string", b'"x"', "#"),
    Case("a number", b"1", "#"),
    Case("NaN alone", b"NaN", "#"),
    Case("many opened lists", b"[" * 500_000, "#"),
    Case("too large", b'{"experiment":"bad-running","unit":"' + b"u" * MIB + b'"}', None, 413),
    Case("one byte too large", b" " * (MIB + 1), None, 413),
]
EVENTS = [
    *(rewarding(f"reward {value!r}", "#/value", value=value) for value in (0.5, 2, -1, 1e100, True, "1", None, [1])),
    *(rewarding_raw(f"reward {name}", "#/value", raw) for name, raw in NUMBERS.items()),
    rewarding_raw("reward of 400 digits", "#/value", b"1" + b"0" * 400),
    *(
        rewarding(f"revenue {value!r}", "#/value", metric="revenue", value=value)
        for value in (1.1e100, -1.7e308, 1e-101, True, "1")
    ),
    *(rewarding(f"decision id {name}", "#/decision_id", decision_id=i) for name, i in IDS.items()),
    rewarding("unknown metric", "#/metric", metric="likes"),
    *(rewarding(f"metric with {name}", "#/metric", metric=key) for name, key in FORBIDDEN.items()),
    *(rewarding(f"position {position!r}", "#/position", position=position) for position in (-1, 1.5, "1", 10_001)),
    rewarding("empty item", "#/item_id", item_id=""),
    rewarding("long item", "#/item_id", item_id="i" * 257),
    rewarding("U+0000 in item", "#/item_id", item_id="\0"),
    rewarding("long event id", "#/event_id", event_id="e" * 257),
    rewarding("U+0000 in event id", "#/event_id", event_id="\0"),
    rewarding("no time", "#/occurred_at", occurred_at="yesterday"),
    rewarding("time without a zone", "#/occurred_at", occurred_at="2026-11-24T09:00:00"),
    rewarding("future", "#/occurred_at", occurred_at=(TODAY + timedelta(hours=1)).isoformat()),
    rewarding("before the decision", "#/occurred_at", occurred_at=(TODAY - timedelta(days=2)).isoformat()),
    rewarding("before Christ", "#/occurred_at", occurred_at="0001-01-01T00:00:00+14:00"),
    rewarding("unknown member", "#", valeu=1),
    Case("no decision", {"value": 1}, "#", path=FEEDBACK),
    Case("empty body", b"", "#", 400, FEEDBACK),
    Case("a list of events", [], "#", path=FEEDBACK),
    Case("events that are no list", {"events": {}}, "#/events", path=FEEDBACK),
    Case("events and more", {"events": [], "value": 1}, "#", path=FEEDBACK),
    Case("5,001 events", {"events": [{}] * 5001}, "#/events", path=FEEDBACK),
    Case("an event with NaN", b'{"events":[{"value":1},{"value":NaN}]}', "#/events/1/value", path=FEEDBACK),
]
EXPERIMENTS = [
    Case("no arms", {}, "#", path=NEW, method="PUT"),
    making("empty arms", "#/arms", arms=[]),
    making("duplicate arm", "#/arms/2/key", arms=[{"key": "a"}, {"key": "b"}, {"key": "a"}]),
    making("1,001 arms", "#/arms", arms=[{"key": f"a{i}"} for i in range(1001)]),
    *(making(f"arm key with {name}", "#/arms/0/key", arms=[{"key": key}]) for name, key in FORBIDDEN.items()),
    making("no active arm", "#/arms", arms=[{"key": "a", "state": "draining"}]),
    making("unknown arm state", "#/arms/0/state", arms=[{"key": "a", "state": "asleep"}]),
    making("unknown word in an arm", "#/arms/0", arms=[{"key": "a", "recomender": {}}]),
    making("control that is no arm", "#/control", control="c"),
    making("unknown policy", "#/policy/kind", policy={"kind": "roulette"}),
    making("policy without kind", "#/policy", policy={}),
    making("unknown word in a policy", "#/policy", policy={"kind": "thompson_sampling", "warmup": 1}),
    making(
        "floor of more than 1", "#/policy/min_propensity", policy={"kind": "thompson_sampling", "min_propensity": 0.6}
    ),
    making("negative floor", "#/policy/min_propensity", policy={"kind": "thompson_sampling", "min_propensity": -0.1}),
    making(
        "fixed shares of an unknown arm",
        "#/policy",
        policy={"kind": "fixed", "probabilities": {"a": 0.5, "b": 0.5, "c": 0}},
    ),
    making("fixed shares that lack an arm", "#/policy", policy={"kind": "fixed", "probabilities": {"a": 1}}),
    making("fixed shares that sum to 2", "#/policy", policy={"kind": "fixed", "probabilities": {"a": 1, "b": 1}}),
    making("fixed share of 2", "#/policy/probabilities", policy={"kind": "fixed", "probabilities": {"a": 2, "b": -1}}),
    making("unknown recommender", "#/arms/0/recommender/kind", arms=[{"key": "a", "recommender": {"kind": "oracle"}}]),
    making(
        "recommender's items twice",
        "#/arms/0/recommender",
        arms=[{"key": "a", "recommender": {"kind": "static", "items": ["1", "1"]}}],
    ),
    making(
        "recommender's items empty",
        "#/arms/0/recommender/items",
        arms=[{"key": "a", "recommender": {"kind": "static", "items": []}}],
    ),
    making("unknown reward model", "#/reward/model", reward={"model": "weibull"}),
    making("rewards without bounds", "#/reward/bounds", reward={"model": "bounded"}),
    making("memory without length", "#/memory", memory={"kind": "window"}),
    making("half a split", "#/warm_start", warm_start={"split": {"a": 0.5}, "mean": 0.1}),
    making("default that is no reward", "#/reward/default", reward={"default": 0.5}),
    making("window of 0", "#/reward/window_s", reward={"window_s": 0}),
    making("late before window", "#/reward/late_until_s", reward={"window_s": 60, "late_until_s": 30}),
    making("prior of another model", "#/arms/0/prior", arms=[{"key": "a", "prior": {"mean": 1}}]),
    making("prior out of range", "#/arms/0/prior", arms=[{"key": "a", "prior": {"alpha": 0}}]),
    making("metric twice", "#/metrics/1/key", metrics=[{"key": "m"}, {"key": "m"}]),
    making(
        "reward's metric, folded otherwise", "#/metrics/0/aggregation", metrics=[{"key": "click", "aggregation": "sum"}]
    ),
    making("holdout of 1", "#/holdout", holdout=1),
    making("unknown state", "#/state", state="asleep"),
    making("unknown member", "#", arm=[]),
    making(
        "U+0000 in a payload",
        "#/arms/0/recommender/value",
        arms=[{"key": "a", "recommender": {"kind": "payload", "value": "\0"}}],
    ),
    making(
        "deep payload",
        "#",
        arms=[{"key": "a", "recommender": {"kind": "payload", "value": json.loads("[" * 300 + "]" * 300)}}],
    ),
    Case(
        "1e999 in a payload",
        b'{"arms":[{"key":"a","recommender":{"kind":"payload","value":[1e999]}}]}',
        "#/arms/0/recommender/value/0",
        path=NEW,
        method="PUT",
    ),
    Case(
        "NaN as prior", b'{"arms":[{"key":"a","prior":{"alpha":NaN}}]}', "#/arms/0/prior/alpha", path=NEW, method="PUT"
    ),
    *(
        Case(
            f"key with {name}",
            TWO_ARMS,
            None,
            404 if name in {"slash", "null character"} else 422,
            f"/v1/experiments/{quote(key, safe='')}",
            "PUT",
        )
        for name, key in FORBIDDEN.items()
        if key
    ),
    Case("key that is taken", {"key": "bad-running", **TWO_ARMS}, None, 409, "/v1/experiments"),
    *(
        Case(f"new key with {name}", {"key": key, **TWO_ARMS}, "#/key", path="/v1/experiments")
        for name, key in FORBIDDEN.items()
    ),
    Case("patch of a word", {"holdin": 0.1}, "#", path="/v1/experiments/bad-running", method="PATCH"),
    Case("patch that takes the arms", {"arms": None}, "#", path="/v1/experiments/bad-running", method="PATCH"),
    Case(
        "patch of one arm away from control",
        {"control": "c"},
        "#/control",
        path="/v1/experiments/bad-running",
        method="PATCH",
    ),
    Case("patch by a list", [], "#", path="/v1/experiments/bad-running", method="PATCH"),
    Case("patch of nothing known", {"holdout": 0.1}, None, 404, "/v1/experiments/bad-unknown", "PATCH"),
    *(
        Case(
            f"If-Match {tag}",
            {"holdout": 0.1},
            "#",
            path="/v1/experiments/bad-running",
            method="PATCH",
            headers={"If-Match": tag},
        )
        for tag in ("1", "nonsense", '"x"', '"1" "2"', '"99999999999999999999"')
    ),
    Case(
        "If-Match of another version",
        {"holdout": 0.1},
        None,
        412,
        "/v1/experiments/bad-running",
        "PATCH",
        {"If-Match": '"777"'},
    ),
    Case("unknown action", None, None, 404, "/v1/experiments/bad-running/explode"),
    Case("action on nothing known", None, None, 404, "/v1/experiments/bad-unknown/start"),
    Case("start of what is stopped", None, None, 409, "/v1/experiments/bad-stopped/start"),
    Case("pause of a draft", None, None, 409, "/v1/experiments/bad-draft/pause"),
]
CATALOGUE = [
    Case("no items", {}, "#", path=ITEMS, method="PUT"),
    Case(
        "an item twice", {"items": [{"item_id": "x"}, {"item_id": "x"}]}, "#/items/0/item_id", path=ITEMS, method="PUT"
    ),
    Case("an item without id", {"items": [{"title": "x"}]}, "#/items/0", path=ITEMS, method="PUT"),
    Case("empty id", {"items": [{"item_id": ""}]}, "#/items/0/item_id", path=ITEMS, method="PUT"),
    Case(
        "negative popularity",
        {"items": [{"item_id": "x", "popularity": -1}]},
        "#/items/0/popularity",
        path=ITEMS,
        method="PUT",
    ),
    Case(
        "text as feature",
        {"items": [{"item_id": "x", "features": ["1"]}]},
        "#/items/0/features/0",
        path=ITEMS,
        method="PUT",
    ),
    Case("U+0000 in title", {"items": [{"item_id": "x", "title": "\0"}]}, "#/items/0/title", path=ITEMS, method="PUT"),
    Case(
        "good before bad", {"items": [{"item_id": "x"}, {"item_id": 5}]}, "#/items/1/item_id", path=ITEMS, method="PUT"
    ),
    *(
        Case(
            f"feature {name}",
            b'{"items":[{"item_id":"x","features":[1,' + raw + b"]}]}",
            "#/items/0/features/1",
            path=ITEMS,
            method="PUT",
        )
        for name, raw in NUMBERS.items()
    ),
    *(
        Case(
            f"popularity {name}",
            b'{"items":[{"item_id":"x","popularity":' + raw + b"}]}",
            "#/items/0/popularity",
            path=ITEMS,
            method="PUT",
        )
        for name, raw in NUMBERS.items()
    ),
]
QUERIES = [
    *(
        Case(f"{path}?{query}", None, "#", path=f"/v1/experiments{path}?{query}", method="GET")
        for path, query in (
            *(("", f"limit={limit}") for limit in ("0", "-1", "1001", "ten", "", "nan", "inf", "1.5", "%00")),
            ("", "after=%00"),
            *(("/bad-running/arms", f"interval={level}") for level in ("0", "1", "2", "-1", "x", "nan")),
            *(("/bad-running/arms", f"since={m}") for m in ("yesterday", "2026-11-24T09:00:00", "", "%00", "1e999")),
            *(("/bad-running/history", f"before={n}") for n in ("-1", "1e999", "x", "2147483648", "1.5")),
            ("/bad-running/history", "since=x"),
            ("/bad-running/history", "limit=0"),
        )
    ),
    *(
        Case(f"unknown {path}", None, None, 404, path, "GET")
        for path in (
            "/",
            "/v1",
            "/v2/experiments",
            "/v1//experiments",
            "/v1/experiments/bad-unknown",
            "/v1/experiments/bad-unknown/arms",
            "/v1/experiments/bad-unknown/history",
            "/v1/experiments/%00",
            "/v1/experiments/%00/arms",
            "/v1/experiments/%FF",
            "/v1/experiments/bad-running/nothing",
            "/v1/decisions/garbage",
            "/v1/decisions/%00",
            "/v1/decisions/00000000-0000-0000-0000-000000000000",
            "/v1/decisions/d8aee201-6ce3-4248-8b2c-2d06e6000000",
            "/v1/decisions/01a20e65-f8bb-7e4c-88b2-5e0374000000",
            "/v1/experiments/" + "k" * 3000,
            "/%2e%2e/%2e%2e/etc/passwd",
        )
    ),
    *(
        Case(f"{method} {path}", None, None, 405, path, method)
        for method, path in (
            ("GET", DECIDE),
            ("PUT", DECIDE),
            ("DELETE", "/v1/experiments/bad-running"),
            ("POST", "/livez"),
            ("GET", "/v1/experiments/bad-running/start"),
            ("PATCH", "/v1/experiments"),
            ("TRACE", "/v1/experiments"),
            ("NONSENSE", "/readyz"),
            ("PUT", "/v1/experiments/bad-running/arms"),
            ("POST", "/v1/experiments/bad-running/audit"),
        )
    ),
]


@pytest.fixture(scope="module")
def decision(api: Api) -> str:
    """A decision of the experiment that these tests are about."""
    metrics = [{"key": "revenue", "level": "business", "aggregation": "sum"}]
    for state in ("running", "draft", "stopped"):
        api.put(f"/v1/experiments/bad-{state}", {**TWO_ARMS, "metrics": metrics, "state": state}).ok()
    return str(decide(api, "bad-running", "somebody else")["decision_id"])


@pytest.mark.parametrize(
    "case",
    [*DECISIONS, *BODIES, *EVENTS, *EXPERIMENTS, *CATALOGUE, *QUERIES],
    ids=lambda case: f"{case.path[3:30]} {case}"[:80],
)
def test_bad_input_is_answered_with_a_problem_and_changes_nothing(
    case: Case, api: Api, stored: Database, decision: str
) -> None:
    """Every fault has its status, a JSON pointer to its place, and no effect at all."""
    before = written(stored)
    body = case.body if isinstance(case.body, bytes) else None if case.body is None else json.dumps(case.body).encode()
    raw = None if body is None else body.replace(b"DECISION", decision.encode())
    answer = api.call(case.method, case.path, raw=raw, headers=case.headers)
    problem(answer, case.status, case.pointer)
    assert written(stored) == before
    if case.status == 405:
        assert answer.headers["Allow"]


@pytest.mark.usefixtures("decision")
def test_a_chunked_body_over_the_limit_is_refused(service: Service, stored: Database) -> None:
    """413 even when the length is not told in advance, and nothing that was cut off is taken for the whole."""
    before = written(stored)

    def chunks() -> Iterator[bytes]:
        yield b'{"experiment":"bad-running","unit":"chunked"}'
        for _ in range(33):
            yield b" " * 32 * 1024

    api = service.api()
    answer = api._pool.request(
        "POST", service.url + DECIDE, body=chunks(), headers={"X-API-Key": "test-key-with-every-scope"}
    )
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert written(stored) == before
    api.close()


@pytest.mark.usefixtures("decision")
def test_a_chunked_body_within_the_limit_is_taken(service: Service) -> None:
    """A body may come without its length."""
    api = service.api()
    chunks = (part for part in (b'{"experiment":"bad-', b'running","unit":"chunked"}'))
    answer = api._pool.request(
        "POST", service.url + DECIDE, body=chunks, headers={"X-API-Key": "test-key-with-every-scope"}
    )
    assert answer.status == 200
    api.close()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"experiment":"bad-running","unit":"user","context":{"x":1' + b"0" * 400 + b"}}",
        b'{"experiment":"bad-running","unit":"user","context":{"x":"\\\\u0000 \\ud83c\\udfb0"}}',
        b'{"experiment":"bad-running","unit":"' + "🎰".encode() * 256 + b'"}',
        b'{"experiment":"bad-running","unit":"user","context":{"x":' + b"[" * 98 + b"]" * 98 + b"}}",
        b'{"experiment":"bad-running","unit":"u","context":{"x":"' + b"x" * (MIB - 200) + b'"}}',
    ],
    ids=["10^400", "no U+0000", "emoji", "98 levels", "almost 1 MiB"],
)
@pytest.mark.usefixtures("decision")
def test_unusual_but_valid_input_is_taken_and_can_be_read_back(raw: bytes, api: Api) -> None:
    """What is accepted can be explained and retried: nothing is stored that cannot be read."""
    made = api.call("POST", DECIDE, raw=raw[:1] + f'"decision_id":"{fresh_id()}",'.encode() + raw[1:]).ok()
    explained = api.get(f"/v1/decisions/{made['decision_id']}").ok()["decision"]
    assert explained["context"] == json.loads(raw).get("context", {})
    assert explained["unit"] == json.loads(raw)["unit"]


@pytest.mark.usefixtures("decision")
@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json", "",
     "application/x-www-form-urlencoded"],
)  # fmt: skip
def test_json_is_taken_and_so_is_what_says_nothing_of_itself(kind: str, api: Api) -> None:
    """JSON by any of its names, by none, or by the one that `curl -d` gives everything."""
    api.call("POST", DECIDE, {"experiment": "bad-running", "unit": "user"}, headers={"Content-Type": kind}).ok()


@pytest.mark.usefixtures("decision")
@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", "??", "json"])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", DECIDE), ("POST", FEEDBACK), ("PUT", NEW), ("PUT", ITEMS), ("PUT", RULE)]
)
def test_a_body_that_says_it_is_no_json_is_refused(
    method: str, path: str, kind: str, api: Api, stored: Database
) -> None:
    """415, and nothing is done, also if it would be JSON."""
    before = written(stored)
    problem(api.call(method, path, {"experiment": "bad-running", "unit": "u"}, headers={"Content-Type": kind}), 415)
    assert written(stored) == before


@pytest.mark.usefixtures("decision")
@pytest.mark.parametrize(
    ("method", "path", "raw"),
    [
        ("POST", DECIDE, b'{"experiment":"bad-running","unit":"user","unit":"other"}'),
        ("POST", DECIDE, b'{"experiment":"bad-running","unit":"user","context":{"a":{"x":1,"\\u0078":2}}}'),
        ("POST", f"{DECIDE}/batch", b'{"requests":[{"experiment":"bad-running","unit":"u"}],"requests":[]}'),
        ("POST", FEEDBACK, b'{"events":[{}],"events":[]}'),
        ("PUT", ITEMS, b'{"items":[{"item_id":"a","item_id":"b"}]}'),
        ("PUT", NEW, b'{"arms":[{"key":"a","key":"b"}]}'),
    ],
)
def test_a_member_that_occurs_twice_is_refused(method: str, path: str, raw: bytes, api: Api, stored: Database) -> None:
    """Which of the two was meant nobody can know; nothing is taken."""
    before = written(stored)
    assert "twice" in problem(api.call(method, path, raw=raw), 422, "#")["detail"]
    assert written(stored) == before


@pytest.mark.usefixtures("decision")
def test_a_member_that_occurs_twice_in_one_event_of_many_is_that_events_fault(api: Api) -> None:
    """The others are taken."""
    one = f'{{"decision_id":"{fresh_id()}","value":1'.encode()
    answer = api.call("POST", FEEDBACK, raw=b'{"events":[' + one + b"}," + one + b',"value":0}]}').ok()
    assert [result["status"] for result in answer["results"]] == ["unmatched", "rejected"]


@pytest.mark.usefixtures("decision")
def test_head_and_options_answer_without_a_body(api: Api) -> None:
    """HEAD is GET without its body, and OPTIONS names the methods."""
    head = api.call("HEAD", "/v1/experiments/bad-running")
    assert (head.status, head.body) == (200, None)
    assert head.headers["ETag"]
    assert api.call("HEAD", "/v1/experiments/bad-unknown").status == 404
    options = api.call("OPTIONS", "/v1/experiments/bad-running")
    assert options.status == 200
    assert {"GET", "PUT", "PATCH"} <= set(options.headers["Allow"].replace(",", " ").split())


def test_all_faults_of_a_specification_are_told_at_once(api: Api) -> None:
    """Several contradictions are several errors, each with its pointer."""
    wrong = {"arms": [{"key": "a"}, {"key": "a"}], "control": "c", "reward": {"model": "x"}}
    errors = problem(api.put(NEW, wrong), 422)["errors"]
    assert [error["pointer"] for error in errors] == ["#/arms/1/key", "#/control", "#/reward/model"]


def test_the_instance_of_a_problem_is_a_uri_reference(api: Api) -> None:
    """The path in a problem is encoded as in a URI."""
    assert problem(api.get("/v1/experiments/a%20b%C3%A9"), 404)["instance"] == "/v1/experiments/a%20b%C3%A9"


def test_a_feature_too_small_for_the_database_is_taken(api: Api) -> None:
    """The smallest numbers that JSON can carry are not stumbled over."""
    api.put(ITEMS, {"items": [{"item_id": "tiny", "features": [1e-46, 1e-320, 1.0], "popularity": 1e-320}]}).ok()


@pytest.mark.parametrize("offset", ["+17:29", "-23:59"])
@pytest.mark.parametrize("day", ["2026-11-24", "0001-01-01", "9999-12-31"])
def test_any_moment_with_any_offset_can_be_asked_for(day: str, offset: str, api: Api, decision: str) -> None:
    """Offsets that PostgreSQL does not know, and years that others do not."""
    moment = f"{day}T23:59:59{offset.replace('+', '%2B')}"
    for path in ("arms", "history", "drift", "data-quality", "metrics"):
        api.get(f"/v1/experiments/bad-running/{path}?since={moment}").ok()
    api.post("/v1/silences", {"labels": {"a": "b"}, "ends_at": "9999-12-31T23:59:59-14:00"}).ok()
    api.get("/v1/silences").ok()
    made_at = time_of(UUID(decision)).astimezone(timezone(timedelta(hours=17, minutes=29)))
    event = {"decision_id": decision, "value": 1, "occurred_at": made_at.isoformat(), "event_id": day + offset}
    assert api.post(FEEDBACK, event).ok()["status"] == "accepted"


def test_the_service_is_healthy_after_all_that(service: Service, api: Api) -> None:
    """No bad input made the service log a bug, stop being ready, or miscount."""
    assert api.get("/readyz").status == 200
    assert "unexpected error" not in service.log.read_text()
    verified = service.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
