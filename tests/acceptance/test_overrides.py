"""Overrides and the audit trail through HTTP: pinned, let go, and on record who did it."""

from typing import Any

import pytest

from tests.acceptance.talking import EAGER, TWO_ARMS, arms, decide, key_of, problem, reward
from tests.running import Api, Service, until

EXPLICIT = {"missing": "explicit"}


@pytest.fixture
def pins(api: Api, key: str) -> str:
    """Where units of an experiment with two arms are pinned."""
    api.put(f"/v1/experiments/{key}", {**TWO_ARMS, "reward": EXPLICIT, "policy": EAGER}).ok()
    return f"/v1/experiments/{key}/overrides/units"


def everywhere(api: Api, experiment: str, unit: str) -> set[tuple[str, str]]:
    """Reason and arm that a unit gets, of whichever worker."""
    made = [decide(api, experiment, unit) for _ in range(12)]
    return {(one["reason"], one["arm"] if one["reason"] == "override" else "any") for one in made}


def test_a_unit_is_pinned_moved_and_let_go(api: Api, key: str, pins: str) -> None:
    """All workers give it its arm, with propensity 1, until it is let go; the epoch stays."""
    assert api.put(f"{pins}/u", {"arm": "b"}).ok()["overrides"] == [{"arm": "b", "units": ["u"]}]
    until(lambda: everywhere(api, key, "u") == {("override", "b")}, "all workers to know", 3)
    assert decide(api, key, "u")["propensity"] == 1
    moved = api.put(f"{pins}/u", {"arm": "a"}).ok()
    assert (moved["overrides"], moved["epoch"], moved["version"]) == ([{"arm": "a", "units": ["u"]}], 1, 3)
    until(lambda: everywhere(api, key, "u") == {("override", "a")}, "all workers to know", 3)
    assert api.put(f"{pins}/u", {"arm": "a"}).ok()["version"] == 3
    assert api.call("DELETE", f"{pins}/u").ok()["overrides"] == []
    until(lambda: everywhere(api, key, "u") == {("policy", "any")}, "all workers to know", 3)
    problem(api.call("DELETE", f"{pins}/u"), 404)


@pytest.mark.parametrize("unit", ["org/user-1", "a//b", "a b", "é", "%", "..", "u?x=1#y", "u" * 256])
def test_any_unit_that_is_served_can_be_pinned(api: Api, key: str, pins: str, unit: str) -> None:
    """Percent-encoded, a unit may hold whatever it may hold in a request, slashes as they are."""
    encoded = "".join(c if c == "/" else "".join(f"%{byte:02X}" for byte in c.encode()) for c in unit)
    assert api.put(f"{pins}/{encoded}", {"arm": "b"}).ok()["overrides"] == [{"arm": "b", "units": [unit]}]
    until(lambda: everywhere(api, key, unit) == {("override", "b")}, "all workers to know", 3)


def test_what_cannot_be_pinned_is_refused(api: Api, key: str, pins: str) -> None:
    """An unknown or drained arm, an unknown experiment, a unit or a body of another shape: nothing changes."""
    problem(api.put(f"{pins}/u", {"arm": "x"}), 422, "#/overrides/0/arm")
    problem(api.put(f"{pins}/u", {"arm": 1}), 422, "#/arm")
    problem(api.put(f"{pins}/u", {}), 422, "#")
    problem(api.put(f"{pins}/{'u' * 257}", {"arm": "a"}), 422)
    problem(api.put("/v1/experiments/nothing/overrides/units/u", {"arm": "a"}), 404)
    problem(api.call("PUT", f"{pins}/u", {"arm": "a"}, headers={"If-Match": '"7"'}), 412)
    problem(api.call("DELETE", f"{pins}/u", headers={"If-Match": "x"}), 422)
    assert api.get(f"/v1/experiments/{key}").ok()["version"] == 1
    api.patch(f"/v1/experiments/{key}/arms/b", {"state": "draining"}).ok()
    assert "draining" in problem(api.put(f"{pins}/u", {"arm": "b"}), 422, "#/overrides/0/arm")["detail"]


def test_an_arm_that_units_are_pinned_to_stays_active(api: Api, key: str, pins: str) -> None:
    """To drain it would leave them without: the answer names the override at fault."""
    api.put(f"{pins}/u", {"arm": "b"}).ok()
    problem(api.call("DELETE", f"/v1/experiments/{key}/arms/b"), 422, "#/overrides/0/arm")
    api.call("DELETE", f"{pins}/u").ok()
    api.call("DELETE", f"/v1/experiments/{key}/arms/b").ok()


def test_pinned_decisions_never_count(api: Api, service: Service, key: str) -> None:
    """Half of all units by share, one by name, rewarded always: no exposure, no reward, no share, no new allocation."""
    overrides: list[dict[str, Any]] = [{"arm": "b", "units": ["u0"]}, {"arm": "b", "share": 0.5}]
    specification = {**TWO_ARMS, "reward": EXPLICIT, "policy": EAGER, "overrides": overrides}
    api.put(f"/v1/experiments/{key}", specification).ok()
    made = [decide(api, key, f"u{n}") for n in range(100)]
    pinned = [one for one in made if one["reason"] == "override"]
    assert made[0] in pinned
    assert 20 < len(pinned) < 80
    assert {(one["arm"], one["propensity"]) for one in pinned} == {("b", 1.0)}
    assert {reward(api, one["decision_id"]) for one in pinned} == {"accepted"}
    report = arms(api, key)
    assert sum(arm["decisions"] for arm in report.values()) == 100
    assert sum(arm["exposures"] for arm in report.values()) == 100 - len(pinned)
    assert [arm["rewards"] for arm in report.values()] == [0, 0]
    chosen = [one["arm"] for one in made if one not in pinned]
    assert report["b"]["share"] == pytest.approx(chosen.count("b") / len(chosen))
    again = [decide(api, key, f"u{n}")["reason"] for n in range(100)]
    assert again == [one["reason"] for one in made]
    assert api.get(f"/v1/experiments/{key}").ok()["allocation"] == 1
    assert service.command("verify").returncode == 0


def test_the_audit_trail_says_who_changed_what(api: Api, service: Service, key: str, pins: str) -> None:
    """Newest first, a page at a time: each change with its actor, and the experiment before and after it."""
    other = key_of(service)
    client = service.api(other)
    until(lambda: client.put(f"{pins}/u", {"arm": "b"}).status == 200, "the key to work", 5)
    client.call("DELETE", f"{pins}/u").ok()
    api.post(f"/v1/experiments/{key}/pause").ok()
    api.post(f"/v1/experiments/{key}/arms", {"key": "c"}).ok()
    whole = api.get(f"/v1/experiments/{key}/audit").ok()
    assert (whole["experiment"], whole["next_before"]) == (key, None)
    added, paused, unpinned, pinned, created = whole["entries"]
    assert [one["action"] for one in whole["entries"]] == ["replace", "pause", "replace", "replace", "create"]
    assert pinned["actor"] == unpinned["actor"] == other.partition(".")[0]
    assert created["actor"] == added["actor"] != pinned["actor"]
    assert (pinned["before"]["overrides"], pinned["after"]["overrides"]) == ([], [{"arm": "b", "units": ["u"]}])
    assert (unpinned["before"], unpinned["after"]) == (pinned["after"], pinned["before"])
    assert (paused["before"], paused["after"]) == ("running", "paused")
    assert [arm["key"] for arm in added["after"]["arms"]] == ["a", "b", "c"]
    assert created["before"] is None
    seen, page = [], api.get(f"/v1/experiments/{key}/audit?limit=2").ok()
    while page["next_before"] is not None:
        seen += page["entries"]
        page = api.get(f"/v1/experiments/{key}/audit?limit=2&before={page['next_before']}").ok()
    assert seen + page["entries"] == whole["entries"]
    problem(api.get("/v1/experiments/nothing/audit"), 404)
    problem(api.get(f"/v1/experiments/{key}/audit?limit=101"), 422)
    client.close()
