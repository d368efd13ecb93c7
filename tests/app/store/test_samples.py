"""Samples of the log: bounded, the same every time, and as like the whole as can be."""

from datetime import timedelta

import pytest

from app.store import samples
from app.store.database import Database
from tests.app.building import bucket_of, decision, now, put, record

HOUR = timedelta(hours=1)


@pytest.fixture
def busy(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Five hours with 600 decisions each, where 500 may be gone over and 60 taken a window."""
    monkeypatch.setattr(samples, "_MOST_SCANNED", 500)
    monkeypatch.setattr(samples, "_MOST_ROWS", 60)
    put(database, "home")
    start = bucket_of(now(), 3600) - 6 * HOUR
    made = [decision(decided_at=start + HOUR * at / 600, unit=f"u{at % 1500}") for at in range(3000)]
    record(database, made)
    return database


def test_of_a_busy_log_equally_long_parts_of_both_windows_are_read(busy: Database) -> None:
    """One of each stretch of the reference, within it, and one of the window: together what may be gone over."""
    start = bucket_of(now(), 3600) - 6 * HOUR
    spans = ((start, start + 4 * HOUR), (start + 4 * HOUR, start + 5 * HOUR))
    with busy.transaction() as connection:
        before, current = samples.plan(connection, "home", *spans)
        rows = samples.contexts(connection, "home", before)
        again = samples.contexts(connection, "home", before)
    assert len({until - since for plan in (before, current) for since, until in plan.parts}) <= 2  # by a microsecond
    assert current.parts[0][1] - current.parts[0][0] == pytest.approx(HOUR / 6, abs=timedelta(milliseconds=1))
    for number, (since, until) in enumerate(before.parts):
        assert start + number * HOUR <= since < until <= start + (number + 1) * HOUR
    # 400 decisions lie in these parts, of which 60 are meant to be taken: 30 to 100 with P > 1 - 1e-6.
    assert 30 <= len(rows) <= 100
    assert [dict(row) for row in rows] == [dict(row) for row in again]


def test_a_quiet_log_is_read_whole(database: Database) -> None:
    """Every decision of the experiment, and none of another."""
    put(database, "home")
    put(database, "other")
    moment = bucket_of(now(), 3600) - HOUR
    record(database, [decision(decided_at=moment + timedelta(seconds=at), unit=f"u{at}") for at in range(100)])
    record(database, [decision("other", decided_at=moment, unit="x")])
    with database.transaction() as connection:
        before, current = samples.plan(connection, "home", (moment - HOUR, moment), (moment, moment + HOUR))
        assert samples.contexts(connection, "home", before) == []
        rows = samples.contexts(connection, "home", current)
    assert [row["unit"] for row in rows] == [f"u{at}" for at in range(100)]
