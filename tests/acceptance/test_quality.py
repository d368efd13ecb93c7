"""`GET /v1/experiments/{key}/quality` against what was sent."""

import random
from typing import Any

import pytest
import scipy.stats

from tests.acceptance.talking import problem
from tests.running import Api, until

UNITS = 60
METRICS = [
    {"key": "revenue", "level": "business", "aggregation": "sum"},
    {"key": "click", "level": "online", "aggregation": "any"},
]


def quality(api: Api, key: str, query: str = "") -> dict[str, Any]:
    """The hierarchy."""
    found: dict[str, Any] = api.get(f"/v1/experiments/{key}/quality{query}").ok()
    return found


def test_the_hierarchy_rests_on_what_was_sent(api: Api) -> None:
    """Units, values of arms, and the correlation over units; figures that need more days are null, with the reason."""
    specification = {"arms": [{"key": "a"}, {"key": "b"}], "metrics": METRICS, "reward": {"window_s": 1}}
    api.put("/v1/experiments/tree", specification).ok()
    rng, requests = random.Random(1), [{"experiment": "tree", "unit": f"u{n % UNITS}"} for n in range(4 * UNITS)]
    made = api.post("/v1/recommendations/batch", {"requests": requests}).ok()["results"]
    sent: dict[str, list[float]] = {}
    events = []
    for request, one in zip(requests, made, strict=True):
        clicked = rng.random() < 0.4
        spent = clicked * rng.choice([0, 1, 2.5])
        events += [{"decision_id": one["decision_id"], "metric": "click", "value": 1}] * clicked
        events += [{"decision_id": one["decision_id"], "metric": "revenue", "value": spent}] * (spent > 0)
        total = sent.setdefault(request["unit"], [0, 0])
        sent[request["unit"]] = [total[0] + clicked, total[1] + spent]
    api.post("/v1/feedback", {"events": events}).ok()
    until(lambda: quality(api, "tree")["nodes"][0]["n"] == 4 * UNITS, "the windows to pass")

    found = quality(api, "tree")
    revenue, click = found["nodes"]
    assert (revenue["metric"], revenue["level"], click["metric"]) == ("revenue", "business", "click")
    assert revenue["value"] == pytest.approx(sum(spent for _, spent in sent.values()) / (4 * UNITS))
    assert sum(arm["n"] for arm in click["arms"]) == sum(day["n"] for day in click["trend"]) == 4 * UNITS
    (edge,) = found["edges"]
    clicks, spent_by_unit = zip(*sent.values(), strict=True)
    assert edge["by_units"]["pairs"] == found["sample"]["units"] == UNITS
    assert edge["by_units"]["rho"] == pytest.approx(scipy.stats.spearmanr(clicks, spent_by_unit).statistic, abs=1e-12)
    assert edge["by_cells"]["rho"] is None
    assert "needs 10 cells" in found["unavailable"]["#/edges/0/by_cells/rho"]


@pytest.mark.parametrize(
    "query", ["?since=yesterday", "?since=2999-01-01T00:00:00Z", "?until=1960-01-01T00:00:00Z", "?interval=2"]
)
def test_a_bad_question_is_refused(api: Api, query: str) -> None:
    """With a message; an unknown experiment is not found."""
    api.put("/v1/experiments/asked", {"arms": [{"key": "a"}]}).ok()
    problem(api.get(f"/v1/experiments/asked/quality{query}"), 422)
    problem(api.get(f"/v1/experiments/asked-none/quality{query.partition('?')[0]}"), 404)
    assert "level business" in quality(api, "asked")["unavailable"]["#/edges"]
