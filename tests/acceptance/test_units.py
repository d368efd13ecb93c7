"""`GET /v1/units/{id}`: the story of one unit over HTTP, with an outcome in every state."""

import json
from typing import Any
from urllib.parse import quote

import pytest
import urllib3

from app.store.database import Database
from app.store.verify import verify
from tests.acceptance.talking import decide, fresh_id, problem, reward
from tests.running import ADMIN_KEY, Api, Service, until

SPECIFICATION: dict[str, Any] = {
    "arms": [{"key": "a", "recommender": {"kind": "static", "items": ["i1", "i2"]}}, {"key": "b"}],
    "policy": {"kind": "thompson_sampling", "warm_up": 0},
    "reward": {"metric": "click", "window_s": 1, "late_until_s": 3600},
    "metrics": [{"key": "revenue", "aggregation": "sum"}],
    "overrides": [{"arm": "a", "units": ["pinned/7"]}],
}


def story_of(api: Api, unit: str, query: str = "") -> dict[str, Any]:
    """The story of a unit."""
    found: dict[str, Any] = api.get(f"/v1/units/{quote(unit)}{query}").ok()
    return found


def states_of(api: Api, unit: str) -> dict[str, str]:
    """The state of each decision's clicks, by decision."""
    return {one["decision_id"]: one["outcomes"]["click"]["state"] for one in story_of(api, unit)["decisions"]}


@pytest.fixture
def home(api: Api, key: str) -> str:
    """A running experiment, and titles for its items."""
    api.put(f"/v1/experiments/{key}", SPECIFICATION).ok()
    api.put("/v1/items", {"items": [{"item_id": "i1", "title": "The first"}]}).ok()
    return key


def test_a_story_has_every_state(api: Api, home: str) -> None:
    """Pending, defaulted, observed, corrected and rejected outcomes are told apart, each with its events."""
    unit = f"user of {home}"
    early = [decide(api, home, unit)["decision_id"] for _ in range(3)]
    assert reward(api, early[1]) == "accepted"
    refused = decide(api, home, unit)["decision_id"]
    problem(api.post("/v1/feedback", {"decision_id": refused, "value": 0.5, "event_id": "odd"}), 422, "#/value")
    until(lambda: "pending" not in states_of(api, unit).values(), "the windows to pass", 10)
    assert reward(api, early[2]) == "accepted"
    fresh = decide(api, home, unit)["decision_id"]
    assert states_of(api, unit) == {
        fresh: "pending", refused: "rejected", early[2]: "corrected", early[1]: "observed", early[0]: "defaulted",
    }  # fmt: skip
    by_id = {one["decision_id"]: one for one in story_of(api, unit)["decisions"]}
    assert by_id[early[0]]["outcomes"]["click"]["value"] == 0
    assert by_id[early[1]]["feedback"][0]["value"] == 1
    assert by_id[refused]["rejections"][0]["reason"] == "value_refused"
    assert [one["exposure"]["state"] for one in by_id.values()] == ["exposed"] * 5


def test_a_story_says_why_and_what(api: Api, home: str) -> None:
    """Arm, reason in words, items with titles, context, trace and override are there; one slash more is no matter."""
    answer = decide(api, home, "pinned/7", context={"device": "ios"})
    (one,) = story_of(api, "pinned/7")["decisions"]
    assert (one["arm"], one["served_arm"], one["propensity"], one["reason"]) == ("a", "a", 1.0, "override")
    assert one["why"] == "An override pins the unit to arm 'a'."
    assert one["items"] == [
        {"item_id": "i1", "score": None, "title": "The first"},
        {"item_id": "i2", "score": None, "title": None},
    ]
    assert (one["context"], one["decision_id"]) == ({"device": "ios"}, answer["decision_id"])
    assert len(one["trace_id"]) == 32
    assert one["exposure"]["state"] == "excluded"
    (mine,) = story_of(api, "pinned/7", f"?experiment={home}")["summary"]["experiments"]
    assert mine["assigned"] == {"reason": "override", "arm": "a", "propensity": 1.0}


def test_one_decision_is_explained(api: Api, home: str) -> None:
    """All probabilities, posterior and reason in words; the states of its outcomes; null without a shadow."""
    made = decide(api, home)
    explained = api.get(f"/v1/decisions/{made['decision_id']}").ok()
    assert f"chose arm {made['arm']!r} with probability 0.5" in explained["why"]
    assert set(explained["allocation"]["probabilities"]) == set(explained["allocation"]["posterior"]) == {"a", "b"}
    assert explained["states"]["click"]["state"] == "pending"
    assert explained["states"]["revenue"]["state"] == "pending"
    assert (explained["shadow"], explained["rejections"]) == (None, [])
    assert explained["decision"]["latency_ms"] > 0


def test_pages_join_without_gap_or_double(api: Api, home: str) -> None:
    """Following the cursor gives each decision once, the newest first, whatever comes meanwhile."""
    unit = f"pages of {home}"
    made = [decide(api, home, unit)["decision_id"] for _ in range(7)]
    query, pages = "?limit=3", []
    while True:
        page = story_of(api, unit, query)
        pages.append([one["decision_id"] for one in page["decisions"]])
        decide(api, home, unit)
        if page["next_cursor"] is None:
            break
        query = f"?limit=3&cursor={page['next_cursor']}"
    assert pages == [made[:3:-1], made[3:0:-1], made[:1]]


def test_the_population_is_that_of_the_log(api: Api, stored: Database, home: str) -> None:
    """Decisions, arms and rewards beside the unit's are those that counting the raw tables gives."""
    for n in range(30):
        made = decide(api, home, f"{home}-{n % 10}")["decision_id"]
        if n % 3 == 0:
            reward(api, made)
            reward(api, made, 2.5, metric="revenue")
    (beside,) = story_of(api, f"{home}-3")["summary"]["experiments"]
    for figures, condition in ((beside["population"], "true"), (beside["unit"], f"unit = '{home}-3'")):
        with stored.transaction() as connection:
            counted = connection.exec_driver_sql(
                "SELECT count(*), count(*) FILTER (WHERE arm = 'a'),"
                " coalesce(sum(o.value) FILTER (WHERE o.metric = 'click'), 0),"
                " coalesce(sum(o.value) FILTER (WHERE o.metric = 'revenue'), 0)"
                " FROM decisions d LEFT JOIN outcomes o USING (decision_id)"
                f" WHERE experiment = '{home}' AND {condition}"
            ).one()
            n_decisions = connection.exec_driver_sql(
                f"SELECT count(*), count(*) FILTER (WHERE arm = 'a') FROM decisions"
                f" WHERE experiment = '{home}' AND {condition}"
            ).one()
        assert (figures["decisions"], figures["exposures"]) == (n_decisions[0], n_decisions[0])
        assert figures["arms"].get("a", 0) == n_decisions[1]
        assert figures["reward_rate"] == pytest.approx(counted[2] / n_decisions[0])
        assert figures["value_per_decision"].get("revenue", 0) == pytest.approx(counted[3] / n_decisions[0])
    shown = [one["items"] for one in story_of(api, f"{home}-3")["decisions"]]
    assert beside["unit"]["distinct_items"] == len({item["item_id"] for items in shown for item in items})


def test_bad_questions_are_refused(api: Api, home: str) -> None:
    """Each with the parameter and the value in the detail; what nobody knows is 404, what has no decision is empty."""
    decide(api, home, "asked")
    for query in ("since=yesterday", "limit=0", "limit=201", "cursor=x", "since=2026-01-01T00:00:00",
                  "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z"):  # fmt: skip
        assert query.partition("=")[0] in problem(api.get(f"/v1/units/asked?{query}"), 422)["detail"]
    problem(api.get(f"/v1/units/nobody-of-{home}"), 404)
    problem(api.get("/v1/units/" + "x" * 257), 422)
    assert story_of(api, "asked", "?until=2020-01-02T00:00:00Z")["decisions"] == []
    assert story_of(api, "asked", "?since=0001-01-01T00:00:00Z")["decisions"] != []
    assert story_of(api, "asked", "?since=2020-01-01T00:00:00Z&until=9999-01-01T00:00:00Z")["decisions"] != []
    problem(api.get("/v1/units/asked?experiment=another"), 404)
    assert story_of(api, "asked", f"?cursor={fresh_id()}")["decisions"] != []


def test_a_unit_is_exported_and_erased_over_http(api: Api, stored: Database, home: str) -> None:
    """The export has everything, line by line; afterwards nobody knows the unit, and the statistics agree."""
    unit = f"{home}/someone@example.com"
    made = [decide(api, home, unit, context={"email": unit})["decision_id"] for _ in range(3)]
    reward(api, made[0], event_id=f"{unit}:click")
    answer = text_of(api, f"/v1/units/{quote(unit)}/export")
    lines = [json.loads(line) for line in answer.splitlines()]
    assert [line["kind"] for line in lines] == ["unit", *["decision"] * 3, "feedback", "outcome", "end"]
    assert [line["decision_id"] for line in lines[1:4]] == made[::-1]
    erased = api.call("DELETE", f"/v1/units/{quote(unit)}").ok()
    assert (erased["decisions"], erased["feedback"]) == (3, 1)
    for method, path in (("GET", ""), ("GET", "/export"), ("DELETE", "")):
        problem(api.call(method, f"/v1/units/{quote(unit)}{path}"), 404)
    again = {"experiment": home, "unit": unit, "decision_id": made[0]}
    problem(api.post("/v1/recommendations", again), 409)
    late = api.post("/v1/feedback", {"decision_id": made[1], "value": 1})
    assert "erased" in problem(late, 422)["detail"]
    explained = api.get(f"/v1/decisions/{made[0]}").ok()["decision"]
    assert (explained["erased"], explained["context"], "trace_id" in explained) == (True, {}, False)
    assert [d for d in verify(stored) if home in d.where] == []
    decide(api, home, unit)
    assert len(story_of(api, unit)["decisions"]) == 1


def text_of(api: Api, path: str) -> str:
    """The body of an answer that is NDJSON."""
    response = urllib3.request("GET", api.url + path, headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert (response.status, response.headers["Content-Type"]) == (200, "application/x-ndjson")
    return response.data.decode()


def test_the_command_line_shows_exports_and_erases(service: Service, api: Api, home: str) -> None:
    """It says the same as the service; what nobody knows is said in a sentence."""
    unit = f"command {home}"
    made = decide(api, home, unit)
    shown = service.command("units", "show", unit)
    assert f"{made['decision_id']} {home}/{made['arm']} policy p=0.5" in shown.stdout, shown.stderr
    assert "click=defaulted" in shown.stdout or "click=pending" in shown.stdout
    as_json = json.loads(service.command("units", "show", unit, "--json").stdout)
    assert [one["decision_id"] for one in as_json["decisions"]] == [made["decision_id"]]
    exported = service.command("units", "export", unit).stdout.splitlines()
    assert json.loads(exported[-1]) == {"kind": "end", "rows": len(exported) - 1}
    erased = service.command("units", "erase", "--yes", unit)
    assert "1 decisions" in erased.stdout, erased.stderr
    again = service.command("units", "erase", "--yes", unit)
    assert again.returncode == 1
    assert f"Nothing is known of unit {unit!r}" in again.stderr
