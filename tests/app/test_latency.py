"""Latency objectives: slow decisions are counted once, and burn a budget."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.alerting.evaluation import evaluate_all
from app.latency import LatencyCount
from app.store import latencies
from app.store.database import Database
from tests.app.building import decision, id_at, now, put, query, record

MINUTE = timedelta(minutes=1)


@pytest.fixture
def home(database: Database) -> Database:
    """A database with an experiment "home"."""
    put(database, "home")
    return database


@pytest.fixture
def noon() -> datetime:
    """The start of a minute, a while ago."""
    return now().replace(second=0, microsecond=0) - 30 * MINUTE


def serve(database: Database, at: datetime, *latencies_ms: float, experiment: str = "home") -> None:
    """Records decisions of one moment that took so long."""
    rows = [decision(experiment, decided_at=at, decision_id=id_at(at), latency_ms=latency) for latency in latencies_ms]
    record(database, rows)


def minutes(database: Database, experiment: str = "home") -> list[tuple[Any, ...]]:
    """Start, decisions, and those slower than 100 ms, of each minute."""
    text = """SELECT window_start, n, (detail -> 'slower_than' ->> '100')::int FROM metric_values
        WHERE experiment = :experiment AND metric = 'latency_ms' ORDER BY window_start"""
    return query(database, text, experiment=experiment)


def test_each_minute_is_counted_once_it_is_over(home: Database, noon: datetime) -> None:
    """By experiment; a latency of exactly the target is not slow."""
    serve(home, noon, 100, 100.1, 5, 500)
    serve(home, noon + 0.99 * MINUTE, 1)
    serve(home, noon + MINUTE, 200)
    put(home, "other")
    serve(home, noon, 1, experiment="other")
    count = LatencyCount(home)
    assert sum(count.go_on(noon + 2.5 * MINUTE) for _ in range(10)) == 6
    assert minutes(home) == [(noon, 5, 2)]
    assert minutes(home, "other") == [(noon, 1, 0)]
    assert sum(count.go_on(noon + 3 * MINUTE) for _ in range(10)) == 1
    assert minutes(home) == [(noon, 5, 2), (noon + MINUTE, 1, 1)]


def test_a_successor_goes_on_where_its_predecessor_ended(home: Database, noon: datetime) -> None:
    """Also over a gap without any decision; after a long absence it begins an hour ago."""
    serve(home, noon - 20 * MINUTE, 1)
    serve(home, noon, 1)
    first, successor = LatencyCount(home), LatencyCount(home)
    assert sum(first.go_on(noon - 18 * MINUTE) for _ in range(10)) == 1
    assert [successor.go_on(noon + 2 * MINUTE) for _ in range(3)] == [0, 1, 0]
    serve(home, noon + MINUTE, 1)
    late = LatencyCount(home)
    assert sum(late.go_on(noon + 200 * MINUTE) for _ in range(10)) == 0


def test_slow_decisions_burn_the_budget_and_the_alert_ends_with_them(home: Database, noon: datetime) -> None:
    """15 of 100 slower than 100 ms is 15 times what 99 % allows: the fast page fires, and ends after quick ones."""
    count = LatencyCount(home)
    serve(home, noon, *[150.0] * 90, *[1.0] * 510)
    for _ in range(10):
        count.go_on(noon + 2 * MINUTE)
    evaluate_all(home, noon + 2 * MINUTE)
    firing = "SELECT rule, reason FROM alerts WHERE state = 'firing' AND rule LIKE 'latency%' ORDER BY rule"
    told = "90 of 600 and 90 of 600 decisions failed"
    assert query(home, firing) == [(f"latency-{name}", told) for name in ("page-fast", "page-slow", "ticket")]
    serve(home, noon + 8 * MINUTE, *[1.0] * 600)
    for _ in range(2):
        count.go_on(noon + 10 * MINUTE)
    evaluate_all(home, noon + 10 * MINUTE)
    ended = query(home, "SELECT state FROM alerts WHERE rule = 'latency-page-fast'")
    assert ended == [("resolved",)]


@pytest.mark.parametrize(("target", "slow"), [(1, 3), (100, 2), (200, 1), (10_000, 0)])
def test_targets_are_counted_apart(home: Database, noon: datetime, target: int, slow: int) -> None:
    """Each of those that a rule may name."""
    serve(home, noon, 0.5, 5, 150, 900)
    with home.transaction() as connection:
        latencies.count_minute(connection, noon)
        assert latencies.slower_than(connection, "home", target, noon) == (4, slow)
        assert latencies.slower_than(connection, "home", target, noon + MINUTE) == (0, 0)
