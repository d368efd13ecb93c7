"""Cross-origin requests, in this process: which paths and origins; and nothing at all by default."""

from typing import Any

import pytest

from app import create_app
from app.services import Services
from app.settings import Settings

SHOP = "https://shop.example"
PATHS = ["/v1/recommendations", "/v1/feedback", "/v1/experiments/home", "/v1/nothing"]


def client(origins: str | None) -> Any:
    """A client of a worker with this setting, whose database is away."""
    services = Services.build(Settings(cors_origins=origins), "postgresql://nobody@127.0.0.1:1/nothing")
    return create_app(services).test_client()


def told(answer: Any) -> dict[str, str]:
    """What an answer says to browsers of other origins."""
    return {k: v for k, v in answer.headers.items() if k.startswith("Access-Control") or k == "Vary"}


def preflight(api: Any, path: str, origin: str = SHOP) -> Any:
    """What a browser asks before the request."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    return api.options(path, headers=asked)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_said_by_default(path: str) -> None:
    """No header, and OPTIONS needs a key like everything else."""
    api = client(None)
    answers = [preflight(api, path), api.post(path, headers={"Origin": SHOP}), api.get(path)]
    assert [told(answer) for answer in answers] == [{}] * 3
    assert answers[0].status_code in {401, 404}


@pytest.mark.parametrize("path", PATHS)
def test_a_listed_origin_is_answered_before_its_request(path: str) -> None:
    """Without a key, which browsers do not send then; it learns nothing of the route."""
    answer = preflight(client(f"{SHOP}, http://localhost:3000"), path)
    assert (answer.status_code, answer.data) == (204, b"")
    assert told(answer) == {
        "Access-Control-Allow-Origin": SHOP,
        "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": "Authorization, X-API-Key, Content-Type, If-Match, traceparent, tracestate",
        "Access-Control-Max-Age": "600",
        "Vary": "Origin",
    }


@pytest.mark.parametrize("path", PATHS)
def test_a_listed_origin_may_read_answers_also_problems(path: str) -> None:
    """With the headers that clients need."""
    answer = client(SHOP).post(path, headers={"Origin": SHOP}, json={})
    assert answer.status_code >= 400
    assert told(answer) == {
        "Access-Control-Allow-Origin": SHOP,
        "Access-Control-Expose-Headers": "ETag, Retry-After",
        "Vary": "Origin",
    }


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        f"{SHOP}:444",
        f"{SHOP}.evil.example",
        "null",
        SHOP.upper(),
        "*",
        "",
    ],
)
def test_other_origins_may_nothing(origin: str) -> None:
    """Scheme, host and port must all be those listed; caches are told that it depends."""
    api = client(f"{SHOP},https://other.example")
    assert told(preflight(api, PATHS[0], origin)) == {"Vary": "Origin"}
    assert told(api.post(PATHS[0], headers={"Origin": origin})) == {"Vary": "Origin"}


def test_all_origins_are_one_word_and_never_with_cookies() -> None:
    """`*` is the same answer for everybody; credentials are never allowed."""
    answer = preflight(client("*"), PATHS[0], "https://anybody.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Vary" not in answer.headers


@pytest.mark.parametrize("path", ["/livez", "/metrics", "/"])
def test_only_the_api_is_open_to_pages(path: str) -> None:
    """Nothing else of this origin."""
    api = client(SHOP)
    assert told(preflight(api, path)) == {}
    assert told(api.get(path, headers={"Origin": SHOP})) == {}
