"""The proof that concurrent traffic is counted exactly."""

import random
import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.talking import EAGER, fresh_id, rows
from tests.running import Api, Service, until

CLIENTS, ROUNDS = 32, 50
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "proof-request": {"assignment": "request"},
    "proof-unit": {"assignment": "unit"},
    "proof-default": {"assignment": "request", "reward": {"missing": "default", "window_s": 1}},
}
SPECIFICATION: dict[str, Any] = {
    "arms": [{"key": key} for key in "abcd"],
    "policy": EAGER,
    "reward": {"missing": "explicit"},
    "metrics": [
        {"key": "revenue", "level": "business", "aggregation": "sum"},
        {"key": "dwell", "aggregation": "max"},
        {"key": "rating", "aggregation": "last"},
    ],
}
FOLDS: dict[str, Callable[[Collection[float]], float]] = {
    "click": lambda values: float(any(values)),
    "revenue": sum,
    "dwell": max,
}


@dataclass
class History:
    """What clients were told: arm by decision, and the values accepted or kept by decision and metric."""

    arm: dict[str, tuple[str, str]] = field(default_factory=dict)
    values: dict[tuple[str, str], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def decided(self, decision: dict[str, Any]) -> None:
        """An acknowledged decision."""
        with self.lock:
            dealt = (decision["experiment"], decision["arm"])
            assert self.arm.setdefault(decision["decision_id"], dealt) == dealt

    def fed(self, event: dict[str, Any], status: str) -> None:
        """An acknowledged event."""
        assert status in {"accepted", "duplicate", "unmatched"}, status
        with self.lock:
            self.values[event["decision_id"], event["metric"]][event["event_id"]] = event["value"]

    def sums(self) -> dict[tuple[str, str, str], tuple[int, float]]:
        """Number and sum of outcomes by experiment, arm and metric."""
        found: dict[tuple[str, str, str], tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        for (decision, metric), events in self.values.items():
            if metric in FOLDS:
                n, total = found[*self.arm[decision], metric]
                found[*self.arm[decision], metric] = n + 1, total + FOLDS[metric](events.values())
        return dict(found)

    def decisions(self) -> dict[tuple[str, str], int]:
        """Number of decisions by experiment and arm."""
        found: dict[tuple[str, str], int] = defaultdict(int)
        for dealt in self.arm.values():
            found[dealt] += 1
        return dict(found)


def visit(api: Api, history: History, rng: random.Random) -> None:
    """One user: a decision asked for once or twice, and events sent twice each, some before the decision."""
    experiment, decision_id = rng.choice(list(EXPERIMENTS)), fresh_id()
    wanted = {"experiment": experiment, "unit": f"u{rng.randrange(50)}", "decision_id": decision_id}
    events = [
        {"decision_id": decision_id, "metric": metric, "event_id": f"e{n}", "value": value, "item_id": f"i{n}"}
        for n, (metric, value) in enumerate([
            ("click", rng.randrange(2)), ("click", rng.randrange(2)), ("dwell", rng.randrange(1000)),
            # Quarters are exact, so sums are, in whatever order they are made.
            ("revenue", rng.randrange(4000) / 4), ("revenue", -rng.randrange(400) / 4), ("rating", rng.randrange(5)),
        ])
    ]  # fmt: skip
    sends: list[list[dict[str, Any]]] = [[event] for event in rng.sample(events, rng.randrange(7)) for _ in range(2)]
    rng.shuffle(sends)
    early = rng.randrange(len(sends) + 1) if rng.random() < 0.3 else 0
    for batch in sends[:early]:
        feed(api, history, batch)
    for _ in range(rng.choice((1, 1, 2))):
        history.decided(api.post("/v1/recommendations", wanted).ok())
    if rng.random() < 0.3:
        feed(api, history, [event for batch in sends[early:] for event in batch])
    else:
        for batch in sends[early:]:
            feed(api, history, batch)


def feed(api: Api, history: History, events: list[dict[str, Any]]) -> None:
    """Sends events, alone or in bulk, and remembers what was acknowledged."""
    if len(events) == 1:
        history.fed(events[0], api.post("/v1/feedback", events[0]).ok()["status"])
        return
    results = api.post("/v1/feedback", {"events": events}).ok()["results"]
    for event, result in zip(events, results, strict=True):
        history.fed(event, result["status"])


@pytest.fixture
def history(own_service: Service, own_api: Api) -> History:
    """What 32 concurrent clients were told, while the policy learns and an operator changes things."""
    for key, parts in EXPERIMENTS.items():
        own_api.put(f"/v1/experiments/{key}", {**SPECIFICATION, **parts}).ok()
    found, over = History(), threading.Event()

    def client(number: int) -> None:
        rng = random.Random(number)
        for _ in range(ROUNDS):
            visit(own_api, found, rng)

    def operator() -> None:
        for turn in range(1000):
            if over.wait(0.3):
                return
            own_api.patch(
                "/v1/experiments/proof-request",
                {"holdout": 0.0, "policy": {**EAGER, "min_propensity": 0.01 + turn * 1e-4}},
            ).ok()
            own_api.post(f"/v1/experiments/proof-unit/{('pause', 'resume')[turn % 2]}").ok()

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        meddling = threads.submit(operator)
        clients = [threads.submit(client, number) for number in range(CLIENTS)]
        try:
            for done in clients:
                done.result()
        finally:
            over.set()
        meddling.result()
    count = "SELECT count(*) FROM unmatched_feedback"
    until(lambda: rows(own_service.database_url, count)[0][0] == 0, "unmatched feedback to be matched")
    return found


def test_32_concurrent_clients_are_counted_exactly(own_service: Service, history: History) -> None:
    """With retries, early rewards, several metrics and meddling operators the database equals what clients were told.

    Every acknowledged decision and event is there, none twice, and every statistic is the fold of them.
    """
    assert len(history.arm) == CLIENTS * ROUNDS
    assert dealt_in(own_service) == history.arm
    assert {key: n for key, n in decisions_in(own_service).items() if n} == history.decisions()
    events = {
        (str(decision), metric, event): value
        for decision, metric, event, value in rows(
            own_service.database_url, "SELECT decision_id, metric, event_id, value FROM feedback"
        )
    }
    assert events == {(*key, event): value for key, told in history.values.items() for event, value in told.items()}
    assert sums_in(own_service) == learnable(own_service, history)
    verified = own_service.command("verify")
    assert verified.returncode == 0, verified.stdout
    assert "unexpected error" not in own_service.log.read_text()


def dealt_in(service: Service) -> dict[str, tuple[str, str]]:
    """Experiment and arm of each decision."""
    found = rows(service.database_url, "SELECT decision_id, experiment, arm FROM decisions")
    return {str(decision): (experiment, arm) for decision, experiment, arm in found}


def decisions_in(service: Service) -> dict[tuple[str, str], int]:
    """Counted decisions by experiment and arm."""
    query = "SELECT experiment, arm, sum(decisions)::int FROM decision_counts GROUP BY 1, 2"
    return {(experiment, arm): n for experiment, arm, n in rows(service.database_url, query)}


def sums_in(service: Service) -> dict[tuple[str, str, str], tuple[int, float]]:
    """Number and sum of outcomes by experiment, arm and metric, as the statistics have them."""
    query = "SELECT experiment, arm, metric, sum(n)::int, sum(sum) FROM arm_statistics GROUP BY 1, 2, 3"
    found = rows(service.database_url, query)
    return {(experiment, arm, metric): (n, total) for experiment, arm, metric, n, total in found if metric in FOLDS}


def learnable(service: Service, history: History) -> dict[tuple[str, str, str], tuple[int, float]]:
    """What the clients' history says about those decisions that are learned from: not the paused ones."""
    query = "SELECT decision_id FROM decisions WHERE reason IN ('policy', 'warm_up')"
    chosen = {str(decision) for (decision,) in rows(service.database_url, query)}
    kept = History(arm=history.arm)
    kept.values = {key: events for key, events in history.values.items() if key[0] in chosen}
    return kept.sums()
