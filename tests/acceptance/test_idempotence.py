"""Whatever is sent twice counts once, and is answered as the first time."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.store.database import Database
from tests.acceptance.talking import (
    EAGER,
    TWO_ARMS,
    arms,
    decide,
    fresh_id,
    id_at,
    problem,
    reward,
    side_by_side,
    written,
)
from tests.running import Api, until

REVENUE = {"key": "revenue", "level": "business", "aggregation": "sum"}
EXPLICIT = {**TWO_ARMS, "reward": {"missing": "explicit"}, "policy": EAGER, "metrics": [REVENUE]}


def test_a_retried_decision_is_the_first_answer(api: Api, key: str, stored: Database) -> None:
    """The same id gets the same answer, whatever else the retry says, and counts once."""
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    wanted = {"experiment": key, "unit": "u", "decision_id": fresh_id(), "context": {"n": 1}}
    first = api.post("/v1/recommendations", wanted).ok()
    before = written(stored)
    for again in (wanted, {**wanted, "k": 3}, {**wanted, "context": {"n": 2}}):
        assert api.post("/v1/recommendations", again).ok() == first
    assert written(stored) == before
    assert api.get(f"/v1/decisions/{first['decision_id']}").ok()["decision"]["context"] == {"n": 1}
    assert sum(arm["decisions"] for arm in arms(api, key).values()) == 1


def test_32_simultaneous_retries_get_one_answer(api: Api, key: str) -> None:
    """Whichever worker and batch they meet in, all get the answer that was recorded."""
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    for _ in range(5):
        chosen = fresh_id()
        answers = side_by_side(lambda _, chosen=chosen: decide(api, key, decision_id=chosen), 32)  # type: ignore[misc]
        assert all(answer == answers[0] for answer in answers)
    assert sum(arm["decisions"] for arm in arms(api, key).values()) == 5


@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_a_retry_after_the_allocation_changed_is_the_first_answer(api: Api, key: str, assignment: str) -> None:
    """What was dealt stays dealt, even when its arm, its policy or the whole experiment is gone."""
    specification = {
        **TWO_ARMS,
        "assignment": assignment,
        "policy": {"kind": "fixed", "probabilities": {"a": 1, "b": 0}},
    }
    api.put(f"/v1/experiments/{key}", specification).ok()
    wanted = [{"experiment": key, "unit": f"u{i}", "decision_id": fresh_id()} for i in range(20)]
    first = [api.post("/v1/recommendations", one).ok() for one in wanted]
    assert {answer["arm"] for answer in first} == {"a"}
    specification["policy"] = {"kind": "fixed", "probabilities": {"a": 0, "b": 1}}
    api.put(f"/v1/experiments/{key}", specification).ok()
    assert [api.post("/v1/recommendations", one).ok() for one in wanted] == first
    assert decide(api, key, "u0")["arm"] == "b"
    api.post(f"/v1/experiments/{key}/pause").ok()
    assert [api.post("/v1/recommendations", one).ok() for one in wanted] == first


def test_an_id_of_another_unit_or_experiment_is_refused(api: Api, key: str, stored: Database) -> None:
    """One id is one decision: another request under it is a conflict, alone or at the same moment."""
    for experiment in (key, f"{key}-other"):
        api.put(f"/v1/experiments/{experiment}", TWO_ARMS).ok()
    first = decide(api, key, "u", decision_id=fresh_id())
    before = written(stored)
    for other in ({"unit": "v"}, {"experiment": f"{key}-other"}):
        wanted = {"experiment": key, "unit": "u", "decision_id": first["decision_id"], **other}
        problem(api.post("/v1/recommendations", wanted), 409)
    assert written(stored) == before
    contested = fresh_id()
    both = [{"experiment": key, "unit": f"u{i % 2}", "decision_id": contested} for i in range(16)]
    statuses = Counter(side_by_side(lambda i: api.post("/v1/recommendations", both[i]).status, 16))
    assert statuses == {200: 8, 409: 8}


def test_an_id_may_be_minutes_ahead_or_hours_old(api: Api, key: str) -> None:
    """Clocks differ, and phones are offline: such an id is as good as a fresh one."""
    api.put(f"/v1/experiments/{key}", EXPLICIT).ok()
    for age in (timedelta(minutes=-4), timedelta(hours=20)):
        made = decide(api, key, decision_id=id_at(datetime.now(UTC) - age))
        assert reward(api, made["decision_id"]) == "accepted"
        assert reward(api, made["decision_id"]) == "duplicate"


def test_retried_feedback_is_a_duplicate_and_counts_once(api: Api, key: str) -> None:
    """By default there is one event per decision, metric and item; `event_id` makes them more."""
    api.put(f"/v1/experiments/{key}", EXPLICIT).ok()
    made = decide(api, key)["decision_id"]
    assert [reward(api, made) for _ in range(3)] == ["accepted", "duplicate", "duplicate"]
    assert [reward(api, made, item_id="i", position=n) for n in (1, 2)] == ["accepted", "duplicate"]
    assert [reward(api, made, metric="click", event_id=e) for e in ("x", "y", "x")] == [
        "accepted",
        "accepted",
        "duplicate",
    ]
    assert [reward(api, made, 2.5, metric="revenue", event_id=e) for e in ("x", "y", "x")] == [
        "accepted",
        "accepted",
        "duplicate",
    ]
    explained = api.get(f"/v1/decisions/{made}").ok()
    assert explained["outcomes"] == {"click": 1, "revenue": 5}
    assert len(explained["feedback"]) == 6
    counted = arms(api, key)[explained["decision"]["arm"]]
    assert (counted["rewards"], counted["outcomes"]["observed"]) == (1, 1)


def test_simultaneous_feedback_is_accepted_once(api: Api, key: str) -> None:
    """Of 32 equal events at one moment exactly one is accepted."""
    api.put(f"/v1/experiments/{key}", EXPLICIT).ok()
    for _ in range(5):
        made = decide(api, key)["decision_id"]
        statuses = Counter(side_by_side(lambda _, made=made: reward(api, made), 32))  # type: ignore[misc]
        assert statuses == {"accepted": 1, "duplicate": 31}
    assert sum(arm["rewards"] for arm in arms(api, key).values()) == 5


def test_each_event_of_a_bulk_call_has_its_own_status_in_order(api: Api, key: str) -> None:
    """Bad events are told apart with their reasons, and spoil no good one."""
    api.put(f"/v1/experiments/{key}", EXPLICIT).ok()
    known, unknown = decide(api, key)["decision_id"], fresh_id()
    expected: list[tuple[Any, str, str]] = [
        ({"decision_id": known, "value": 1}, "accepted", ""),
        ({"decision_id": known, "value": 1}, "duplicate", ""),
        ({"decision_id": unknown, "value": 1}, "unmatched", ""),
        ({"decision_id": unknown, "value": 1}, "unmatched", ""),
        ({"decision_id": known, "value": 2}, "rejected", "0 or 1"),
        ({"decision_id": known, "value": "1"}, "rejected", "#/value"),
        ({"decision_id": known, "value": 1, "metric": "likes"}, "rejected", "likes"),
        ({"decision_id": known}, "rejected", "value"),
        ({"decision_id": "garbage", "value": 1}, "rejected", "#/decision_id"),
        ({"decision_id": id_at(datetime(2020, 1, 1, tzinfo=UTC)), "value": 1}, "rejected", "2020"),
        ({"decision_id": known, "value": 1, "event_id": "\0"}, "rejected", "U+0000"),
        ({"decision_id": known, "value": 1, "valu": 1}, "rejected", "valu"),
        (None, "rejected", "null"),
        ([], "rejected", "array"),
        ({"decision_id": known, "value": 9.5, "metric": "revenue"}, "accepted", ""),
        ({"decision_id": known, "value": 0, "event_id": "another"}, "accepted", ""),
    ]
    results = api.post("/v1/feedback", {"events": [event for event, _, _ in expected]}).ok()["results"]
    assert [result["status"] for result in results] == [status for _, status, _ in expected]
    for result, (event, status, reason) in zip(results, expected, strict=True):
        assert ("reason" in result) == (status == "rejected"), event
        assert reason in result.get("reason", ""), event
    assert api.get(f"/v1/decisions/{known}").ok()["outcomes"] == {"click": 1, "revenue": 9.5}


def test_5000_events_fit_into_one_call(api: Api, key: str) -> None:
    """The documented limit holds, in one request that is answered whole; no events are fine too."""
    api.put(f"/v1/experiments/{key}", EXPLICIT).ok()
    known = [decide(api, key, f"u{i}")["decision_id"] for i in range(10)]
    events = [{"decision_id": known[i % 10], "value": 1, "event_id": f"e{i // 20}"} for i in range(5000)]
    results = api.post("/v1/feedback", {"events": events}).ok()["results"]
    assert Counter(result["status"] for result in results) == {"accepted": 2500, "duplicate": 2500}
    assert [result["status"] for result in results[:20]] == ["accepted"] * 10 + ["duplicate"] * 10
    assert sum(arm["rewards"] for arm in arms(api, key).values()) == 10
    problem(api.post("/v1/feedback", {"events": [*events, events[0]]}), 422, "#/events")
    assert api.post("/v1/feedback", {"events": []}).ok() == {"results": []}


def test_feedback_before_its_decision_is_kept_and_matched(api: Api, key: str) -> None:
    """A reward that overtakes its decision is unmatched at first and counts once when the decision is there."""
    api.put(f"/v1/experiments/{key}", EXPLICIT).ok()
    early = fresh_id()
    assert [reward(api, early), reward(api, early), reward(api, early, metric="click")] == ["unmatched"] * 3
    assert reward(api, early, 3, metric="revenue") == "unmatched"
    decide(api, key, decision_id=early)
    until(lambda: api.get(f"/v1/decisions/{early}").ok()["outcomes"] == {"click": 1, "revenue": 3}, "the match", 10)
    assert reward(api, early) == "duplicate"
    assert sum(arm["rewards"] for arm in arms(api, key).values()) == 1


def test_put_is_idempotent_and_obeys_state_on_creation_only(api: Api, key: str, stored: Database) -> None:
    """The same specification again changes neither version nor audit log, and wakes no paused experiment."""
    created = api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "state": "running"})
    assert (created.status, created.body["version"], created.headers["ETag"]) == (201, 1, '"1"')
    paused = api.post(f"/v1/experiments/{key}/pause").ok()
    before = written(stored)
    again = api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "state": "running"})
    assert (again.status, again.body) == (200, paused)
    assert api.post(f"/v1/experiments/{key}/pause").ok() == paused
    assert api.patch(f"/v1/experiments/{key}", {}).ok() == paused
    assert api.put(f"/v1/experiments/{key}", {**paused_spec(paused), "state": "draft"}).ok() == paused
    assert written(stored) == before


def test_32_simultaneous_puts_make_one_experiment(api: Api, key: str) -> None:
    """Whoever comes first creates it, once; the same from the others changes nothing."""
    answers = side_by_side(lambda _: api.put(f"/v1/experiments/{key}", TWO_ARMS), 32)
    assert Counter(answer.status for answer in answers) == {201: 1, 200: 31}
    assert {answer.ok()["version"] for answer in answers} == {1}
    assert len(api.get(f"/v1/experiments/{key}/history").ok()["allocations"]) == 1


def paused_spec(view: dict[str, Any]) -> dict[str, Any]:
    """What was read, as it can be put: without the members of the row."""
    row = {"key", "state", "version", "epoch", "allocation", "created_at", "updated_at"}
    return {name: value for name, value in view.items() if name not in row}
