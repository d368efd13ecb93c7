"""A service as others reach it: keys over HTTP, pages of other origins, and what it lets itself be made to ask."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.auth import Scope
from tests.acceptance.talking import TWO_ARMS, decide, key_of, problem, rows
from tests.models import ModelServer, listing, model_server
from tests.running import ADMIN_KEY, Api, Service, running_service, until

SHOP = "https://shop.example"
MANY = 12  # requests on connections of their own: both workers get some


@pytest.fixture(scope="module")
def public(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two web workers that ask public addresses only, and are called by a shop's pages."""
    with running_service(
        new_database(),
        tmp_path_factory.mktemp("public"),
        roles=("web",),
        CROUPIER_OUTGOING="public",
        CROUPIER_CORS_ORIGINS=SHOP,
        CROUPIER_POLL_INTERVAL_MS="5000",
    ) as service:
        yield service


@pytest.fixture
def api(public: Service) -> Iterator[Api]:
    """A client of it."""
    made = public.api()
    yield made
    made.close()


def statuses(public: Service, key: str) -> set[int]:
    """What requests with a key are answered, by both workers."""
    found = set()
    for _ in range(MANY):
        client = public.api(key)
        found.add(client.get("/v1/experiments").status)
        client.close()
    return found


def test_a_key_lives_and_dies_over_http(api: Api, public: Service) -> None:
    """Made, used, rotated, revoked: everywhere within five seconds, even where allocations are looked for as rarely."""
    end = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    asked = {
        "name": "shop",
        "scopes": ["read", "decide"],
        "experiments": ["home"],
        "rate_per_s": 1000,
        "expires_at": end,
    }
    made = api.post("/v1/keys", asked)
    assert (made.status, made.headers["Cache-Control"]) == (201, "no-store")
    first, record = made.body["key"], made.body["record"]
    assert first.startswith(record["prefix"] + ".")
    assert {**record, **asked, "scopes": ["decide", "read"]} == {**record, "expires_at": end}
    until(lambda: statuses(public, first) == {200}, "the key to work", 5)
    second = api.post(f"/v1/keys/{record['prefix']}/rotate", {"overlap_s": 3600}).ok()["key"]
    until(lambda: statuses(public, second) == {200}, "the other secret to work", 5)
    assert statuses(public, first) == {200}
    assert api.call("DELETE", f"/v1/keys/{record['prefix']}").status == 204
    revoked = time.monotonic()
    until(lambda: statuses(public, first) | statuses(public, second) == {401}, "both secrets to die", 5)
    assert time.monotonic() - revoked < 5
    problem(api.call("DELETE", f"/v1/keys/{record['prefix']}"), 404)
    problem(api.post(f"/v1/keys/{record['prefix']}/rotate"), 404)


def test_the_list_of_keys_tells_everything_but_secrets(api: Api, public: Service) -> None:
    """Also when a key was used last."""
    made = api.post("/v1/keys", {"name": "listed", "scopes": ["read"]}).ok()
    until(lambda: statuses(public, made["key"]) == {200}, "the key to work", 5)

    def listed() -> dict[str, Any]:
        answer = api.get("/v1/keys")
        assert made["key"].partition(".")[2] not in str(answer.body)
        (record,) = [one for one in answer.ok()["keys"] if one["prefix"] == made["record"]["prefix"]]
        return dict(record)

    until(lambda: listed()["last_used_at"], "its use to be noted", 8)
    assert {**listed(), "last_used_at": None} == made["record"]
    assert not {"digest", "previous_digest", "key"} & listed().keys()


BAD: list[tuple[str, Any]] = [
    ("#", {}),
    ("#/name", {"name": "", "scopes": ["read"]}),
    ("#/scopes", {"name": "x", "scopes": []}),
    ("#/scopes/0", {"name": "x", "scopes": ["everything"]}),
    ("#/experiments", {"name": "x", "scopes": ["read"], "experiments": []}),
    ("#/experiments/0", {"name": "x", "scopes": ["read"], "experiments": ["no key"]}),
    ("#/rate_per_s", {"name": "x", "scopes": ["read"], "rate_per_s": 0}),
    ("#/expires_at", {"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
]


def test_what_is_no_key_is_not_made(api: Api, public: Service) -> None:
    """Each fault with where it is; nothing is stored."""
    before = rows(public.database_url, "SELECT count(*) FROM api_keys")
    for pointer, body in BAD:
        problem(api.post("/v1/keys", body), 422, pointer)
    for overlap in (-1, 1e9):
        problem(api.post("/v1/keys/ck_00000000/rotate", {"overlap_s": overlap}), 422, "#/overlap_s")
    assert rows(public.database_url, "SELECT count(*) FROM api_keys") == before


def test_no_secret_is_in_log_audit_or_problem(api: Api, public: Service) -> None:
    """Of keys that were made, rotated, misspelt or sent to the wrong place."""
    made = api.post("/v1/keys", {"name": "quiet", "scopes": ["read"]}).ok()
    again = api.post(f"/v1/keys/{made['record']['prefix']}/rotate").ok()
    keys = [made["key"], again["key"], "ck_00000000.misspelt-secret", ADMIN_KEY]
    told = ""
    for key in keys:
        client = public.api(key)
        told += str([client.post("/v1/keys", {"name": key[:3]}).body, client.get("/v1/nothing").body])
        told += str(client.call("PATCH", "/v1/keys").body)
        client.close()
    told += str(rows(public.database_url, "SELECT a::text FROM audit_log a")) + public.log.read_text()
    for key in keys:
        assert key.rpartition(".")[2] not in told


@pytest.mark.parametrize("path", ["/v1/recommendations", "/v1/feedback", "/v1/experiments/cors"])
def test_a_page_of_the_shop_may_call(api: Api, public: Service, path: str) -> None:
    """As a browser does: it asks first, without a key, then sends the request with one and reads the answer."""
    stranger = public.api(None)
    asked = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    allowed = stranger.call("OPTIONS", path, headers=asked)
    assert (allowed.status, allowed.body) == (204, None)
    assert allowed.headers["Access-Control-Allow-Origin"] == SHOP
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    for client in (api, stranger):
        answer = client.call("POST", path, {}, headers={"Origin": SHOP})
        assert answer.status in {401, 405, 422}
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert answer.headers["Access-Control-Expose-Headers"] == "ETag, Retry-After"
        assert answer.headers["Vary"] == "Origin"
    evil = stranger.call("OPTIONS", path, headers={**asked, "Origin": "https://evil.example"})
    assert evil.status == 401
    assert not [name for name in evil.headers if name.startswith("Access-Control")]
    stranger.close()


def test_a_browser_key_is_held_to_its_rate(api: Api, public: Service) -> None:
    """429 with whole seconds, which its page may read."""
    api.put("/v1/experiments/cors", TWO_ARMS).ok()
    key = key_of(public, Scope.DECIDE, experiments=("cors",), rate_per_s=0.5)
    client = public.api(key)
    body, answers = {"experiment": "cors", "unit": "u"}, []

    def statuses() -> set[int]:
        answers.append(client.call("POST", "/v1/recommendations", body, headers={"Origin": SHOP}))
        return {answer.status for answer in answers} - {401}  # a worker may not have read the new key yet

    until(lambda: len(statuses()) > 1, "a request to be one too many", 10)
    assert statuses() == {200, 429}
    client.close()
    late = next(answer for answer in answers if answer.status == 429)
    problem(late, 429)
    assert re.fullmatch(r"[1-4]", late.headers["Retry-After"])
    assert late.headers["Access-Control-Allow-Origin"] == SHOP


HOSTS = [
    "127.0.0.1", "localhost", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254",
    "[fd00:ec2::254]", "[::ffff:a9fe:a9fe]", "0xa9fea9fe",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_urls_of_what_is_near_are_refused_when_they_are_sent(api: Api, host: str) -> None:
    """In arms and webhooks: what to do about it is in the answer, but for a metadata service."""
    url = f"http://{host}:9000/rank"
    arms = [{"key": "a"}, {"key": "b", "recommender": {"kind": "http", "url": url}}]
    refused = problem(api.put("/v1/experiments/near", {"arms": arms}), 422, "#/arms/1/recommender")
    problem(api.put("/v1/alert-channels/near", {"url": url, "secret": "s" * 16}), 422, "#/url")
    detail = refused["errors"][0]["detail"]
    assert ("never asked" in detail) != ("CROUPIER_OUTGOING_ALLOW" in detail)
    assert api.get("/v1/experiments/near").status == 404


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """A model server on 127.0.0.1."""
    with model_server() as server:
        server.answers["/rank"] = listing(["from-the-model"])
        yield server


def test_a_name_that_leads_to_what_is_near_is_not_connected_to(api: Api, public: Service, models: ModelServer) -> None:
    """It is looked up when a decision needs it: then the control arm answers, and the log says what to do."""
    url = f"http://{socket.gethostname()}:{models.port}/rank"  # of this machine itself
    arms = [
        {"key": "a", "recommender": {"kind": "static", "items": ["spare"]}},
        {"key": "b", "recommender": {"kind": "http", "url": url, "deadline_ms": 5000}},
    ]
    policy = {"kind": "fixed", "probabilities": {"a": 0, "b": 1}}
    api.put("/v1/experiments/named", {"arms": arms, "policy": policy}).ok()
    answer = decide(api, "named")
    assert (answer["reason"], answer["items"][0]["item_id"]) == ("fallback", "spare")
    assert models.connections == 0
    until(lambda: "CROUPIER_OUTGOING_ALLOW" in public.log.read_text(), "the log to say so", 5)
