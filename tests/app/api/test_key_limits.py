"""Keys for some experiments only, and keys with a rate: on every route, and on every way that an event can take."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient

from app import create_app
from app.api import FAST
from app.api.http import Names
from app.auth import Scope
from app.keys import Wanted, create
from app.monitor import match_unmatched
from app.services import Services
from app.serving.recovery import encode
from app.settings import Settings
from app.store.database import Database
from tests.app.building import decision, disagreements, event, id_at, now, put, query, record, specification

FORMS = ("fast", "flask")


class Worker(NamedTuple):
    """A web worker in this process, with experiments "mine" and "other"."""

    client: FlaskClient
    services: Services
    key: str  # every scope, for "mine" only

    def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """An answer."""
        headers = {"X-API-Key": key or self.key}
        return self.client.open(path, method=method, json=body, headers=headers)

    def post(self, path: str, body: Any, form: str = "fast", **more: Any) -> Any:
        """An answer to a POST, with Flask's machinery or without."""
        return self.call("POST", path + ("?with=flask" if form == "flask" else ""), body, **more)


@pytest.fixture(scope="module")
def worker(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One that is used by all tests of this file."""
    for key in ("mine", "other"):
        put(shared_database, key, specification("a", "b"))
    only, _ = create(shared_database, Wanted(name="mine", experiments=("mine",)), now(), actor="test")
    url = shared_database.engine.url.render_as_string(hide_password=False)
    services = Services.build(Settings(commit_budget_ms=5_000, data_dir=tmp_path_factory.mktemp("worker")), url)
    services.allocations.refresh()
    services.keys.refresh()
    yield Worker(create_app(services).test_client(), services, only)
    services.close()


def new_key(worker: Worker, **wanted: Any) -> str:
    """A key that the worker knows."""
    key, _ = create(worker.services.database, Wanted(name="test", **wanted), now(), actor="test")
    worker.services.keys.refresh()
    return key


def refusal(answer: Any) -> str:
    """Why a key for "mine" was refused."""
    assert answer.status_code == 403, answer.data
    detail: str = answer.json["detail"]
    assert "for mine only" in detail
    return detail


# Where a key for some experiments may go, beside everything below /v1/experiments/<key>.
ITS_OWN = {
    ("POST", "/v1/recommendations"), ("POST", "/v1/recommendations/batch"), ("POST", "/v1/feedback"),
    ("POST", "/v1/exposures"), ("GET", "/v1/experiments"), ("GET", "/v1/decisions/<uuid:decision_id>"),
    ("POST", "/ofrep/v1/evaluate/flags"), ("POST", "/ofrep/v1/evaluate/flags/<key>"),
}  # fmt: skip
BY_QUERY = {
    ("GET", "/v1/quarantine"), ("GET", "/v1/alerts"), ("GET", "/v1/alert-rules"), ("GET", "/v1/alert-rules/<key>"),
    ("PUT", "/v1/alert-rules/<key>"), ("DELETE", "/v1/alert-rules/<key>"), ("GET", "/v1/units/<path:unit>"),
}  # fmt: skip


def closed_routes(worker: Worker) -> Iterator[tuple[str, str, str, Names]]:
    """Method, rule, a path about "other", and what the view says, of every route that needs a key."""
    app = worker.client.application
    adapter = app.url_map.bind("localhost")
    values = {"decision_id": id_at(now()), "entry_id": 1, "alert_id": 1, "silence_id": 1}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        action = "start" if "experiments" in rule.rule else "replay"
        words = {name: {**values, "action": action}.get(name, "other") for name in rule.arguments}
        if getattr(view, "scope", None) is not None:
            for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
                yield (
                    method,
                    rule.rule,
                    adapter.build(rule.endpoint, words, method),
                    getattr(view, "names", Names.NOWHERE),
                )


def test_every_route_says_which_experiment_it_is_about_or_is_closed(worker: Worker) -> None:
    """A key for "mine" that may do everything gets nowhere where another experiment is, or may be, touched."""
    found: dict[Names, set[tuple[str, str]]] = {names: set() for names in Names}
    for method, rule, path, names in closed_routes(worker):
        if rule.startswith("/v1/experiments/<key>"):
            assert "not for 'other'" in refusal(worker.call(method, path))
            continue
        found[names].add((method, rule))
        if names is Names.NOWHERE:
            assert "names none" in refusal(worker.call(method, path + "?experiment=mine"))
        if names is Names.IN_QUERY:
            for query_string in ("", "?experiment=other", "?experiment=", "?experiment=other&experiment=mine"):
                refusal(worker.call(method, path + query_string))
            assert worker.call(method, path + "?experiment=mine").status_code != 403
    assert found[Names.ITSELF] == ITS_OWN
    assert found[Names.IN_QUERY] == BY_QUERY
    assert found[Names.NOWHERE] >= {("GET", "/v1/keys"), ("POST", "/v1/experiments"), ("GET", "/metrics")}


def test_its_own_experiment_is_open(worker: Worker) -> None:
    """Everything below its path; and the list of experiments has that one only, page by page."""
    for path in ("", "/arms", "/history", "/audit", "/quality"):
        assert worker.call("GET", f"/v1/experiments/mine{path}").status_code == 200, path
    for query_string in ("", "?limit=1"):
        listed = worker.call("GET", f"/v1/experiments{query_string}").json["experiments"]
        assert [one["key"] for one in listed] == ["mine"]
    assert worker.call("PATCH", "/v1/experiments/mine", {"holdout": 0.0}).status_code == 200


@pytest.mark.parametrize("form", FORMS)
def test_it_decides_for_its_own_experiment_only(worker: Worker, form: str) -> None:
    """Neither for another one nor for one that does not exist, which it cannot tell apart."""
    path = "/v1/recommendations"
    assert worker.post(path, {"experiment": "mine", "unit": "u"}, form).status_code == 200
    told = [refusal(worker.post(path, {"experiment": e, "unit": "u"}, form)) for e in ("other", "nothing")]
    assert told[0].replace("other", "nothing") == told[1]


@pytest.mark.parametrize("form", FORMS)
def test_each_request_of_a_batch_is_judged_by_itself(worker: Worker, form: str) -> None:
    """The others are decided."""
    requests = [{"experiment": key, "unit": "u"} for key in ("mine", "other", "mine")]
    results = worker.post("/v1/recommendations/batch", {"requests": requests}, form).json["results"]
    assert [result.get("status", 200) for result in results] == [200, 403, 200]


def test_a_decision_of_another_experiment_is_not_read(worker: Worker) -> None:
    """Nor taken over by its id."""
    mine, other = decision("mine"), decision("other")
    record(worker.services.database, [mine, other])
    assert worker.call("GET", f"/v1/decisions/{mine.decision_id}").status_code == 200
    refusal(worker.call("GET", f"/v1/decisions/{other.decision_id}"))
    body = {"experiment": "mine", "unit": "user-1", "decision_id": str(other.decision_id)}
    assert worker.post("/v1/recommendations", body).status_code == 409


def sent(path: str, decision_id: object) -> dict[str, Any]:
    """An event as a frontend sends it."""
    return {"decision_id": str(decision_id), **({"value": 1} if path == "/v1/feedback" else {})}


def kept(database: Database, decision_id: object) -> list[str]:
    """The tables that know of an event about a decision."""
    tables = ("feedback", "exposures", "outcomes", "unmatched_feedback", "unmatched_exposures", "quarantine")
    text = "SELECT count(*) FROM {} WHERE decision_id = CAST(:id AS uuid)"
    return [name for name in tables if query(database, text.format(name), id=str(decision_id)) != [(0,)]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/exposures"])
def test_events_about_another_experiment_are_refused(worker: Worker, path: str, form: str) -> None:
    """Alone with 403, among others as the one that is rejected; nothing of them is kept, not even in quarantine."""
    database, mine, other = worker.services.database, decision("mine"), decision("other")
    record(database, [mine, other])
    refused = worker.post(path, sent(path, other.decision_id), form)
    assert "for mine only" in refused.json["detail"]
    assert refused.status_code == 403
    assert "other" not in refused.json["detail"]
    many = {path.rpartition("/")[2].replace("feedback", "events"): [sent(path, d.decision_id) for d in (other, mine)]}
    results = worker.post(path, many, form).json["results"]
    assert [result["status"] for result in results] == ["rejected", "accepted"]
    assert kept(database, other.decision_id) == []
    assert kept(database, mine.decision_id) != []
    free = new_key(worker)
    assert worker.post(path, sent(path, other.decision_id), form, key=free).json["status"] == "accepted"
    assert disagreements(database) == []


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/exposures"])
def test_an_event_that_comes_before_its_decision_stays_restricted(worker: Worker, path: str) -> None:
    """It waits with its key's experiments, and is forgotten when the decision turns out to be another's."""
    database, mine, other = worker.services.database, decision("mine"), decision("other")
    for row in (mine, other):
        assert worker.post(path, sent(path, row.decision_id)).json["status"] == "unmatched"
    record(database, [mine, other])
    while match_unmatched(database, now() + timedelta(minutes=1)):
        pass
    assert kept(database, other.decision_id) == []
    assert {"feedback", "exposures"} & {*kept(database, mine.decision_id)}
    assert not {"unmatched_feedback", "unmatched_exposures"} & {*kept(database, mine.decision_id)}


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/exposures"])
def test_an_event_from_the_spool_stays_restricted(worker: Worker, path: str) -> None:
    """What was acknowledged while the database was away is judged when it is back."""
    services, mine, other = worker.services, decision("mine"), decision("other")
    record(services.database, [mine, other])
    services.health.away = True
    for row in (mine, other):
        assert worker.post(path, sent(path, row.decision_id)).json["durability"] == "spooled"
    services.recovery.once()
    assert kept(services.database, other.decision_id) == []
    assert kept(services.database, mine.decision_id) != []


def test_an_event_that_is_replayed_from_quarantine_stays_restricted(worker: Worker) -> None:
    """Its payload holds the list; events of keys without one have no such member, in the spool neither."""
    database, row = worker.services.database, decision("mine")
    record(database, [row])
    assert worker.post("/v1/feedback", {**sent("/v1/feedback", row.decision_id), "value": 7}).status_code == 422
    ((payload,),) = query(database, "SELECT payload FROM quarantine WHERE decision_id = :id", id=row.decision_id)
    assert payload["permitted"] == ["mine"]
    assert b"permitted" not in encode("feedback", event(row))


def test_events_of_the_version_before_are_read(worker: Worker, tmp_path: Path) -> None:
    """A spool that was written without the member is replayed after an update."""
    del tmp_path
    services, row = worker.services, decision("mine")
    record(services.database, [row])
    services.spool.append([encode("feedback", event(row))])
    services.recovery.once()
    assert "feedback" in kept(services.database, row.decision_id)


@pytest.mark.parametrize("form", FORMS)
def test_too_many_requests_are_told_when_to_come_again(worker: Worker, form: str) -> None:
    """429 as a problem, with whole seconds; a key without a rate is not counted."""
    slow, wanted = new_key(worker, rate_per_s=0.1), {"experiment": "mine", "unit": "u"}
    ask = partial(worker.post, "/v1/recommendations", wanted, form)
    assert ask(key=slow).status_code == 200
    refused = ask(key=slow)
    assert refused.status_code == 429
    assert refused.content_type == "application/problem+json"
    assert refused.json["type"] == "urn:croupier:problem:too-many-requests"
    # 0.1 a second, shared by two workers: one in 20 s.
    assert 18 <= int(refused.headers["Retry-After"]) <= 20
    assert {ask().status_code for _ in range(30)} == {200}


def test_a_request_that_holds_many_counts_as_many(worker: Worker) -> None:
    """It is let through whole, and what comes next waits for it to be paid."""
    for path, name in (
        ("/v1/recommendations/batch", "requests"),
        ("/v1/feedback", "events"),
        ("/v1/exposures", "exposures"),
    ):
        key = new_key(worker, rate_per_s=2, scopes=(Scope.DECIDE, Scope.REWARD))
        assert worker.post(path, {name: [{}] * 50}, key=key).status_code == 200
        assert 45 <= int(worker.post(path, {name: []}, key=key).headers["Retry-After"]) <= 50


def test_fast_routes_look_after_experiments_themselves(worker: Worker) -> None:
    """As their views do: nobody looks before them."""
    adapter = worker.client.application.url_map.bind("localhost")
    for path in FAST:
        endpoint, _ = adapter.match(path, method="POST")
        view: Any = worker.client.application.view_functions[endpoint]
        assert view.names is Names.ITSELF
