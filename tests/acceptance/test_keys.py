"""Who may do what: API keys, their scopes, their life, and that they stay secret."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask
from werkzeug.routing import AnyConverter, Rule

from app import api as routes
from app import create_app
from app.api.http import requires
from app.auth import Scope
from app.keys import rotate
from app.services import Services
from app.settings import Settings
from app.store.database import Database
from tests.acceptance.talking import TWO_ARMS, decide, key_of, opened, problem
from tests.running import ADMIN_KEY, Api, Service, until

OPEN = {"/livez", "/readyz", "/openapi.json", "/docs"}
ANYTHING = {
    "key": "any", "decision_id": "01990000-0000-7000-8000-000000000000", "arm": "a", "unit": "u", "item_id": "i",
    "entry_id": 1, "alert_id": 1, "silence_id": 1, "avatar": "a", "prefix": "ck_00000000",
}  # fmt: skip


def serving_app() -> Flask:
    """The serving app, with parts that reach no database."""
    return create_app(Services.build(Settings(), "postgresql://nobody@127.0.0.1:1/nothing"))


def routes_of(app: Flask) -> list[tuple[str, str, Scope | None]]:
    """Method, path and scope of every route."""
    found = []
    for rule in app.url_map.iter_rules():
        scope = getattr(app.view_functions[rule.endpoint], "scope", "unmarked")
        found += [(method, path_of(app, rule), cast("Scope | None", scope)) for method in sorted(rule.methods or ())]
    return found


def path_of(app: Flask, rule: Rule) -> str:
    """A path that the rule matches."""
    values = {
        name: min(converter.items) if isinstance(converter, AnyConverter) else ANYTHING[name]
        for name, converter in rule._converters.items()
    }
    return str(app.url_map.bind("localhost").build(rule.endpoint, values, next(iter(rule.methods or ["GET"]))))


ROUTES = routes_of(serving_app())
# OPTIONS is the same for all views of a path.
CLOSED = [(method, path, scope) for method, path, scope in ROUTES if scope is not None and method != "OPTIONS"]


@pytest.fixture(scope="module")
def clients(service: Service) -> Iterator[dict[str, Api]]:
    """A client for each scope, and one for each way to have no valid key."""
    found = {str(scope): service.api(key_of(service, scope)) for scope in Scope}
    revoked = key_of(service)
    assert service.command("keys", "revoke", revoked.partition(".")[0]).returncode == 0
    prefix = key_of(service).partition(".")[0]
    expired = key_of(service, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    rotated = key_of(service)
    with opened(service.database_url) as database:
        rotate(database, rotated.partition(".")[0], datetime.now(UTC), overlap=timedelta(0), actor="test")
    strangers = {
        "an expired key": expired, "a secret before the last": rotated,
        "no key": None, "a wrong key": "ck_00000000.wrong", "a revoked key": revoked, "a wrong secret": f"{prefix}.x",
        "a prefix": prefix, "an empty secret": f"{prefix}.", "letters": "ÿé", "a huge key": "k" * 4000,
        "the digest": "0" * 64,
    }  # fmt: skip
    found |= {name: service.api(key) for name, key in strangers.items()}
    for name in ("a revoked key", "a secret before the last"):
        until(partial(answered, found[name], 401), f"{name} to be refused", 5)
    yield found
    for client in found.values():
        client.close()


def answered(client: Api, status: int) -> bool:
    """Whether a client is answered so eight times in a row."""
    return all(client.get("/v1/experiments").status == status for _ in range(8))


def test_the_open_routes_are_the_documented_ones() -> None:
    """Only the health routes need no key."""
    assert {path for _, path, scope in ROUTES if scope is None} == OPEN
    assert all(isinstance(scope, Scope | None) for _, _, scope in ROUTES)
    documented = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
    for path in OPEN:
        assert f"| `GET {path}` | open |" in documented


@pytest.mark.parametrize(("method", "path", "scope"), CLOSED, ids=str)
def test_every_other_route_is_closed_to_keys_without_its_scope(
    method: str, path: str, scope: Scope, clients: dict[str, Api]
) -> None:
    """401 without a key in force, 403 for a key with any other scope, neither with the right one."""
    for name, client in clients.items():
        answer = client.call(method, path)
        if name not in set(Scope):
            assert answer.status == 401, (name, answer)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        elif name != scope:
            assert answer.status == 403, (name, answer)
        else:
            assert answer.status not in {401, 403, 500}, (name, answer)
        if method != "HEAD" and answer.status in {401, 403}:
            problem(answer, answer.status)


@pytest.mark.parametrize("path", routes.FAST)
def test_fast_routes_are_as_closed_by_either_way(path: str, clients: dict[str, Api]) -> None:
    """With a query, Flask answers them; without one, it does not."""
    for name, client in clients.items():
        statuses = [client.call("POST", path + more, {}).status for more in ("", "?with=flask")]
        expected = 422 if name == routes.FAST[path].scope else 403 if name in set(Scope) else 401
        assert statuses == [expected] * 2, name


@pytest.mark.parametrize("path", sorted({path for _, path, _ in CLOSED}))
def test_the_methods_of_a_route_are_told_to_nobody_without_a_key(path: str, clients: dict[str, Api]) -> None:
    """OPTIONS needs a key in force as everything else does."""
    problem(clients["no key"].call("OPTIONS", path), 401)
    problem(clients["a revoked key"].call("OPTIONS", path), 401)


def test_a_view_without_a_mark_is_closed() -> None:
    """Who forgets to say which scope a view needs has not opened it."""
    app = serving_app()
    app.add_url_rule("/forgotten", "forgotten", lambda: "secret")
    app.add_url_rule("/marked", "marked", requires(Scope.READ)(cast("Any", lambda: "secret")))
    client = app.test_client()
    assert client.get("/forgotten").status_code == 403
    assert client.get("/forgotten", headers={"X-API-Key": "any"}).status_code == 403
    assert client.get("/marked").status_code == 401
    assert set(routes.__all__) == {"FAST", "FAST_BY_KEY", "install"}


def test_the_key_may_come_in_either_header(service: Service) -> None:
    """`X-API-Key` does as well as `Authorization: Bearer`, whatever the case of the words."""
    stranger = service.api(None)
    for headers in ({"X-API-Key": ADMIN_KEY}, {"authorization": f"bearer {ADMIN_KEY}"}, {"x-api-key": ADMIN_KEY}):
        assert stranger.call("GET", "/v1/experiments", headers=headers).status == 200
    for headers in ({"Authorization": f"Basic {ADMIN_KEY}"}, {"Authorization": ADMIN_KEY}, {"Cookie": ADMIN_KEY}):
        problem(stranger.call("GET", "/v1/experiments", headers=headers), 401)
    problem(stranger.get(f"/v1/experiments?key={ADMIN_KEY}"), 401)
    stranger.close()


def test_keys_work_and_die_within_five_seconds(service: Service) -> None:
    """A key made on the command line works at once, in every worker; a revoked one is refused within 5 s."""
    made = service.command("keys", "create", "--name", "somebody", "--scope", "read")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    prefix = key.partition(".")[0]
    client = service.api(key)
    until(lambda: all(client.get("/v1/experiments").status == 200 for _ in range(8)), "the key to work", 5)
    listed = service.command("keys", "list").stdout
    assert prefix in listed
    assert "read" in listed
    assert key not in listed
    assert service.command("keys", "revoke", prefix).returncode == 0
    until(lambda: all(client.get("/v1/experiments").status == 401 for _ in range(8)), "the key to die", 5)
    again = service.command("keys", "revoke", prefix)
    assert again.returncode != 0
    assert prefix in again.stderr
    assert "Traceback" not in again.stderr
    client.close()


def test_a_worker_refuses_a_revoked_key_even_when_it_comes_again_and_again(service: Service) -> None:
    """Revoking is for ever: making sure that a key exists does not wake a revoked one."""
    key = "bootstrap-of-a-test"
    assert service.command("keys", "ensure", key).returncode == 0
    client = service.api(key)
    until(lambda: client.get("/v1/experiments").status == 200, "the key to work", 5)
    line = service.command("keys", "list").stdout.splitlines()[-1]
    assert service.command("keys", "revoke", line.split()[0]).returncode == 0
    assert service.command("keys", "ensure", key).returncode == 0
    until(lambda: client.get("/v1/experiments").status == 401, "the key to die", 5)
    client.close()


def test_keys_are_in_no_log_and_no_answer(service: Service, clients: dict[str, Api], api: Api) -> None:
    """Nothing that the service writes holds a key or its digest, and the database only its SHA-256."""
    api.put("/v1/experiments/keys-secret", TWO_ARMS).ok()
    answers = [decide(api, "keys-secret"), api.get("/v1/experiments/keys-secret").ok(), api.get("/v1/nothing").body]
    log = service.log.read_text()
    for client in clients.values():
        if client._key and len(client._key) > 20:
            assert client._key not in log
    assert ADMIN_KEY not in log
    assert ADMIN_KEY not in str(answers)
    assert ADMIN_KEY not in service.command("keys", "list").stdout


def test_the_audit_log_names_the_key_but_not_its_secret(service: Service, stored: Database) -> None:
    """Who changed an experiment is known by the prefix of the key."""
    key = key_of(service)
    client = service.api(key)
    until(lambda: client.put("/v1/experiments/keys-audit", TWO_ARMS).status < 300, "the key to work", 5)
    client.post("/v1/experiments/keys-audit/pause").ok()
    with stored.transaction() as connection:
        query = "SELECT actor, action FROM audit_log WHERE subject = 'keys-audit' ORDER BY id"
        found = connection.exec_driver_sql(query).all()
    assert found == [(key.partition(".")[0], "create"), (key.partition(".")[0], "pause")]
    client.close()


def test_an_unknown_scope_is_refused_on_the_command_line(service: Service) -> None:
    """A misspelt scope makes no key."""
    made = service.command("keys", "create", "--name", "x", "--scope", "everything")
    assert made.returncode != 0
    assert "everything" in made.stderr
    assert not made.stdout


def test_keys_of_ones_own_choice_come_from_files(service: Service, tmp_path: Path) -> None:
    """`keys ensure --file` makes one with the scopes that are asked for, `migrate` makes the bootstrap key."""
    (tmp_path / "metrics").write_text("a-key-for-metrics\n")
    (tmp_path / "every").write_text("a-key-with-every-scope\n")
    own = replace(service, environment=service.environment | {"CROUPIER_BOOTSTRAP_KEY_FILE": str(tmp_path / "every")})
    for arguments in (["keys", "ensure", "--file", str(tmp_path / "metrics"), "--scope", "read"], ["migrate"]):
        ran = own.command(*arguments)
        assert ran.returncode == 0, ran.stderr
    reader, ruler = service.api("a-key-for-metrics"), service.api("a-key-with-every-scope")
    for client in (reader, ruler):
        until(partial(answered, client, 200), "the key to work", 5)
    problem(reader.put("/v1/items", {"items": []}), 403)
    ruler.put("/v1/items", {"items": []}).ok()
    reader.close()
    ruler.close()
    nothing = service.command("keys", "ensure")
    assert nothing.returncode != 0
    assert "--file" in nothing.stderr
