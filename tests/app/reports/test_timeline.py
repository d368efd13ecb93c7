"""An experiment over time."""

from datetime import timedelta

import pytest

from app.reports import arms_report, timeline
from app.reports.overview import Leaders, overview
from app.reports.timeline import RANGES, steps_of
from app.store.database import Database
from tests.app.building import EXPLICIT, bucket_of, decision, matched, now, put, record, specification, write


def dealt(database: Database, key: str, arm: str, *, n: int, clicks: int, age: timedelta) -> None:
    """Decisions of some time ago, the first of them clicked."""
    at = now() - age
    rows = [decision(key, arm=arm, decided_at=at, bucket=bucket_of(at)) for _ in range(n)]
    record(database, rows)
    if clicks:
        write(database, [matched(row) for row in rows[:clicks]])


@pytest.fixture
def filled(shared_database: Database, key: str) -> str:
    """Arms a (10 of 40) and b (20 of 40) three hours ago, and b's 5 of 10 before that; nothing is due any more."""
    put(shared_database, key, specification(reward=EXPLICIT))
    dealt(shared_database, key, "a", n=40, clicks=40, age=timedelta(hours=3))
    dealt(shared_database, key, "b", n=40, clicks=20, age=timedelta(hours=3))
    dealt(shared_database, key, "b", n=10, clicks=5, age=timedelta(hours=5))
    return key


def test_rates_are_of_each_step_alone(shared_database: Database, filled: str) -> None:
    """A step without outcomes of an arm has none, not 0."""
    times, (a, b) = timeline.rates_over_time(shared_database, filled, steps_of("24h", now()), ["a", "b"], now())
    assert len(times) == 2
    assert a.values == [None, 1.0]
    assert b.values == [1.0, 1.0]  # explicit: of outcomes, which are all clicks
    assert (b.lower, b.upper) == ([1.0, 1.0], [1.0, 1.0])  # all alike: a normal interval of no width


def test_silence_counts_once_it_is_mature(shared_database: Database, key: str) -> None:
    """With `missing: default` the rate is per exposure, and young exposures are left out."""
    put(shared_database, key)
    dealt(shared_database, key, "a", n=40, clicks=10, age=timedelta(hours=3))
    dealt(shared_database, key, "a", n=40, clicks=0, age=timedelta(minutes=5))
    _, (a,) = timeline.rates_over_time(shared_database, key, steps_of("24h", now()), ["a"], now())
    assert a.values == [0.25]


def test_the_last_lift_is_that_of_the_arms_report(shared_database: Database, key: str) -> None:
    """The same figure, as it came about."""
    put(shared_database, key)
    for hours in (9, 6, 3):
        dealt(shared_database, key, "a", n=200, clicks=10, age=timedelta(hours=hours))
        dealt(shared_database, key, "b", n=200, clicks=80, age=timedelta(hours=hours))
    times, (b,) = timeline.lift_over_time(shared_database, key, steps_of("24h", now()), ["a", "b"], now=now())
    reported = arms_report(shared_database, key, now()).arms[1].lift
    assert reported is not None
    assert reported.honest_interval is not None
    assert len(times) == 3
    assert b.values[-1] == pytest.approx(reported.mean)
    assert (b.lower[-1], b.upper[-1]) == pytest.approx(reported.honest_interval)
    assert b.upper[0] is not None
    assert b.upper[0] > reported.honest_interval[1]  # it was wider when less was known


def test_shares_reach_from_the_first_allocation_to_now(shared_database: Database, filled: str) -> None:
    """They add up to 1 at every time."""
    times, series = timeline.shares_over_time(shared_database, filled, steps_of("24h", now()), ["a", "b"])
    assert times == sorted(times)
    assert [sum(v or 0 for v in values) for values in zip(*(s.values for s in series), strict=True)] == [1.0] * len(
        times
    )


def test_ranges_are_bounded() -> None:
    """However long a range is, it has at most some hundred steps."""
    assert all(reach / width <= 100 for reach, width in RANGES.values())


def test_the_overview_sums_the_last_day(shared_database: Database, filled: str) -> None:
    """Found by a part of its key, with its decisions and rewards per exposure."""
    page = overview(shared_database, now(), leaders=Leaders(), containing=filled[1:], limit=1000)
    row = next(row for row in page.rows if row.key == filled)
    assert row.decisions.whole == 90
    assert row.reward.whole == pytest.approx(65 / 90)
    assert sum(value is not None for value in row.reward.steps) == 2


def test_a_search_takes_its_words_as_they_are(shared_database: Database, filled: str) -> None:
    """A percent sign is no wildcard."""
    assert overview(shared_database, now(), leaders=Leaders(), containing="%").rows == []
    assert filled
