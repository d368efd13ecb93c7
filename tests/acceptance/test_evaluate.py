"""What another policy would have earned, over HTTP, and from exported logs."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.acceptance.talking import arms, decide, problem, reward, rows
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
    decisions: list[dict[str, Any]] = [
        answer for answer in api.post("/v1/recommendations/batch", {"requests": requests}).ok()["results"]
    ]
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
    arm, propensity, outcome = (np.array(column) for column in zip(*rows(service.database_url, _RAW, key=logged)))
    weight = (arm == "b") / propensity
    assert found["rows"] == found["log"]["rows"] == 900
    assert found["estimates"]["ips"]["value"] == pytest.approx(np.mean(weight * outcome), rel=1e-12)
    assert found["estimates"]["snips"]["value"] == pytest.approx(np.sum(weight * outcome) / weight.sum(), rel=1e-12)
    assert found["log"]["mean"] == pytest.approx(outcome.mean(), rel=1e-12)
    assert (found["experiment"], found["cut"], found["unavailable"]) == (logged, False, {})
    assert datetime.fromisoformat(found["since"]) < datetime.fromisoformat(found["until"]) < datetime.now(UTC)
