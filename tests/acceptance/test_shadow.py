"""`GET /v1/experiments/{key}/shadow` against what the raw tables say, and that a shadow changes nothing."""

import math
import random
import time
from statistics import NormalDist, fmean
from typing import Any

import pytest
import sqlalchemy as sa

from app.store.database import Database
from tests.acceptance.talking import decide, fresh_id, problem, reward
from tests.running import Api, until

LIVE = {"kind": "thompson_sampling", "warm_up": 50, "min_propensity": 0.15}
SHADOW = {"policy": {"kind": "epsilon_greedy", "epsilon": 0.3, "warm_up": 20}, "arms": ["a", "b"]}
REWARDS = {"a": 0.2, "b": 0.5, "c": 0.4}
DECISIONS = 1200

_LOG = """
SELECT d.arm, d.shadow_arm, d.propensity, coalesce(o.value, 0), a.probabilities, a.shadow -> 'probabilities'
FROM decisions d JOIN allocations a ON a.experiment = d.experiment AND a.number = d.allocation
LEFT JOIN outcomes o ON o.decision_id = d.decision_id AND o.metric = 'click'
WHERE d.experiment = :key AND d.learnable ORDER BY d.decision_id
"""


@pytest.fixture(scope="module")
def mature(api: Api) -> str:
    """An experiment that learned while a shadow looked on; its attribution windows have passed."""
    specification = {
        "arms": [{"key": key} for key in REWARDS],
        "policy": LIVE,
        "shadow": SHADOW,
        "reward": {"window_s": 1},
    }
    api.put("/v1/experiments/shadowed", specification).ok()
    rng = random.Random(3)
    for start in range(0, DECISIONS, 100):
        requests = [{"experiment": "shadowed", "unit": f"u{start + n}"} for n in range(100)]
        answers = api.post("/v1/recommendations/batch", {"requests": requests}).ok()
        made = next(part for part in answers.values() if isinstance(part, list))
        clicked = [
            {"decision_id": one["decision_id"], "value": 1} for one in made if rng.random() < REWARDS[one["arm"]]
        ]
        api.post("/v1/feedback", {"events": clicked}).ok()
        time.sleep(0.3)
        if (
            start == DECISIONS // 200 * 100
        ):  # halfway: the rest is dealt from what was learned, however slow the machine is
            until(lambda: has_learned(api, "shadowed"), "the policies to learn", 20)
    until(lambda: shadow_of(api, "shadowed")["decisions"] == DECISIONS, "the windows to pass", 20)
    return "shadowed"


def has_learned(api: Api, key: str) -> bool:
    """Whether an allocation in force was made from outcomes."""
    newest = api.get(f"/v1/experiments/{key}/history?limit=1").ok()["allocations"][0]
    return bool(newest["reason"] == "learned")


def shadow_of(api: Api, key: str, query: str = "") -> dict[str, Any]:
    """The report."""
    found: dict[str, Any] = api.get(f"/v1/experiments/{key}/shadow{query}").ok()
    return found


def raw(stored: Database, key: str) -> list[tuple[Any, ...]]:
    """Arm, shadow arm, propensity, reward, live and shadow probabilities of each decision."""
    with stored.transaction() as connection:
        return [tuple(row) for row in connection.execute(sa.text(_LOG), {"key": key})]


def test_matches_and_shares_are_those_of_the_log(api: Api, stored: Database, mature: str) -> None:
    """Decisions, match rate, expected match rate and shares agree with the raw tables to 1e-9."""
    report, log = shadow_of(api, mature), raw(stored, mature)
    assert report["decisions"] == len(log) == DECISIONS
    assert report["match_rate"] == pytest.approx(fmean(row[0] == row[1] for row in log), abs=1e-9)
    expected = fmean(sum(p * row[5][arm] for arm, p in row[4].items()) for row in log)
    assert report["expected_match_rate"] == pytest.approx(expected, abs=1e-9)
    for arm in report["arms"]:
        assert arm["live"] == pytest.approx(fmean(row[0] == arm["arm"] for row in log), abs=1e-9)
        assert arm["shadow"] == pytest.approx(fmean(row[1] == arm["arm"] for row in log), abs=1e-9)
    assert {row[1] for row in log} == {"a", "b"}
    assert len({str(row[5]) for row in log}) > 1, "the shadow must have learned meanwhile"


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_the_value_is_that_of_the_log(api: Api, stored: Database, mature: str, level: float) -> None:
    """IPS, SNIPS and DR, their errors and intervals agree with plain Python over the raw tables to 1e-9."""
    report, log = shadow_of(api, mature, f"?level={level}"), raw(stored, mature)
    assert report["unavailable"] == {}
    n, z = len(log), NormalDist().inv_cdf((1 + level) / 2)
    weight = [row[5][row[0]] / row[2] for row in log]
    rewards = [row[3] for row in log]
    gain = [w * r for w, r in zip(weight, rewards, strict=True)]
    snips = sum(gain) / sum(weight)
    model = [arm_means([row for j, row in enumerate(log) if j % 5 != fold]) for fold in range(5)]
    doubly = [
        sum(q * model[i % 5][arm] for arm, q in row[5].items()) + weight[i] * (row[3] - model[i % 5][row[0]])
        for i, row in enumerate(log)
    ]
    spread = sum((w * (r - snips)) ** 2 for w, r in zip(weight, rewards, strict=True))
    expected = {
        "ips": (fmean(gain), error_of(gain)),
        "snips": (snips, math.sqrt(spread / n) / fmean(weight) / math.sqrt(n)),
        "dr": (fmean(doubly), error_of(doubly)),
    }
    assert report["estimates"].keys() == expected.keys()
    for name, (value, error) in expected.items():
        found = report["estimates"][name]
        assert found["value"] == pytest.approx(value, abs=1e-9), name
        assert found["standard_error"] == pytest.approx(error, abs=1e-9), name
        assert found["interval"] == pytest.approx([value - z * error, value + z * error], abs=1e-9), name
    worth = sum(weight) ** 2 / sum(w * w for w in weight)
    assert report["overlap"]["effective_sample_size"] == pytest.approx(worth, rel=1e-9)
    assert report["log"]["mean"] == pytest.approx(fmean(rewards), abs=1e-9)
    half = z * error_of(rewards)
    assert report["log"]["interval"] == pytest.approx([fmean(rewards) - half, fmean(rewards) + half], abs=1e-9)


def error_of(terms: list[float]) -> float:
    """Standard error of a mean."""
    mean = fmean(terms)
    return math.sqrt(sum((term - mean) ** 2 for term in terms) / (len(terms) - 1) / len(terms))


def arm_means(log: list[Any]) -> dict[str, float]:
    """Mean reward of each arm, drawn towards that of all by 10 rows."""
    overall, means = fmean(row[3] for row in log), {}
    for arm in REWARDS:
        mine = [row[3] for row in log if row[0] == arm]
        means[arm] = (sum(mine) + 10 * overall) / (len(mine) + 10)
    return means


def test_since_bounds_what_counts(api: Api, mature: str) -> None:
    """Of nothing there is no figure, and each null has its reason."""
    report = shadow_of(api, mature, "?since=2100-01-01T00:00:00Z")
    assert (report["decisions"], report["match_rate"], report["log"], report["arms"]) == (0, None, None, [])
    assert report["unavailable"].keys() == {
        "#/match_rate", "#/expected_match_rate", "#/log", "#/overlap", "#/estimates/ips", "#/estimates/snips",
        "#/estimates/dr",
    }  # fmt: skip
    assert shadow_of(api, mature, "?since=2020-01-01T00:00:00Z")["decisions"] == DECISIONS


def test_the_frontend_hears_nothing_of_it(api: Api, mature: str) -> None:
    """The answer has no member for the shadow; the explanation of a decision names its arm."""
    made = decide(api, mature)
    assert not [name for name in made if "shadow" in name]
    explained = api.get(f"/v1/decisions/{made['decision_id']}").ok()["decision"]
    assert explained["shadow_arm"] in {"a", "b"}


def test_the_live_choice_is_the_same_with_and_without_a_shadow(api: Api, stored: Database, key: str) -> None:
    """The same ids under the same salt get the same arms and propensities, and `epoch` stays."""
    arms = {"arms": [{"key": "a"}, {"key": "b"}, {"key": "c"}]}
    for name in (f"{key}-bare", f"{key}-twin"):
        api.put(f"/v1/experiments/{name}", arms).ok()
    with stored.transaction() as connection:
        statement = "UPDATE experiments SET salt = 'same'::bytea WHERE key IN (:bare, :twin)"
        connection.execute(sa.text(statement), {"bare": f"{key}-bare", "twin": f"{key}-twin"})
    api.patch(f"/v1/experiments/{key}-bare", {"fallback": ["1"]}).ok()  # so that workers read the salt
    changed = api.patch(f"/v1/experiments/{key}-twin", {"shadow": SHADOW}).ok()
    assert changed["epoch"] == 1
    time.sleep(3)
    ids = [fresh_id() for _ in range(200)]
    chosen = []
    for name in (f"{key}-bare", f"{key}-twin"):
        made = [decide(api, name, f"u{n}", decision_id=decision_id) for n, decision_id in enumerate(ids)]
        chosen.append([(one["arm"], one["propensity"], one["reason"]) for one in made])
        logged = raw(stored, name)
        assert all((row[1] is None) == (name == f"{key}-bare") for row in logged)
        forget(stored, name)
    assert len(chosen[0]) == 200
    assert chosen[0] == chosen[1]


def forget(stored: Database, key: str) -> None:
    """Removes an experiment's decisions and their counts, so that their ids can be used again."""
    with stored.transaction() as connection:
        for table in ("decisions", "decision_counts"):
            connection.execute(sa.text(f"DELETE FROM {table} WHERE experiment = :key"), {"key": key})


def test_support_and_effective_sample_size_are_needed(api: Api, key: str) -> None:
    """A shadow whose arm the live policy never plays has no value, and the reasons are said; matches are."""
    fixed = {"kind": "fixed", "probabilities": {"a": 1, "b": 0}}
    shadow = {"policy": {"kind": "fixed", "probabilities": {"a": 0.5, "b": 0.5}}}
    specification = {"arms": [{"key": "a"}, {"key": "b"}], "policy": fixed, "shadow": shadow, "reward": {"window_s": 1}}
    api.put(f"/v1/experiments/{key}", specification).ok()
    for n in range(5):
        reward(api, decide(api, key, f"u{n}")["decision_id"])
    until(lambda: shadow_of(api, key)["decisions"] == 5, "the windows to pass", 20)
    report = shadow_of(api, key)
    assert report["estimates"] == {"ips": None, "snips": None, "dr": None}
    assert (report["expected_match_rate"], report["log"]["mean"]) == (0.5, 1.0)
    for reason in report["unavailable"].values():
        assert "never logged (b)" in reason
        assert "100 are needed" in reason
    assert report["unavailable"].keys() == {"#/estimates/ips", "#/estimates/snips", "#/estimates/dr"}


def test_without_a_shadow_there_is_no_report(api: Api, key: str) -> None:
    """404, as for an experiment that does not exist; a bad level is 422."""
    api.put(f"/v1/experiments/{key}", {"arms": [{"key": "a"}]}).ok()
    problem(api.get(f"/v1/experiments/{key}/shadow"), 404)
    problem(api.get(f"/v1/experiments/{key}-none/shadow"), 404)
    problem(api.get("/v1/experiments/shadowed/shadow?level=2"), 422)
    problem(api.patch(f"/v1/experiments/{key}", {"shadow": {**SHADOW}}), 422, "#/shadow/arms/1")
