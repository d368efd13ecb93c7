"""Who gets in, and what the answers carry that keeps others out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page
from werkzeug.test import TestResponse

from app import create_app, operators
from app.operators import Role
from app.services import Services
from app.settings import Settings
from app.store.database import Database
from tests.app.building import put
from tests.console.conftest import PASSWORD, Console, log_in

_HTTPS = "https://croupier.example"


@pytest.fixture
def client(database: Database) -> Iterator[FlaskClient]:
    """A client of an app in this process, with operator `ana` and viewer `vic`."""
    operators.create(database, "ana", PASSWORD, Role.OPERATOR, actor="tests")
    operators.create(database, "vic", PASSWORD, Role.VIEWER, actor="tests")
    url = database.engine.url.render_as_string(hide_password=False)
    services = Services.build(Settings(), url)
    yield create_app(services).test_client()
    services.close()


def token_of(page: TestResponse) -> str:
    """The CSRF token of a page's first form."""
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


def enter(
    client: FlaskClient, name: str, password: str = PASSWORD, base: str = _HTTPS, after: str = ""
) -> TestResponse:
    """Fetches the form and sends it."""
    token = token_of(client.get("/console/log-in", base_url=base))
    data = {"name": name, "password": password, "csrf": token, "after": after}
    return client.post("/console/log-in", data=data, base_url=base)


def console_of(client: FlaskClient) -> Any:
    """The console's app, behind whatever stands before it."""
    mounted: Any = client.application.wsgi_app
    while not hasattr(mounted, "_below"):
        mounted = getattr(mounted, "_otherwise", None) or mounted._application
    return mounted._below["/console"]


def test_a_browser_is_refused_with_a_wrong_password_and_let_in_with_the_right_one(
    chromium: Browser, console: Console
) -> None:
    """And after logging out, the overview asks for a log-in again."""
    page: Page = chromium.new_page()
    log_in(page, console, "ana", "wrong horse battery")
    assert page.get_by_role("alert").inner_text() == "Name or password is wrong"
    log_in(page, console, "ana")
    assert page.get_by_role("heading", level=1).inner_text() == "Overview"
    page.get_by_role("button", name="Log out").click()
    page.goto(f"{console.url}/")
    assert page.get_by_role("button", name="Log in").is_visible()
    page.context.close()


def test_every_page_asks_for_a_log_in_and_leads_back(client: FlaskClient) -> None:
    """A script is told by the status; a page is led to the form, which leads back to it and never to another site."""
    assert client.get("/console/experiments/x?range=7d").headers["Location"].endswith("after=/experiments/x?range%3D7d")
    assert client.get("/console/", headers={"X-Requested-With": "live"}).status_code == 401
    assert enter(client, "ana", after="/experiments/x").headers["Location"] == "/console/experiments/x"
    for foreign in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
        client.delete_cookie("croupier_session", domain="croupier.example", path="/console")
        assert enter(client, "ana", after=foreign).headers["Location"] == "/console/"


def test_cookies_are_secure_except_to_this_machine(client: FlaskClient) -> None:
    """HttpOnly and SameSite always; Secure unless the address is plain HTTP on loopback."""
    assert "Secure" in client.get("/console/log-in", base_url="http://croupier.example").headers["Set-Cookie"]
    for loopback in ("http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"):
        assert "Secure" not in client.get("/console/log-in", base_url=loopback).headers["Set-Cookie"]
    (cookie,) = enter(client, "ana").headers.getlist("Set-Cookie")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/console"} <= set(cookie.split("; "))


def test_a_form_without_its_token_changes_nothing(client: FlaskClient) -> None:
    """Neither without one nor with another's; nor what a browser says comes from another site."""
    enter(client, "ana")
    assert client.post("/console/log-out", base_url=_HTTPS).status_code == 422
    assert client.post("/console/log-out", data={"csrf": "0" * 64}, base_url=_HTTPS).status_code == 422
    right = {"csrf": token_of(client.get("/console/", base_url=_HTTPS))}
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/console/log-out", data=right, headers=foreign, base_url=_HTTPS).status_code == 403
    assert client.post("/console/log-out", data=right, base_url=_HTTPS).status_code == 303


def test_a_viewer_looks_and_an_operator_acts(client: FlaskClient) -> None:
    """A viewer's action is refused even with the token."""
    enter(client, "vic")
    right = {"csrf": token_of(client.get("/console/", base_url=_HTTPS))}
    assert client.post("/console/experiments/x/actions/pause", data=right, base_url=_HTTPS).status_code == 403


def test_whoever_is_disabled_is_out_at_once(client: FlaskClient, database: Database) -> None:
    """The session ends with the operator's right to one."""
    enter(client, "ana")
    assert client.get("/console/", base_url=_HTTPS).status_code == 200
    operators.disable(database, "ana", datetime.now(UTC), actor="tests")
    assert client.get("/console/", base_url=_HTTPS).status_code == 302


def test_every_answer_carries_the_policy(client: FlaskClient) -> None:
    """Pages, errors and files: a strict policy without exceptions for inline scripts, and no guessing of types."""
    for path in ("/console/log-in", "/console/nothing", "/console/static/console.css"):
        with client.get(path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self'; ")
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_console_is_beside_the_api_not_before_it(client: FlaskClient) -> None:
    """The API's paths are answered by the API, also those that only begin like the console's."""
    assert client.get("/livez").json == {"status": "alive"}
    assert client.get("/consoles").headers["Content-Type"] == "application/problem+json"


def test_every_view_says_whom_it_is_for(client: FlaskClient) -> None:
    """A view without a mark is closed, so there is none."""
    console = console_of(client)
    views = {name: view for name, view in console.view_functions.items() if name != "static"}
    assert [name for name, view in views.items() if not hasattr(view, "whom")] == []
    posts = {rule.endpoint for rule in console.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert {name for name in posts if views[name].whom != Role.OPERATOR} == {"log_in.log_in", "log_in.log_out"}


def test_pages_work_without_the_built_scripts(client: FlaskClient, database: Database) -> None:
    """They say why there is no chart, and where its table is."""
    put(database, "home")
    console_of(client).jinja_env.globals["has_scripts"] = False
    enter(client, "ana")
    page = client.get("/console/experiments/home", base_url=_HTTPS)
    assert page.status_code == 200
    assert "Charts are not built" in page.text
    assert "build/main" not in page.text
    table = client.get("/console/experiments/home/charts/share", base_url=_HTTPS)
    assert "50.0 %" in table.text
