"""`croupier simulate` against a running service: is the fault in the service's own data, and does its alert fire?

The scenarios here are those in which something but the world changes: confirmations, events, their times, the model
server, who asks. `tests/app/simulation/test_detection.py` plays all of them, for hours of virtual time.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from rich.console import Console

from app.simulation import SCENARIOS, SimulationOptions, simulate
from app.simulation.results import SimulationResult
from app.store.database import Database
from tests.acceptance.talking import opened
from tests.running import ADMIN_KEY, Service, running_service

DURATION_S, RATE, WINDOW_S = 10.0, 60.0, 1.0
NAMES = ("quiet", "broken_recommender", "lost_exposures", "duplicated_feedback", "delayed_feedback", "bots")
FALLBACKS = {"kind": "threshold", "metric": "fallback_share", "value": 0.03, "window_s": 60, "min_sample": 100}
CRITICAL = 5.0  # of z: a false alarm has probability below 6e-7

DECISIONS = """
SELECT d.arm, d.unit, d.reason, d.decided_at, d.context ->> 'device' AS device, e.decision_id IS NOT NULL AS confirmed,
       f.decision_id IS NOT NULL AS clicked
FROM decisions d LEFT JOIN exposures e USING (decision_id)
LEFT JOIN (SELECT DISTINCT decision_id FROM feedback WHERE metric = 'click') f USING (decision_id)
WHERE d.experiment = :experiment
"""
EVENTS = """
SELECT f.decision_id, f.metric, f.item_id, d.decided_at,
       extract(epoch FROM f.received_at - f.occurred_at)::float AS delay
FROM feedback f JOIN decisions d USING (decision_id) WHERE d.experiment = :experiment
"""


@pytest.fixture(scope="module")
def results(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, dict[str, SimulationResult]]]:
    """Scenarios, three at a time, against a service of their own: its catalogue is theirs alone."""

    def run(name: str) -> SimulationResult:
        return simulate(SCENARIOS[name], options, Console(file=io.StringIO()))

    folder = tmp_path_factory.mktemp("simulation")
    with running_service(new_database(), folder, CROUPIER_ALERT_INTERVAL_MS="500") as service:
        service.api().put("/v1/alert-rules/fallbacks", FALLBACKS).ok()
        options = SimulationOptions(
            url=service.url, key=ADMIN_KEY, duration=DURATION_S, rate=RATE, window_s=WINDOW_S, concurrency=8
        )
        with ThreadPoolExecutor(3) as threads:
            found = dict(zip(NAMES, threads.map(run, NAMES), strict=True))
        yield service, found


@pytest.fixture(scope="module")
def stored_here(results: tuple[Service, dict[str, SimulationResult]]) -> Iterator[Database]:
    """That service's database."""
    with opened(results[0].database_url) as database:
        yield database


def rows(database: Database, statement: str, experiment: str) -> list[Any]:
    """What the service has stored."""
    with database.transaction() as connection:
        return list(connection.execute(sa.text(statement), {"experiment": experiment}))


def differs(before: list[bool], after: list[bool]) -> bool:
    """Two-proportion z test; of fewer than 20 rows nothing is said."""
    if min(len(before), len(after)) < 20:
        return False
    pooled = np.mean(before + after)
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(before) + 1 / len(after)))
    return bool(error > 0 and abs(np.mean(before) - np.mean(after)) / error > CRITICAL)


def moved(database: Database, experiment: str, at: datetime) -> set[str]:
    """The signals that moved at that time, by what the service has stored."""
    decisions, events = rows(database, DECISIONS, experiment), rows(database, EVENTS, experiment)
    arms = {row.arm for row in decisions}

    def by_arm(property_of: Callable[[Any], bool], kept: Callable[[Any], bool] = lambda _row: True) -> bool:
        phases: dict[tuple[str, bool], list[bool]] = {(arm, late): [] for arm in arms for late in (False, True)}
        for row in filter(kept, decisions):
            phases[row.arm, row.decided_at >= at].append(property_of(row))
        return any(differs(phases[arm, False], phases[arm, True]) for arm in arms)

    mobile = [[row.device == "mobile" for row in decisions if (row.decided_at >= at) == late] for late in (False, True)]
    repeats = Counter((row.decision_id, row.metric, row.item_id) for row in events)
    seconds = Counter(int((row.decided_at - at).total_seconds() * 2) for row in decisions if row.decided_at >= at)
    halves = [seconds[half] for half in range(int(DURATION_S) - 1)]
    found = {
        "reward_rate": by_arm(lambda row: row.clicked, lambda row: row.reason != "fallback"),
        "context_drift": differs(*mobile),
        "fallback_share": by_arm(lambda row: row.reason == "fallback"),
        "confirmed_share": by_arm(lambda row: row.confirmed),
        "repeated_feedback": max(repeats.values(), default=0) > 1,
        "feedback_delay": float(np.median([row.delay for row in events if row.decided_at >= at])) > WINDOW_S,
        "unit_rate": max(Counter(row.unit for row in decisions).values()) > 10,
        "traffic": max(halves) - min(halves) > CRITICAL * np.sqrt(2 * np.mean(halves)),
    }
    return {signal for signal, has_moved in found.items() if has_moved}


@pytest.mark.parametrize("name", NAMES)
def test_the_fault_is_in_the_data_and_nothing_else(
    name: str, results: tuple[Service, dict[str, SimulationResult]], stored_here: Database
) -> None:
    """Each scenario moves the signal that it names; the quiet one moves none.

    A quiet second half looks like the first: z > 5 has probability < 6e-7 a comparison; a unit of 2,000 that comes
    more than ten times in 600 requests, < 1e-9.
    """
    result = results[1][name]
    at = result.injected.at if result.injected else middle(stored_here, result.experiment)
    signals = moved(stored_here, result.experiment, at)
    expected = {SCENARIOS[name].signal} - {None}
    assert signals >= expected
    assert name == "bots" or signals == expected  # bots click: rewards move too


def middle(database: Database, experiment: str) -> datetime:
    """Halfway between first and last decision."""
    times = [row.decided_at for row in rows(database, DECISIONS, experiment)]
    found: datetime = min(times) + (max(times) - min(times)) / 2
    return found


@pytest.mark.parametrize("name", ["broken_recommender", "duplicated_feedback"])
def test_the_alert_of_the_fault_fires_after_it(name: str, results: tuple[Service, dict[str, SimulationResult]]) -> None:
    """Fallbacks, by a rule of the last minute, fire after the model server broke; they do not where there is none."""
    service, found = results
    injected = found[name].injected
    assert injected is not None
    alerts = service.api().get(f"/v1/alerts?experiment={found[name].experiment}&state=firing,resolved").ok()["alerts"]
    fired = {alert["rule"]: datetime.fromisoformat(alert["since"]) for alert in alerts}
    assert ("fallbacks" in fired) == (name == "broken_recommender")
    assert all(at > injected.at for at in fired.values())
    assert fired.keys() <= {"fallbacks", *SCENARIOS[name].accompanied, SCENARIOS[name].alert}


def test_what_was_sent_is_what_the_service_has(
    results: tuple[Service, dict[str, SimulationResult]], stored_here: Database
) -> None:
    """Decisions, events and confirmations of each run are stored, none more and none less."""
    for result in results[1].values():
        decisions = rows(stored_here, DECISIONS, result.experiment)
        assert len(decisions) == result.sent["decisions"]
        assert len(rows(stored_here, EVENTS, result.experiment)) == result.sent["events"]
        assert sum(row.confirmed for row in decisions) == result.sent.get("exposures", 0)
        assert not {name for name in result.sent if name.endswith("not_sent")}
        assert sum(phase.counts.failures for phase in result.phases) == 0


def test_arms_earn_what_the_truth_says(results: tuple[Service, dict[str, SimulationResult]]) -> None:
    """In the quiet run each arm's reward rate is within 5.5 standard errors of its truth (false alarm < 4e-8)."""
    for row in results[1]["quiet"].phases[0].counts.arms:
        assert row.expected is not None
        assert row.reward_rate is not None
        error = np.sqrt(row.expected * (1 - row.expected) / row.decisions)
        assert abs(row.reward_rate - row.expected) < 5.5 * error + 1e-9


def test_the_command_tells_machines_what_was_injected_when(
    results: tuple[Service, dict[str, SimulationResult]],
) -> None:
    """`--json` prints one document: the injection, both phases with truth and regret, and what was sent."""
    service = results[0]
    arguments = ["--scenario", "reward_drop", "--duration", "2", "--rate", "20", "--window", "1", "--json"]
    ran = service.command("simulate", *arguments, "--url", service.url, "--key", ADMIN_KEY, "--experiment", "told")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["injected"]["signal"] == "reward_rate"
    assert told["injected"]["after_s"] == 1
    assert [phase["name"] for phase in told["phases"]] == ["before", "after"]
    assert all(row["expected"] is not None for phase in told["phases"] for row in phase["counts"]["arms"])
    assert told["sent"]["decisions"] > 0
    assert "After 1 s" in ran.stderr
