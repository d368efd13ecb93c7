"""Which decisions a shadow is judged by."""

from datetime import timedelta
from typing import Any

import pytest

from app.errors import NotFound
from app.shadow import ShadowReport, shadow_report
from app.specification import Reward, Shadow
from app.store.database import Database
from bandits.fixed import Fixed
from bandits.ucb import UpperConfidenceBound
from tests.app.building import decision, execute, matched, now, put, query, record, specification, write

EVEN = Fixed(probabilities={"a": 0.5, "b": 0.5})
SHADOW = Shadow(policy=Fixed(probabilities={"a": 0.25, "b": 0.75}))


def shadowed(database: Database, key: str, **parts: Any) -> None:
    """An experiment of even shares with a shadow, declared two days ago."""
    put(database, key, specification(policy=EVEN, shadow=SHADOW, **parts))
    statement = "UPDATE allocations SET created_at = created_at - interval '2 days' WHERE experiment = :key"
    execute(database, statement, key=key)


def decided(database: Database, key: str, n: int, *, hours_ago: float = 5, **columns: Any) -> list[Any]:
    """N decisions for "a" with shadow arm "b", made one after another."""
    start = now() - timedelta(hours=hours_ago)
    columns = {"shadow_arm": "b", **columns}
    rows = [decision(key, decided_at=start + timedelta(milliseconds=i), **columns) for i in range(n)]
    record(database, rows)
    return rows


def report(database: Database, key: str, **more: Any) -> ShadowReport:
    """The report as of now."""
    return shadow_report(database, key, now(), **more)


def test_only_decisions_that_count_are_mature_and_have_a_shadow_are_compared(
    shared_database: Database, key: str
) -> None:
    """Not those that are never learned from, still in the window, without a shadow arm, or of another experiment."""
    shadowed(shared_database, key)
    shadowed(shared_database, key + "-other")
    rows = decided(shared_database, key, 60)
    decided(shared_database, key, 40, arm="b")
    decided(shared_database, key, 7, learnable=False)
    decided(shared_database, key, 7, hours_ago=0.1)
    decided(shared_database, key, 7, shadow_arm=None)
    decided(shared_database, key + "-other", 7)
    write(shared_database, [matched(rows[0]), matched(rows[1], metric="else")])
    found = report(shared_database, key)
    assert (found.decisions, found.match_rate, found.expected_match_rate) == (100, 0.4, 0.5)
    assert [(arm.arm, arm.live, arm.shadow) for arm in found.arms] == [("a", 0.6, 0), ("b", 0.4, 1)]
    assert found.log is not None
    assert found.log.mean == 0.01  # silence is the default, 0, and the other metric is not the reward


def test_without_default_only_outcomes_are_valued(shared_database: Database, key: str) -> None:
    """All decisions are matched; those that nothing came of say nothing about the value."""
    shadowed(shared_database, key, reward=Reward(missing="explicit"))
    rows = decided(shared_database, key, 10)
    assert report(shared_database, key).log is None
    write(shared_database, [matched(rows[0]), matched(rows[1], 0.0), matched(rows[2], 0.0), matched(rows[3])])
    found = report(shared_database, key)
    assert found.decisions == 10
    assert found.log is not None
    assert (found.log.rows, found.log.mean) == (4, 0.5)


def test_confirmed_exposures_count_by_their_own_time(shared_database: Database, key: str) -> None:
    """A decision that waits for its confirmation counts once that is mature, and `since` goes by it."""
    shadowed(shared_database, key, exposure="confirmed")
    rows = decided(shared_database, key, 3, awaits_confirmation=True)
    for row, hours in ((rows[0], 2.0), (rows[1], 0.1)):
        at = now() - timedelta(hours=hours)
        statement = "INSERT INTO exposures (decision_id, occurred_at, bucket) VALUES (:id, :at, :at)"
        execute(shared_database, statement, id=row.decision_id, at=at)
    assert report(shared_database, key).decisions == 1
    assert report(shared_database, key, since=now() - timedelta(hours=3)).decisions == 1
    assert report(shared_database, key, since=now() - timedelta(hours=1)).decisions == 0


def test_another_shadow_is_judged_by_its_own_decisions(shared_database: Database, key: str) -> None:
    """Also when it is declared again later; a change of anything else leaves it what it was."""
    shadowed(shared_database, key)
    decided(shared_database, key, 5)
    put(shared_database, key, specification(policy=EVEN, shadow=SHADOW, fallback=("1",)))
    assert report(shared_database, key).decisions == 5
    put(shared_database, key, specification(policy=EVEN, shadow=Shadow(policy=UpperConfidenceBound())))
    assert report(shared_database, key).decisions == 0
    shadowed(shared_database, key)
    assert report(shared_database, key).decisions == 0
    decided(shared_database, key, 3, allocation=4)
    assert report(shared_database, key).decisions == 3


def test_only_the_newest_are_compared(shared_database: Database, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most so many decisions, and so many probabilities of the allocations that they were made from."""
    shadowed(shared_database, key)
    decided(shared_database, key, 4, hours_ago=6)
    put(shared_database, key, specification(policy=EVEN, shadow=SHADOW, fallback=("1",)))
    decided(shared_database, key, 2, allocation=2, arm="b")
    monkeypatch.setattr("app.shadow._MOST_DECISIONS", 5)
    assert report(shared_database, key).match_rate == 0.4
    monkeypatch.setattr("app.shadow._MOST_PROBABILITIES", 2)
    assert (report(shared_database, key).decisions, report(shared_database, key).match_rate) == (2, 1.0)


def test_there_is_no_report_without_a_shadow(shared_database: Database, key: str) -> None:
    """Nor of an experiment that does not exist."""
    put(shared_database, key)
    for name in (key, "no-such"):
        with pytest.raises(NotFound):
            report(shared_database, name)


def test_sticky_units_are_warned_of(shared_database: Database, key: str) -> None:
    """Their decisions are alike, so intervals are too narrow."""
    shadowed(shared_database, key, assignment="unit")
    decided(shared_database, key, 200)
    decided(shared_database, key, 200, arm="b")
    found = report(shared_database, key)
    assert any("unit" in warning for warning in found.warnings)
    assert found.estimates["ips"] is not None
    assert query(shared_database, "SELECT count(*)::int FROM decisions WHERE experiment = :key", key=key) == [(400,)]
