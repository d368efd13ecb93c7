"""What another policy would have earned, over HTTP, and from exported logs."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.acceptance.talking import arms, decide, problem, rows
from tests.running import Api, Service, until

SHARES = {"a": 0.7, "b": 0.3, "c": 0}
EXPERIMENT: dict[str, Any] = {
    "arms": [{"key": key} for key in SHARES],
    "policy": {"kind": "fixed", "probabilities": SHARES, "min_propensity": 0},
    "reward": {"window_s": 1, "default": 0},
}
ALL_ON_B = {"arm": "b"}


def traffic(api: Api, key: str, count: int) -> list[dict[str, Any]]:
    """Decisions, of which some are rewarded: arm b twice as often as a."""
    requests = [{"experiment": key, "unit": f"u{number}"} for number in range(count)]
    decisions: list[dict[str, Any]] = api.post("/v1/recommendations/batch", {"requests": requests}).ok()["results"]
    events = [
        {"decision_id": decision["decision_id"], "value": 1}
        for number, decision in enumerate(decisions)
        if number % 6 < (4 if decision["arm"] == "b" else 2)
    ]
    api.post("/v1/feedback", {"events": events}).ok()
    return decisions


def mature(api: Api, key: str) -> int:
    """How many exposures are mature."""
    return sum(arm["mature"] for arm in arms(api, key).values())


def evaluate(api: Api, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the log says about a target."""
    found: dict[str, Any] = api.post(f"/v1/experiments/{key}/evaluate", body).ok()
    return found


_RAW = """
SELECT d.arm, d.propensity, coalesce(o.value, 0) FROM decisions d
LEFT JOIN outcomes o ON o.decision_id = d.decision_id AND o.metric = 'click'
WHERE d.experiment = :key AND d.learnable ORDER BY d.decision_id
"""


@pytest.fixture(scope="module")
def logged(service: Service) -> str:
    """The key of an experiment with 900 mature decisions."""
    key, api = "evaluated", service.api()
    api.put(f"/v1/experiments/{key}", EXPERIMENT).ok()
    traffic(api, key, 900)
    until(lambda: mature(api, key) == 900, "the windows to pass", 15)
    api.close()
    return key


def test_estimates_are_those_of_the_raw_tables(api: Api, service: Service, logged: str) -> None:
    """IPS and SNIPS by hand, from decisions and outcomes as they are stored."""
    found = evaluate(api, logged, ALL_ON_B)
    found_rows = rows(service.database_url, _RAW, key=logged)
    arm, propensity, outcome = (np.array(column) for column in zip(*found_rows, strict=True))
    weight = (arm == "b") / propensity
    assert found["rows"] == found["log"]["rows"] == 900
    assert found["estimates"]["ips"]["value"] == pytest.approx(np.mean(weight * outcome), rel=1e-12)
    assert found["estimates"]["snips"]["value"] == pytest.approx(np.sum(weight * outcome) / weight.sum(), rel=1e-12)
    assert found["log"]["mean"] == pytest.approx(outcome.mean(), rel=1e-12)
    assert (found["experiment"], found["cut"], found["unavailable"]) == (logged, False, {})
    assert datetime.fromisoformat(found["since"]) < datetime.fromisoformat(found["until"]) < datetime.now(UTC)


@pytest.mark.parametrize(
    ("body", "target"),
    [
        ({"arm": "b"}, "arm=b"),
        ({"probabilities": {"a": 0.25, "b": 0.75}}, 'probabilities={"a": 0.25, "b": 0.75}'),
        ({"arm": "a", "level": 0.8, "estimators": ["dros", "snips"]}, "arm=a"),
    ],
)
def test_the_exported_log_says_the_same(
    api: Api, service: Service, logged: str, tmp_path: Path, *, body: dict[str, Any], target: str
) -> None:
    """Each figure of `croupier evaluate` on the file is that of the endpoint."""
    found = evaluate(api, logged, body)
    exported = export(service, logged, "obp", tmp_path, "--since", found["since"], "--until", found["until"])
    options = {
        "--log": str(exported),
        "--target": target,
        "--arms": "a,b,c",
        "--estimators": ",".join(found["estimates"]),
        "--level": str(found["level"]),
    }
    words = [word for option in options.items() for word in option]
    told = json.loads(service.command("evaluate", *words, "--json").stdout)
    assert told.keys() == found.keys() - {"experiment", "rows", "since", "until", "cut"}
    assert told == {name: found[name] for name in told}


def export(service: Service, key: str, form: str, folder: Path, *options: str) -> Path:
    """The exported log."""
    path = folder / f"log.{form}"
    done = service.command("export", key, "--format", form, "--output", str(path), *options)
    assert done.returncode == 0, done.stderr
    assert "decisions" in done.stdout
    return path


def test_parquet_holds_everything(api: Api, service: Service, logged: str, tmp_path: Path) -> None:
    """One row for each decision, with every probability; those that count are the endpoint's."""
    path = export(service, logged, "parquet", tmp_path)
    table = pq.read_table(path)
    assert table.column_names == [
        *("decision_id", "decided_at", "unit", "context", "arm", "served_arm", "propensity", "allocation", "epoch"),
        *("reason", "learnable", "items", "mature", "counts", "reward", "outcome_click", "probabilities"),
    ]
    ids = table["decision_id"].to_pylist()
    assert len(set(ids)) == 900
    assert ids == sorted(ids)
    assert {name: set(table[name].to_pylist()) for name in ("mature", "counts", "outcome_click", "reward")} == {
        "mature": {True},
        "counts": {True},
        "outcome_click": {1, None},
        "reward": {0, 1},
    }
    for arm, propensity, text in zip(
        *(table[n].to_pylist() for n in ("arm", "propensity", "probabilities")), strict=True
    ):
        assert json.loads(text) == SHARES
        assert propensity == SHARES[arm]
    told = json.loads(service.command("evaluate", "--log", str(path), "--target", "arm=b", "--json").stdout)
    assert told["estimates"] == evaluate(api, logged, ALL_ON_B)["estimates"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_log_cannot_tell_is_null(api: Api, logged: str, key: str) -> None:
    """An arm that was never dealt, and a log that is too short: no figure, and the reason."""
    found = evaluate(api, logged, {"arm": "c"})
    assert set(found["estimates"].values()) == {None}
    assert found["unavailable"].keys() == {f"#/estimates/{name}" for name in found["estimates"]}
    assert (
        "missing support: the target gives 1 of its decisions to arms that were never logged (c)"
        in (found["unavailable"]["#/estimates/ips"])
    )
    assert found["overlap"]["unsupported"] == {"c": 1}
    api.put(f"/v1/experiments/{key}", EXPERIMENT).ok()
    problem(api.post(f"/v1/experiments/{key}/evaluate", ALL_ON_B), 409)
    traffic(api, key, 60)
    until(lambda: mature(api, key) == 60, "the windows to pass", 15)
    short = evaluate(api, key, {"arm": "a", "estimators": ["snips"]})
    assert short["estimates"] == {"snips": None}
    assert "and 100 are needed" in short["unavailable"]["#/estimates/snips"]
    assert short["rows"] == 60


def test_a_policy_learns_from_the_log(api: Api, logged: str) -> None:
    """With the experiment's arms and rewards: greedy deals the better arm, and earns what that one does."""
    greedy = {"kind": "epsilon_greedy", "epsilon": 0.0, "warm_up": 0, "min_propensity": 0}
    of_policy = evaluate(api, logged, {"policy": greedy, "estimators": ["snips"]})
    of_arm = evaluate(api, logged, {**ALL_ON_B, "estimators": ["snips"]})
    # Arm c was never dealt. Its prior mean, 1/2, is below what b earns, two in three.
    assert of_policy["estimates"]["snips"]["value"] == pytest.approx(of_arm["estimates"]["snips"]["value"])
    assert of_policy["target"] == "policy epsilon_greedy, learned from the log"


def test_only_confirmed_exposures_count(api: Api, service: Service, key: str, tmp_path: Path) -> None:
    """Where the frontend confirms, what nobody saw is not in the log."""
    api.put(f"/v1/experiments/{key}", {**EXPERIMENT, "exposure": "confirmed"}).ok()
    decisions = traffic(api, key, 400)
    seen = decisions[::2]
    api.post("/v1/exposures", {"exposures": [{"decision_id": one["decision_id"]} for one in seen]}).ok()
    until(lambda: mature(api, key) == 200, "the windows to pass", 15)
    found = evaluate(api, key, {"arm": "a", "estimators": ["ips"]})
    of_a = [n for n in range(0, 400, 2) if decisions[n]["arm"] == "a"]
    expected = sum(n % 6 < 2 for n in of_a) / 0.7 / 200
    assert found["rows"] == 200
    assert found["estimates"]["ips"]["value"] == pytest.approx(expected, rel=1e-12)
    counted = export(service, key, "obp", tmp_path).read_text().splitlines()
    assert (counted[0], len(counted)) == ("action,position,reward,pscore,arm", 201)
    everything = pq.read_table(export(service, key, "parquet", tmp_path))
    assert sum(everything["counts"].to_pylist()) == 200
    assert everything["reward"].null_count == 200


def test_without_a_default_only_what_came_counts(api: Api, service: Service, key: str) -> None:
    """`missing: explicit`: silence is no outcome."""
    api.put(f"/v1/experiments/{key}", {**EXPERIMENT, "reward": {"window_s": 1, "missing": "explicit"}}).ok()
    traffic(api, key, 600)
    (observed,) = rows(
        service.database_url,
        "SELECT count(*) FROM decisions JOIN outcomes USING (decision_id) WHERE experiment = :key",
        key=key,
    )[0]
    until(lambda: mature(api, key) == 600, "the windows to pass", 15)
    found = evaluate(api, key, {"arm": "a", "estimators": ["ips"]})
    assert found["rows"] == observed < 400
    assert found["log"]["mean"] == 1


def test_decisions_before_a_new_arm_do_not_count(api: Api, key: str) -> None:
    """They could not deal it. What is not learned from does not count either: holdout, overrides, pauses."""
    api.put(f"/v1/experiments/{key}", {**EXPERIMENT, "overrides": [{"arm": "b", "units": ["pinned"]}]}).ok()
    traffic(api, key, 50)
    decide(api, key, "pinned")
    until(lambda: mature(api, key) == 50, "the windows to pass", 15)
    assert evaluate(api, key, ALL_ON_B)["rows"] == 50
    shares = {**SHARES, "d": 0}
    arms_then = [{"key": arm} for arm in shares]
    fixed = {**EXPERIMENT["policy"], "probabilities": shares}
    api.patch(f"/v1/experiments/{key}", {"arms": arms_then, "policy": fixed}).ok()
    problem(api.post(f"/v1/experiments/{key}/evaluate", ALL_ON_B), 409)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#"),
        ({"arm": "a", "probabilities": {"a": 1}}, "#"),
        ({"arm": "nobody"}, "#/arm"),
        ({"probabilities": {"a": 0.5, "nobody": 0.5}}, "#/probabilities"),
        ({"probabilities": {"a": 0.5}}, "#/probabilities"),
        ({"probabilities": {}}, "#/probabilities"),
        ({"policy": {"kind": "magic"}}, "#/policy/kind"),
        ({"policy": {"kind": "fixed", "probabilities": {"a": 1}}}, "#/policy"),
        ({"policy": {"kind": "epsilon_greedy", "min_propensity": 0.5}}, "#/policy/min_propensity"),
        ({"arm": "a", "estimators": ["ips", "magic"]}, "#/estimators/1"),
        ({"arm": "a", "estimators": []}, "#/estimators"),
        ({"arm": "a", "level": 1}, "#/level"),
        ({"arm": "a", "since": "2026-11-24T09:00:00"}, "#/since"),
        ({"arm": "a", "since": "yesterday"}, "#/since"),
        ({"arm": "a", "folds": 3}, "#"),
    ],
)
def test_bad_bodies_are_refused(api: Api, logged: str, body: dict[str, Any], pointer: str) -> None:
    """With a pointer to what is wrong."""
    problem(api.post(f"/v1/experiments/{logged}/evaluate", body), 422, pointer)


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_any_moment_may_be_asked_for(api: Api, logged: str, since: str) -> None:
    """Before the first decision there is nothing to leave out, and nothing is after the last."""
    answer = api.post(f"/v1/experiments/{logged}/evaluate", {**ALL_ON_B, "since": since})
    assert answer.status == (200 if since < "2" else 409)
    problem(api.post("/v1/experiments/nobody/evaluate", ALL_ON_B), 404)


def test_mistakes_at_the_command_line_leave_no_file(service: Service, logged: str, tmp_path: Path) -> None:
    """A sentence, a status, and nothing half-written."""
    path = str(tmp_path / "log")
    for arguments, message in (
        (("nobody", "--output", path), "There is no experiment 'nobody'"),
        ((logged, "--output", path, "--since", "2026-11-24"), "must be like 2026-11-24T09:00:00Z"),
        ((logged, "--output", path, "--since", "2026-11-24T09:00:00"), "needs a time zone"),
        (
            (logged, "--output", path, "--since", "2026-11-24T09:00:00Z", "--until", "2026-11-24T08:00:00Z"),
            "must lie before",
        ),
        ((logged, "--output", f"{path}/of/nowhere"), "cannot be written"),
    ):
        done = service.command("export", *arguments, "--format", "obp")
        assert done.returncode != 0
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
