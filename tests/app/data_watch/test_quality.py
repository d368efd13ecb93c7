"""Figures of a window's data equal what an independent count of the raw log comes to."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from app.alerting.evaluation import evaluate_all
from app.recommenders import Payload
from app.recommenders.static import Static
from app.specification import Arm, Reward, Specification
from app.store.database import Database
from app.store.decisions import DecisionRow
from tests.app.building import execute, matched, put, query, record, write
from tests.app.data_watch.streams import at, figures, rows_of, watch

KNOWN = ("i1", "i2", "i3")


@pytest.fixture
def home(database: Database) -> Database:
    """An experiment with two arms that give lists and one that gives none, and a catalogue of three items."""
    lists = (Arm(key=key, recommender=Static(items=KNOWN)) for key in "ab")
    put(
        database, "home", Specification(arms=(*lists, Arm(key="p", recommender=Payload())), reward=Reward(window_s=300))
    )
    execute(database, "INSERT INTO items (item_id) VALUES ('i1'), ('i2'), ('i3')")
    return database


def stream(database: Database, window: int, items: tuple[str, ...] = KNOWN, n: int = 120) -> list[DecisionRow]:
    """Decisions of a window that show these items; a third of them have no list to show."""
    rng = np.random.default_rng(window)
    rows = [*rows_of(rng, window, [{"x": "y"}] * n), *rows_of(rng, window, [{"x": "y"}] * (n // 2), arm="p")]
    rows = [replace(row, items=() if row.arm == "p" else items) for row in rows]
    record(database, rows)
    return rows


def receive(database: Database, rows: list[DecisionRow], received_at: datetime, **columns: Any) -> None:
    """Feedback about decisions that came at a moment."""
    write(database, [matched(row, occurred_at=row.decided_at + timedelta(seconds=1), **columns) for row in rows])
    execute(database, "UPDATE feedback SET received_at = :at WHERE received_at > :at", at=received_at)


def test_lists_are_counted_by_length_and_by_what_they_show(home: Database) -> None:
    """Empty, short and unknown ones, of arms that give lists; fallbacks of all arms."""
    stream(home, 0)
    rows = rows_of(np.random.default_rng(1), 1, [{}] * 40)
    shown = [(), ("i1",), ("i1", "new", "i2"), KNOWN]
    record(
        home, [replace(row, items=shown[at % 4], served_arm=None if at < 3 else row.arm) for at, row in enumerate(rows)]
    )
    stream(home, 1, n=20)
    watch(home, [1])
    found = figures(home, 1)
    assert found["empty_list_share"] == (10, 60)
    assert found["short_list_share"] == (10, 60)
    assert found["unknown_item_share"] == (10, 10 + 30 + 30 + 60)
    assert found["fallback_share"] == (3, 70)
    raw = "SELECT count(*) FROM decisions WHERE served_arm IS DISTINCT FROM arm"
    assert query(home, raw) == [(3,)]


def test_events_are_counted_by_what_is_wrong_with_them(home: Database) -> None:
    """Late and repeated ones of those that came in the window; refused ones by reason; silence of final exposures."""
    rows = stream(home, 0)
    lists = [row for row in rows if row.arm != "p"]
    receive(home, lists[:50], at(1) - timedelta(seconds=1))
    receive(home, lists[:10], at(1) + timedelta(minutes=5), event_id="again")
    receive(home, lists[60:80], at(1) + timedelta(minutes=5))
    text = (
        "INSERT INTO quarantine (fingerprint, kind, experiment, reason, detail, payload, first_seen) SELECT r || n,"
        " 'feedback', 'home', r, '', '{}', :at FROM unnest(ARRAY['too_late', 'value_refused', 'unknown_metric']) r,"
        " generate_series(1, 4) n"
    )
    execute(home, text, at=at(1))
    execute(home, "INSERT INTO unmatched_exposures VALUES (gen_random_uuid(), now(), :at)", at=at(1))
    watch(home, [1])
    found = figures(home, 1)
    assert found["duplicate_share"] == (10, 30)
    assert found["late_share"] == (30 + 4, 30 + 4)
    assert found["invalid_share"] == (4, 30 + 12)
    assert found["out_of_range_share"] == (4, 30 + 12)
    assert found["unmatched_share"] == (1, 31)
    final = timedelta(seconds=300 + 30)  # attribution window and bucket
    exposed = [row for row in rows if at(1) - final <= row.decided_at < at(2) - final]
    answered = {row.decision_id for row in [*lists[:50], *lists[60:80]]}
    assert found["silent_share"] == (sum(row.decision_id not in answered for row in exposed), len(exposed))
    assert 0 < found["silent_share"][0] < found["silent_share"][1]


def test_bad_data_alert_by_default_and_are_resolved_when_good_again(home: Database) -> None:
    """Empty lists, unknown items and unseen categories; good data alert of nothing."""

    def alerts(window: int) -> dict[str, str]:
        evaluate_all(home, at(window + 1) + timedelta(minutes=2))
        rules = "('empty-lists', 'unknown-items', 'unseen-categories')"
        text = f"SELECT rule, state FROM alerts WHERE rule IN {rules} AND state <> 'inactive'"
        return {str(rule): str(state) for rule, state in query(home, text)}

    for window in (0, 1):
        receive(home, stream(home, window), at(window) + timedelta(minutes=9))
    execute(
        home, "UPDATE feedback f SET received_at = d.decided_at FROM decisions d WHERE d.decision_id = f.decision_id"
    )
    watch(home, [1])
    assert alerts(1) == {}
    stream(home, 2, items=("new",))
    odd = rows_of(np.random.default_rng(3), 2, [{"x": "z"}] * 100)
    record(home, odd)
    watch(home, [2])
    bad = ["empty-lists", "unknown-items", "unseen-categories"]
    assert alerts(2) == dict.fromkeys(bad, "firing")
    good = stream(home, 3)
    receive(home, good, at(3) + timedelta(minutes=9))
    execute(
        home, "UPDATE feedback f SET received_at = d.decided_at FROM decisions d WHERE d.decision_id = f.decision_id"
    )
    watch(home, [3])
    assert alerts(3) == dict.fromkeys(bad, "resolved")
