"""The reward contract over HTTP: five states, confirmed exposures, and quarantine."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.auth import Scope
from tests.acceptance.talking import TWO_ARMS, arms, decide, fresh_id, id_at, key_of, problem, reward, side_by_side
from tests.running import Api, Service, until

# One arm, so that every decision is its; a window of a second, so that it passes while the test waits.
BRIEF = {"arms": [{"key": "a"}], "reward": {"window_s": 1, "late_until_s": 600}}
REVENUE = {"key": "revenue", "aggregation": "sum"}


def states(api: Api, key: str, query: str = "") -> dict[str, int]:
    """The outcomes of the one arm by state; none where there are none."""
    found = arms(api, key, query)["a"]["outcomes"]
    return {state: count for state, count in found.items() if count}


def confirm(api: Api, decision_id: str, **more: Any) -> str:
    """Confirms one exposure; returns its status."""
    return str(api.post("/v1/exposures", {"decision_id": decision_id, **more}).ok()["status"])


def at(moment: datetime, seconds: float) -> str:
    """A moment so many seconds later, as it is sent."""
    return (moment + timedelta(seconds=seconds)).isoformat()


def quarantined(api: Api, key: str, query: str = "") -> list[dict[str, Any]]:
    """An experiment's entries in quarantine, the newest first."""
    entries: list[dict[str, Any]] = api.get(f"/v1/quarantine?experiment={key}{query}").ok()["entries"]
    return entries


def test_an_outcome_goes_through_its_states(api: Api, key: str) -> None:
    """Pending, defaulted when the window has passed, corrected by a late event, observed when one in time turns up."""
    api.put(f"/v1/experiments/{key}", BRIEF).ok()
    made = datetime.now(UTC)
    one = decide(api, key)["decision_id"]
    assert states(api, key) == {"pending": 1}
    until(lambda: states(api, key) == {"defaulted": 1}, "the window to pass", 10)
    assert reward(api, one, event_id="late") == "accepted"
    assert states(api, key) == {"corrected": 1}
    assert arms(api, key)["a"]["rewards"] == 1
    assert reward(api, one, 0, event_id="early", occurred_at=at(made, 0.2)) == "accepted"
    assert states(api, key) == {"observed": 1}
    assert reward(api, one, event_id="early") == "duplicate"


def test_delayed_doubled_wrong_and_late_events_are_told_apart(api: Api, key: str, service: Service) -> None:
    """Each has its status, its state and its place in the figures, per metric; `verify` agrees."""
    api.put(f"/v1/experiments/{key}", {**BRIEF, "metrics": [REVENUE]}).ok()
    made = datetime.now(UTC)
    ids = [decide(api, key)["decision_id"] for _ in range(5)]
    events = [
        ({"decision_id": ids[0], "value": 1, "occurred_at": at(made, 0)}, "accepted"),
        ({"decision_id": ids[0], "value": 1, "occurred_at": at(made, 0)}, "duplicate"),
        ({"decision_id": ids[1], "value": 1, "occurred_at": at(made, 60)}, "accepted"),
        ({"decision_id": ids[1], "value": 4, "metric": "revenue", "occurred_at": at(made, 60)}, "accepted"),
        ({"decision_id": ids[2], "value": 3}, "rejected"),
        ({"decision_id": ids[2], "value": 3}, "rejected"),
        ({"decision_id": ids[3], "value": 1, "metric": "likes"}, "rejected"),
        ({"decision_id": fresh_id(), "value": 1}, "unmatched"),
        ({"decision_id": ids[4], "value": "1"}, "rejected"),
    ]
    results = api.post("/v1/feedback", {"events": [event for event, _ in events]}).ok()["results"]
    assert [result["status"] for result in results] == [status for _, status in events]
    until(lambda: "pending" not in states(api, key), "the windows to pass", 10)
    assert states(api, key) == {"defaulted": 3, "observed": 1, "corrected": 1, "rejected": 2}
    assert states(api, key, "?metric=revenue") == {"defaulted": 4, "corrected": 1, "rejected": 2}
    assert {entry["reason"] for entry in quarantined(api, key)} == {"value_refused", "unknown_metric"}
    verified = service.command("verify")
    assert verified.returncode == 0, verified.stdout


def test_events_of_an_old_decision_that_come_too_late_are_rejected(api: Api, key: str) -> None:
    """A single one is a problem, with what it is about; it is in quarantine all the same."""
    api.put(f"/v1/experiments/{key}", {**BRIEF, "reward": {"window_s": 1, "late_until_s": 2}}).ok()
    one = decide(api, key, decision_id=id_at(datetime.now(UTC)))["decision_id"]
    time.sleep(2.1)
    problem(api.post("/v1/feedback", {"decision_id": one, "value": 1}), 422, "#")
    problem(api.post("/v1/feedback", {"decision_id": one, "value": 7}), 422, "#/value")
    problem(api.post("/v1/exposures", {"decision_id": one}), 422, "#")
    assert states(api, key) == {"defaulted": 1, "rejected": 2}
    assert [(entry["kind"], entry["reason"]) for entry in quarantined(api, key)] == [
        ("exposure", "too_late"),
        ("feedback", "value_refused"),
    ]


def test_malformed_events_are_answered_and_not_kept(api: Api, key: str) -> None:
    """What has the wrong shape is the client's to repair: nothing is stored."""
    api.put(f"/v1/experiments/{key}", BRIEF).ok()
    one = decide(api, key)["decision_id"]
    problem(api.post("/v1/exposures", {"decision_id": one, "value": 1}), 422, "#")
    problem(api.post("/v1/exposures", {"decision_id": "x"}), 422, "#/decision_id")
    problem(api.post("/v1/exposures", {"decision_id": one, "occurred_at": at(datetime.now(UTC), 600)}), 422)
    problem(api.post("/v1/exposures", {"exposures": [{}] * 5001}), 422, "#/exposures")
    problem(api.call("POST", "/v1/exposures", raw=b"{"), 400)
    results = api.post("/v1/exposures", {"exposures": [{"decision_id": "x"}, None]}).ok()["results"]
    assert [result["status"] for result in results] == ["rejected", "rejected"]
    assert quarantined(api, key) == []


def test_confirmed_exposures_count_when_they_are_confirmed(api: Api, key: str, service: Service) -> None:
    """Decisions alone are nothing; confirmations count, once each, and take along the outcomes that were there."""
    api.put(f"/v1/experiments/{key}", {**BRIEF, "exposure": "confirmed"}).ok()
    ids = [decide(api, key)["decision_id"] for _ in range(6)]
    assert reward(api, ids[0]) == "accepted"
    time.sleep(1.2)
    assert (arms(api, key)["a"]["decisions"], arms(api, key)["a"]["exposures"], states(api, key)) == (6, 0, {})
    assert confirm(api, ids[0]) == "accepted"
    assert confirm(api, ids[0]) == "duplicate"
    bulk = api.post("/v1/exposures", {"exposures": [{"decision_id": one} for one in [*ids[:3], fresh_id()]]}).ok()
    assert [one["status"] for one in bulk["results"]] == ["duplicate", "accepted", "accepted", "unmatched"]
    assert {one["durability"] for one in bulk["results"]} == {"committed"}
    assert arms(api, key)["a"]["exposures"] == 3
    assert states(api, key) == {"observed": 1, "pending": 2}
    until(lambda: states(api, key) == {"observed": 1, "defaulted": 2}, "the windows to pass", 10)
    explained = api.get(f"/v1/decisions/{ids[1]}").ok()
    assert explained["exposure"]["occurred_at"]
    assert api.get(f"/v1/decisions/{ids[5]}").ok()["exposure"] is None
    assert service.command("verify").returncode == 0


def test_a_confirmation_before_its_decision_is_matched(api: Api, key: str) -> None:
    """It is unmatched at first, and the exposure counts when the decision is there."""
    api.put(f"/v1/experiments/{key}", {**BRIEF, "exposure": "confirmed"}).ok()
    early = fresh_id()
    assert [confirm(api, early), reward(api, early), confirm(api, early)] == ["unmatched"] * 3
    decide(api, key, decision_id=early)
    until(lambda: arms(api, key)["a"]["exposures"] == 1, "the match", 10)
    assert confirm(api, early) == "duplicate"
    until(lambda: states(api, key) == {"observed": 1}, "the match of the feedback", 10)


def test_32_clients_at_once_count_each_exposure_and_each_reward_once(api: Api, key: str, service: Service) -> None:
    """Decisions, confirmations and feedback of many clients, doubled and crossing each other: nothing is lost."""
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "exposure": "confirmed"}).ok()
    ids = [fresh_id() for _ in range(64)]

    def client(number: int) -> None:
        mine = ids[number * 2 : number * 2 + 2] + ids[-2 - number * 2 : len(ids) - number * 2]
        for one in mine:
            calls: list[Callable[[], object]] = [
                lambda one=one: decide(api, key, decision_id=one),  # type: ignore[misc]
                lambda one=one: confirm(api, one),  # type: ignore[misc]
                lambda one=one: reward(api, one),  # type: ignore[misc]
            ]
            for step in range(3):
                calls[(step + number) % 3]()

    side_by_side(client, 32)

    def totals() -> list[int]:
        report = arms(api, key).values()
        return [sum(arm["exposures"] for arm in report), sum(arm["outcomes"]["observed"] for arm in report)]

    until(lambda: totals() == [64, 64], "everything to be matched", 20)
    assert service.command("verify").returncode == 0


def test_quarantine_is_read_replayed_and_discarded(api: Api, key: str, service: Service) -> None:
    """Events of a metric that nobody had declared count when it is, over HTTP or at the command line."""
    api.put(f"/v1/experiments/{key}", BRIEF).ok()
    one = decide(api, key)["decision_id"]
    for number in range(4):
        problem(
            api.post("/v1/feedback", {"decision_id": one, "value": 2, "metric": "revenue", "event_id": f"e{number}"}),
            422,
        )
    entries = quarantined(api, key, "&reason=unknown_metric&state=open")
    ids = [entry["id"] for entry in entries]
    assert ids == sorted(ids, reverse=True)
    first = api.get(f"/v1/quarantine?experiment={key}&limit=2").ok()
    assert [entry["id"] for entry in first["entries"]] == ids[:2]
    rest = quarantined(api, key, f"&limit=2&before={first['next_before']}")
    assert [entry["id"] for entry in rest] == ids[2:]
    assert api.get(f"/v1/quarantine/{ids[0]}").ok() == entries[0]
    problem(api.get("/v1/quarantine/999999999"), 404)

    assert service.command("quarantine", "discard", str(ids[0])).stdout == "discarded 1\n"
    (again,) = api.post("/v1/quarantine/replay", {"ids": [ids[1]]}).ok()["results"]
    assert (again["id"], again["status"]) == (ids[1], "rejected")
    assert "revenue" in again["reason"]
    api.patch(f"/v1/experiments/{key}", {"metrics": [REVENUE]}).ok()
    assert api.post("/v1/quarantine/replay", {"ids": [ids[1]]}).ok()["results"] == [
        {"id": ids[1], "status": "accepted"}
    ]
    listed = service.command("quarantine", "list", "--experiment", key).stdout
    assert [int(line.split()[0]) for line in listed.splitlines()] == ids[2:]
    replayed = service.command("quarantine", "replay", "--experiment", key)
    assert (replayed.returncode, replayed.stdout.count("accepted")) == (0, 2)
    assert api.get(f"/v1/decisions/{one}").ok()["outcomes"] == {"revenue": 6}
    assert states(api, key) in ({"pending": 1, "rejected": 1}, {"defaulted": 1, "rejected": 1})
    assert api.post("/v1/quarantine/discard", {"experiment": key}).ok() == {"ids": [], "more": False}
    assert service.command("verify").returncode == 0


@pytest.mark.parametrize("body", [{}, {"ids": [1], "experiment": "x"}, {"ids": []}, {"ids": [0]}, {"state": "open"}])
def test_a_selection_says_what_it_means(api: Api, body: dict[str, Any]) -> None:
    """Nothing is replayed or discarded by mistake."""
    for action in ("replay", "discard"):
        problem(api.post(f"/v1/quarantine/{action}", body), 422)


def test_quarantine_and_exposures_need_their_scopes(service: Service) -> None:
    """Reading, settling and confirming are for different keys."""
    for scope in Scope:
        client = service.api(key_of(service, scope))
        # Workers hear of a new key a moment later, each by itself.
        until(lambda client=client: all(client.get("/v1/quarantine").status != 401 for _ in range(20)), "the key")  # type: ignore[misc]
        answers = {
            Scope.READ: client.get("/v1/quarantine"),
            Scope.ADMIN: client.post("/v1/quarantine/discard", {"experiment": "none"}),
            Scope.REWARD: client.post("/v1/exposures", {"exposures": []}),
        }
        assert {needed: answer.status for needed, answer in answers.items()} == {
            needed: 200 if needed == scope else 403 for needed in answers
        }
        client.close()
