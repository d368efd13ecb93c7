"""OFREP's shapes and errors; what is decided, held, logged and counted for flags."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, experiments
from app.api import FAST_BY_KEY
from app.auth import Scope, new_key
from app.errors import Unavailable
from app.keys import Wanted, add_key
from app.learner import learn_once
from app.recommenders import Static
from app.services import Services
from app.serving.allocations import Allocations
from app.serving.flags import hold_s, tag_of
from app.settings import Settings
from app.specification import Arm, Override, Reward, Specification
from app.store.database import Database
from bandits.fixed import Fixed
from bandits.selection import unit_interval
from tests.app.building import EAGER, EXPLICIT, disagreements, flag, now, put, query, specification

FLAGS = "/ofrep/v1/evaluate/flags"
HOUR_S = 3600.0


class Worker(NamedTuple):
    """A web worker's app, in this process, with keys by scope."""

    client: FlaskClient
    services: Services
    keys: Mapping[str, str]

    def post(self, path: str, body: Any = None, *, scope: str = "decide", **headers: str) -> TestResponse:
        """One request; `body` is sent as it is if it is bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        said = {"X-API-Key": self.keys[scope], **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post(path, data=data, headers=said)

    def flag(self, key: str, unit: str = "u", **context: Any) -> Any:
        """What a flag is evaluated to."""
        answer = self.post(f"{FLAGS}/{key}", {"context": {"targetingKey": unit, **context}})
        assert answer.status_code == 200, answer.data
        return answer.json

    def flags(self, unit: str, **headers: str) -> TestResponse:
        """All flags of a unit."""
        return self.post(FLAGS, {"context": {"targetingKey": unit}}, **headers)


@pytest.fixture(scope="module")
def start(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Worker]]:
    """Starts workers of one database."""
    keys = {str(scope): new_key() for scope in Scope}
    with shared_database.transaction() as connection:
        for scope in Scope:
            add_key(connection, keys[str(scope)], Wanted(name="test", scopes=(scope,)), actor="test")
    url = shared_database.engine.url.render_as_string(hide_password=False)
    started: list[Services] = []

    def one(*, read: bool = True) -> Worker:
        settings = Settings(commit_budget_ms=5_000, data_dir=tmp_path_factory.mktemp("worker"))
        services = Services.build(settings, url, shard=len(started))
        started.append(services)
        if read:
            services.allocations.refresh()
        services.keys.refresh()
        return Worker(create_app(services).test_client(), services, keys)

    yield one
    for services in started:
        services.close()


@pytest.fixture(scope="module")
def worker(start: Callable[..., Worker]) -> Worker:
    """One that all tests of this file use."""
    return start()


@pytest.fixture
def other(start: Callable[..., Worker]) -> Worker:
    """Another one, which has started just now."""
    return start()


def offer(worker: Worker, database: Database, key: str, spec: Specification | None = None, **more: Any) -> None:
    """An experiment that a worker knows of."""
    put(database, key, spec, **more)
    worker.services.allocations.refresh()


def steady(hint: str) -> str:
    """A unit whose hold does not end within the next minutes."""
    at = now().timestamp() / HOUR_S
    units = (f"{hint}-{n}" for n in range(1000))
    return next(unit for unit in units if 0.2 < (at + unit_interval(b"", "hold", unit)) % 1 < 0.8)


def decisions_of(database: Database, key: str) -> int:
    """How many there are."""
    return int(query(database, "SELECT count(*) FROM decisions WHERE experiment = :key", key=key)[0][0])


def of(answer: TestResponse, key: str) -> Any:
    """One flag of all."""
    return next(one for one in answer.get_json()["flags"] if one["key"] == key)


def confirm(worker: Worker, decision_id: str) -> str:
    """Says that a decision was shown."""
    answer = worker.post("/v1/exposures", {"decision_id": decision_id}, scope="reward").get_json()
    return str(answer["status"])


def counted(database: Database, key: str) -> tuple[int, int]:
    """Decisions and exposures of an experiment."""
    text = "SELECT sum(decisions), sum(exposures) FROM decision_counts WHERE experiment = :key"
    return tuple(map(int, query(database, text, key=key)[0]))  # type: ignore[return-value]


VALUES = {"text": "grid", "yes": True, "no": False, "count": 3, "zero": 0, "ratio": 3.0, "object": {"a": [1, 2.0]}}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_the_constant_of_its_arm(worker: Worker, shared_database: Database, key: str, name: str) -> None:
    """Of the type that the specification gave it, falsy ones too; a float keeps its decimal point."""
    offer(worker, shared_database, key, Specification(arms=(flag("only", VALUES[name]),)))
    answer = worker.post(f"{FLAGS}/{key}", {"context": {"targetingKey": "u"}})
    assert (answer.get_json()["value"], answer.get_json()["variant"]) == (VALUES[name], "only")
    assert (b'"value":3.0' in answer.data) == (name == "ratio")
    assert b'"propensity":1.0' in answer.data


def test_a_flag_has_the_protocols_members(worker: Worker, shared_database: Database, key: str) -> None:
    """Without a constant the arm's key is the value; the metadata leads to the decision, which has the context."""
    offer(worker, shared_database, key)
    found = worker.flag(key, "user-1", device="ios", age=7)
    assert found.keys() == {"key", "value", "reason", "variant", "metadata"}
    assert (found["key"], found["reason"]) == (key, "SPLIT")
    assert found["value"] == found["variant"] in {"a", "b"}
    assert found["metadata"].keys() == {"decision_id", "propensity", "allocation"}
    text = "SELECT unit, arm, served_arm, propensity, allocation, context, items, awaits_confirmation, repeated"
    ((unit, arm, served, propensity, number, context, *rest),) = query(
        shared_database, f"{text} FROM decisions WHERE decision_id = :id", id=found["metadata"]["decision_id"]
    )
    assert (unit, context, rest) == ("user-1", {"device": "ios", "age": 7}, [[], None, None])
    assert (arm, served) == (found["variant"],) * 2
    assert (propensity, number) == (found["metadata"]["propensity"], found["metadata"]["allocation"])


def test_reasons_are_openfeatures(worker: Worker, shared_database: Database, key: str) -> None:
    """Pinned and held-out units are targeted; a paused experiment's flag is disabled, and has its control arm."""
    pinned = specification("a", "b", overrides=(Override(arm="b", units=("pinned",)),))
    offer(worker, shared_database, key, pinned)
    assert {worker.flag(key, "pinned")[name] for name in ("reason", "variant")} == {"TARGETING_MATCH", "b"}
    experiments.change_state(shared_database, key, "pause", actor="tester")
    worker.services.allocations.refresh()
    for found in (worker.flag(key), of(worker.flags("u"), key)):
        assert (found["reason"], found["variant"], found["metadata"]["propensity"]) == ("DISABLED", "a", 1.0)


@pytest.mark.parametrize("state", ["draft", "stopped"])
def test_what_is_not_being_served_is_no_flag(worker: Worker, shared_database: Database, key: str, state: Any) -> None:
    """A draft's and a stopped experiment's flag is not found, so code takes its default; it is not among all flags."""
    offer(worker, shared_database, key, state=state)
    answer = worker.post(f"{FLAGS}/{key}", {"context": {"targetingKey": "u"}})
    assert (answer.status_code, answer.get_json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert state in answer.get_json()["errorDetails"]
    assert key not in [one["key"] for one in worker.flags("u").get_json()["flags"]]
    assert decisions_of(shared_database, key) == 0


BAD: dict[str, tuple[int, str, Any]] = {
    "nothing": (400, "PARSE_ERROR", b""),
    "no JSON": (400, "PARSE_ERROR", b"{"),
    "no UTF-8": (400, "PARSE_ERROR", b"\xff\xfe"),
    "no object": (400, "INVALID_CONTEXT", []),
    "no context": (400, "TARGETING_KEY_MISSING", {}),
    "a null context": (400, "INVALID_CONTEXT", {"context": None}),
    "a context that is a text": (400, "INVALID_CONTEXT", {"context": "u"}),
    "an empty context": (400, "TARGETING_KEY_MISSING", {"context": {}}),
    "a null key": (400, "TARGETING_KEY_MISSING", {"context": {"targetingKey": None}}),
    "an empty key": (400, "TARGETING_KEY_MISSING", {"context": {"targetingKey": ""}}),
    "a number as key": (400, "INVALID_CONTEXT", {"context": {"targetingKey": 7}}),
    "a key too long": (400, "INVALID_CONTEXT", {"context": {"targetingKey": "u" * 257}}),
    "what cannot be stored": (400, "INVALID_CONTEXT", {"context": {"targetingKey": "u", "x": "\0"}}),
    "no number": (400, "INVALID_CONTEXT", b'{"context": {"targetingKey": "u", "x": NaN}}'),
    "half a character": (400, "PARSE_ERROR", b'{"context": {"targetingKey": "\\ud800"}}'),
    "nested without end": (400, "INVALID_CONTEXT", b'{"context": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/bad"])
def test_bad_input_is_told_in_openfeatures_words(
    worker: Worker, shared_database: Database, path: str, name: str
) -> None:
    """Key, code and details stand beside the members of a problem, and nothing is decided."""
    offer(worker, shared_database, "bad")
    status, code, body = BAD[name]
    answer = worker.post(path, body)
    found = answer.get_json()
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert (found["status"], found["errorCode"], found["errorDetails"]) == (status, code, found["detail"])
    assert found.get("key") == ("bad" if path != FLAGS else None)
    assert {"type", "title", "instance"} <= found.keys()
    assert found["errors"]
    assert decisions_of(shared_database, "bad") == 0


def test_a_large_context_is_refused_for_all_flags(worker: Worker, shared_database: Database, key: str) -> None:
    """It would be logged once with each; a single flag may have it."""
    offer(worker, shared_database, key)
    body = {"context": {"targetingKey": "u", "x": "y" * 16_384}}
    answer = worker.post(FLAGS, body)
    assert (answer.status_code, answer.get_json()["errorCode"]) == (400, "INVALID_CONTEXT")
    assert decisions_of(shared_database, key) == 0
    assert worker.post(f"{FLAGS}/{key}", body).status_code == 200


def test_unknown_members_beside_the_context_are_no_fault(worker: Worker, shared_database: Database, key: str) -> None:
    """The protocol may grow; so may its query, and a content type has parameters."""
    offer(worker, shared_database, key)
    body = {"context": {"targetingKey": "u"}, "later": 1}
    assert worker.post(f"{FLAGS}/{key}?flagConfigEtag=x", body).status_code == 200
    assert worker.post(f"{FLAGS}?flagConfigLastModified=1", body).status_code == 200


@pytest.mark.parametrize("key", ["nothing", "with space", "Ünïcøde", "x" * 65, "a/b", "a%2Fb", "%00"])
def test_an_unknown_flag_is_not_found(worker: Worker, key: str) -> None:
    """Whatever it is called."""
    answer = worker.post(f"{FLAGS}/{key}", {"context": {"targetingKey": "u"}})
    found = answer.get_json()
    assert (answer.status_code, found["errorCode"], found["status"]) == (404, "FLAG_NOT_FOUND", 404)
    assert found["key"]
    assert found["errorDetails"]


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/bad"])
def test_who_may_not_hears_it(worker: Worker, path: str) -> None:
    """401, 403 and, for what is no call or too large, 405 and 413: problems as everywhere."""
    body = {"context": {"targetingKey": "u"}}
    for status, answer in (
        (401, worker.client.post(path, json=body)),
        (403, worker.post(path, body, scope="reward")),
        (405, worker.client.get(path, headers={"X-API-Key": worker.keys["decide"]})),
        (413, worker.post(path, b" " * (1024 * 1024 + 1))),
    ):
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
        assert "errorCode" not in answer.get_json()


def test_the_fast_way_and_flasks_answer_alike(worker: Worker, shared_database: Database, key: str) -> None:
    """A query makes a request one for Flask; but for their ids the answers are the same, and so are the scopes."""
    offer(worker, shared_database, key, specification("only"))
    answers = []
    for path in (f"{FLAGS}/{key}", f"{FLAGS}/{key}?a=b"):
        answer = worker.post(path, {"context": {"targetingKey": "u"}})
        found = answer.get_json()
        del found["metadata"]["decision_id"]
        answers.append((found, dict(answer.headers)))
    assert answers[0] == answers[1]
    bad = [worker.post(f"{FLAGS}/{key}{query}", b"{") for query in ("", "?a=b")]
    assert (bad[0].data, bad[0].headers) == (bad[1].data, bad[1].headers)
    app = worker.client.application
    for before, route in FAST_BY_KEY.items():
        (rule,) = [rule for rule in app.url_map.iter_rules() if rule.rule == route.rule]
        assert route.rule == f"{before}/<key>"
        view: Any = app.view_functions[rule.endpoint]
        assert view.scope is route.scope


def test_all_flags_are_those_that_are_served(worker: Worker, shared_database: Database, key: str) -> None:
    """Each once, by key; each with a decision of its own, which awaits confirmation whatever the experiment says."""
    offer(worker, shared_database, key)
    answer = worker.flags("u")
    keys = [one["key"] for one in answer.get_json()["flags"]]
    served = query(shared_database, "SELECT key FROM experiments WHERE state IN ('running', 'paused')")
    assert keys == sorted(name for (name,) in served)
    ids = [UUID(one["metadata"]["decision_id"]) for one in answer.get_json()["flags"]]
    text = "SELECT count(*), count(*) FILTER (WHERE awaits_confirmation) FROM decisions WHERE decision_id = ANY(:ids)"
    assert query(shared_database, text, ids=ids) == [(len(keys), len(keys))]


def test_all_flags_are_the_same_in_every_worker(
    worker: Worker, other: Worker, shared_database: Database, key: str
) -> None:
    """Also in one that has just started; a unit keeps its arms, though each request would be drawn anew otherwise."""
    arms = tuple(f"arm-{n}" for n in range(20))
    offer(worker, shared_database, key, specification(*arms))
    other.services.allocations.refresh()
    unit = steady("same")
    answers = [asked.flags(unit) for asked in (worker, other, worker, other)]
    assert len({answer.headers["ETag"] for answer in answers}) == 1
    assert len({of(answer, key)["variant"] for answer in answers}) == 1
    assert len({worker.flag(key, unit)["variant"] for _ in range(20)}) > 1  # 20 equal ones: once in 10^24 runs


def test_unchanged_flags_write_nothing(worker: Worker, shared_database: Database, key: str) -> None:
    """304 without a body, as long as they are held; not to another unit, nor under another tag."""
    offer(worker, shared_database, key)
    unit = steady("polling")
    tag = worker.flags(unit).headers["ETag"]
    assert tag.startswith('W/"')
    before = decisions_of(shared_database, key)
    for sent in (tag, f'"x", {tag}', tag.removeprefix("W/")):
        answer = worker.flags(unit, If_None_Match=sent)
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (304, b"", tag)
        assert "Content-Type" not in answer.headers
    assert decisions_of(shared_database, key) == before
    assert worker.flags(steady("another"), If_None_Match=tag).status_code == 200
    assert worker.flags(unit, If_None_Match='"x"').status_code == 200
    assert decisions_of(shared_database, key) == before + 2


def test_what_is_learned_waits_for_the_end_of_the_hold(worker: Worker, shared_database: Database, key: str) -> None:
    """A new allocation leaves the tag as it is, so whether a unit is dealt anew does not depend on its arm."""
    offer(worker, shared_database, key, specification("a", "b", policy=EAGER, reward=EXPLICIT))
    unit = steady("learning")
    first = worker.flags(unit)
    for _ in range(3):
        seen = worker.flag(key)["metadata"]["decision_id"]
        worker.post("/v1/feedback", {"decision_id": seen, "value": 1}, scope="reward")
    assert learn_once(shared_database, key, now() + timedelta(seconds=2))
    worker.services.allocations.refresh()
    assert worker.services.allocations.find(key).number == of(first, key)["metadata"]["allocation"] + 1
    assert worker.flags(unit, If_None_Match=first.headers["ETag"]).status_code == 304
    assert worker.flags(unit).headers["ETag"] == first.headers["ETag"]


def test_a_change_of_an_experiment_is_seen_at_once(worker: Worker, shared_database: Database, key: str) -> None:
    """Another specification, another state, another experiment: all end the hold."""
    unit, tags = steady("changing"), []
    offer(worker, shared_database, key)
    tags.append(worker.flags(unit).headers["ETag"])
    offer(worker, shared_database, key, specification("a", "b", overrides=(Override(arm="b", units=(unit,)),)))
    changed = worker.flags(unit, If_None_Match=tags[-1])
    assert of(changed, key)["variant"] == "b"
    tags.append(changed.headers["ETag"])
    experiments.change_state(shared_database, key, "pause", actor="tester")
    worker.services.allocations.refresh()
    tags.append(worker.flags(unit, If_None_Match=tags[-1]).headers["ETag"])
    offer(worker, shared_database, f"{key}-new")
    tags.append(worker.flags(unit, If_None_Match=tags[-1]).headers["ETag"])
    assert len({*tags}) == 4


def test_a_hold_ends_while_its_decisions_can_still_be_confirmed(
    worker: Worker, shared_database: Database, key: str
) -> None:
    """Once an hour, or twice within the time that events are taken; units end theirs at different times."""
    offer(worker, shared_database, key, specification(reward=Reward(window_s=100, late_until_s=200)))
    offer(worker, shared_database, f"{key}-long")
    short, long = (worker.services.allocations.find(name) for name in (key, f"{key}-long"))
    assert (hold_s(short.specification.reward), hold_s(long.specification.reward)) == (100, HOUR_S)
    for served, length in ((short, 100), (long, 3600)):
        ends = set()
        for unit in ("u", "v", "w"):
            tags = [tag_of([served], unit, 1_800_000_000.5 + s) for s in range(2 * length)]
            changes = [s for s in range(1, len(tags)) if tags[s] != tags[s - 1]]
            assert len({*tags}) in {2, 3}
            assert {b - a for a, b in pairwise(changes)} <= {length}
            ends.add(changes[0])
        assert len(ends) == 3


def test_propensities_of_all_flags_are_exact(worker: Worker, shared_database: Database, key: str) -> None:
    """Over 2,000 units an arm has its logged probability: 5 standard deviations, a false alarm in 1,700,000 runs."""
    arms, policy = ("a", "b"), Fixed(probabilities={"a": 0.2, "b": 0.8})
    offer(worker, shared_database, key, specification(*arms, policy=policy))
    served = worker.services.allocations.find(key)
    chosen = [served.stick(f"unit-{n}") for n in range(2000)]
    assert served.probabilities == (0.2, 0.8)
    assert abs(chosen.count(0) - 400) < 5 * (2000 * 0.2 * 0.8) ** 0.5
    found = of(worker.flags("unit-0"), key)
    assert found["metadata"]["propensity"] == served.probabilities[arms.index(found["variant"])]
    assert found["variant"] == arms[chosen[0]]


def test_all_flags_count_once_they_are_confirmed(worker: Worker, shared_database: Database, key: str) -> None:
    """A bulk decision is no exposure until `POST /v1/exposures`; its feedback counts from then on, and one by one."""
    offer(worker, shared_database, key)
    unit = steady("counting")
    seen = of(worker.flags(unit), key)["metadata"]["decision_id"]
    assert counted(shared_database, key) == (1, 0)
    worker.post("/v1/feedback", {"decision_id": seen, "value": 1}, scope="reward")
    statistics = "SELECT coalesce(sum(n), 0) FROM arm_statistics WHERE experiment = :key"
    assert query(shared_database, statistics, key=key) == [(0,)]
    assert [confirm(worker, seen) for _ in range(2)] == ["accepted", "duplicate"]
    assert counted(shared_database, key) == (1, 1)
    assert query(shared_database, statistics, key=key) == [(1,)]
    worker.flag(key, unit)
    assert counted(shared_database, key) == (2, 2)
    assert disagreements(shared_database) == []


def test_only_the_first_of_a_units_choices_is_a_sample(worker: Worker, shared_database: Database, key: str) -> None:
    """What sticks to a unit is drawn once: later ones are marked as repeated, whatever the assignment."""
    offer(worker, shared_database, key)
    ids = [of(worker.flags("again"), key)["metadata"]["decision_id"] for _ in range(3)]
    text = "SELECT repeated FROM decisions WHERE decision_id = ANY(CAST(:ids AS uuid[])) ORDER BY decision_id"
    assert query(shared_database, text, ids=ids) == [(False,), (True,), (True,)]
    assert disagreements(shared_database) == []


def test_more_than_a_thousand_flags_are_cut(
    worker: Worker, shared_database: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the answer says how many are missing."""
    offer(worker, shared_database, key)
    served, tag = worker.services.allocations.find(key), worker.flags("u").headers["ETag"]
    monkeypatch.setattr(worker.services.allocations, "every", lambda: [served] * 1003)
    found = worker.flags("u", If_None_Match=tag).get_json()
    assert (len(found["flags"]), found["metadata"]) == (1000, {"left_out": 3})


def test_a_worker_that_has_just_started_reads_first(start: Callable[..., Worker], worker: Worker) -> None:
    """No flags would look like all of them being gone. While the database is away there is no answer at all."""
    fresh = start(read=False)
    assert fresh.flags(steady("first")).headers["ETag"] == worker.flags(steady("first")).headers["ETag"]
    nowhere = Allocations(Database("postgresql://nobody@127.0.0.1:1/nothing"))
    with pytest.raises(Unavailable):
        nowhere.every()


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/home"])
def test_who_is_to_come_back_hears_when(
    worker: Worker, shared_database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """In whole seconds; clients read nothing else."""

    def fail(_: object) -> None:
        raise Unavailable(retry_after_s=2)

    offer(worker, shared_database, "home")
    monkeypatch.setattr(worker.services.decisions, "record", fail)
    answer = worker.post(path, {"context": {"targetingKey": "u"}})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/home"])
def test_a_fault_of_ours_is_general(
    worker: Worker, shared_database: Database, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Clients read the body of a 500 too; it shows nothing of its inside."""

    def fail(_: object) -> None:
        raise RuntimeError("secret")

    offer(worker, shared_database, "home")
    monkeypatch.setattr(worker.services.decisions, "record", fail)
    answer = worker.post(path, {"context": {"targetingKey": "u"}})
    assert (answer.status_code, answer.get_json()["errorCode"]) == (500, "GENERAL")
    assert b"secret" not in answer.data


def test_arms_that_recommend_lists_are_not_asked(worker: Worker, shared_database: Database, key: str) -> None:
    """Their key is the value: nobody would see the items, so none are logged."""
    arm = Arm(key="listing", recommender=Static(items=("1", "2")))
    offer(worker, shared_database, key, Specification(arms=(arm,)))
    found = worker.flag(key)
    assert found["value"] == "listing"
    text = "SELECT items, reason, learnable FROM decisions WHERE decision_id = :id"
    assert query(shared_database, text, id=found["metadata"]["decision_id"]) == [([], "warm_up", True)]
