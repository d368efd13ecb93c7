"""Outcomes side by side: of every arm and day from the statistics, of a sample of units from the log."""

from collections import Counter
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from app.specification import Specification
from app.store.compaction import compact
from app.store.database import Database
from app.store.hierarchy import CellSums, OutcomeWindow, UnitSums, cell_sums, unit_sums
from app.store.partitions import make_partitions
from app.store.slices import newest_first
from tests.app.building import decision, flag, matched, now, put, query, record, write

DAY = timedelta(days=1)
TODAY = now().replace(hour=0, minute=0, second=0, microsecond=0)
DECISIONS = 300


def window(key: str, **parts: Any) -> OutcomeWindow:
    """Three days until this midnight, everything mature."""
    usual: dict[str, Any] = {"arms": ("a", "b"), "metrics": ("click", "revenue"), "mature_bucket": now()}
    return OutcomeWindow(experiment=key, **usual | {"since": TODAY - 3 * DAY, "until": TODAY} | parts)


def cells(database: Database, asked: OutcomeWindow) -> CellSums:
    """What the statistics hold."""
    with database.transaction() as connection:
        return cell_sums(connection, asked)


def units(database: Database, asked: OutcomeWindow, *, most: int = 1000, patience_s: float = 60) -> UnitSums:
    """What the log holds."""
    with database.transaction() as connection:
        return unit_sums(connection, asked, most=most, patience_s=patience_s)


@pytest.fixture
def logged(shared_database: Database, key: str) -> str:
    """The key of an experiment with 300 decisions in three days for 70 units; each third has a click, each 50th 2.5."""
    put(shared_database, key)
    with shared_database.transaction() as connection:
        make_partitions(connection, TODAY - 2 * DAY)
    rows = []
    for number in range(DECISIONS):
        at = TODAY - 3 * DAY + number * 3 * DAY / DECISIONS
        rows.append(decision(key, arm="ab"[number % 2], unit=f"u{number % 70}", decided_at=at, bucket=at))
    record(shared_database, rows)
    clicks = [matched(row) for row in rows[::3]]
    write(shared_database, clicks + [matched(row, 2.5, metric="revenue", aggregation="sum") for row in rows[::50]])
    return key


def test_cells_and_units_count_the_same(shared_database: Database, logged: str) -> None:
    """Both are all that counts: every decision, each outcome of either metric, in its cell and with its unit."""
    found, of_units = cells(shared_database, window(logged)), units(shared_database, window(logged))
    assert found.exposures.tolist() == [[50] * 3] * 2
    assert found.observed.sum(axis=(1, 2)).tolist() == of_units.observed.sum(axis=1).tolist() == [100, 6]
    assert found.sums.sum(axis=(1, 2)).tolist() == of_units.sums.sum(axis=1).tolist() == [100, 15]
    assert found.observed[0].tolist() == [[17, 17, 16], [17, 16, 17]]
    expected = Counter(f"u{number % 70}" for number in range(DECISIONS))
    assert sorted(of_units.decisions.tolist()) == sorted(expected.values())
    assert (of_units.share, of_units.read_from) == (1, TODAY - 3 * DAY)


def test_units_keep_their_figures_together(shared_database: Database, logged: str) -> None:
    """In the order of their hashes, each with its own decisions and outcomes, though read in slices."""
    found = units(shared_database, window(logged))
    by_hand = query(
        shared_database,
        """SELECT count(DISTINCT decision_id), count(*) FILTER (WHERE metric = 'click'),
                  coalesce(sum(value) FILTER (WHERE metric = 'revenue'), 0)
           FROM decisions LEFT JOIN outcomes USING (decision_id) WHERE experiment = :key
           GROUP BY unit ORDER BY hashtextextended(unit, 0)""",
        key=logged,
    )
    assert [*zip(found.decisions, found.observed[0], found.sums[1], strict=True)] == by_hand


@pytest.mark.parametrize("most", [1, 20, 69, 70])
def test_a_sample_has_all_of_its_units(
    shared_database: Database, logged: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those with the least hashes, as whole as without a bound; the share says about how many they are of all.

    Slices are of 10 units or less, so that the sample is put together from many.
    """
    monkeypatch.setattr("app.store.slices._LONGEST_SLICE", timedelta(hours=2))
    whole, found = units(shared_database, window(logged)), units(shared_database, window(logged), most=most)
    assert found.decisions.tolist() == whole.decisions[:most].tolist()
    assert np.array_equal(found.sums, whole.sums[:, :most])
    assert np.array_equal(found.observed, whole.observed[:, :most])
    assert found.share == pytest.approx(most / 70, abs=0.15)


def test_reading_units_ends_when_its_time_is_up(shared_database: Database, logged: str) -> None:
    """What was found by then is the answer, and says from when it is."""
    found = units(shared_database, window(logged), patience_s=0)
    assert (found.decisions.size, found.sums.shape, found.read_from) == (0, (2, 0), TODAY)


def test_only_what_was_asked_for_counts(shared_database: Database, logged: str) -> None:
    """Days, arms, metrics, maturity, what the policy learns from, and arms as they are now."""

    def counted(**parts: Any) -> tuple[int, int]:
        asked = window(logged, **parts)
        return int(cells(shared_database, asked).exposures.sum()), int(units(shared_database, asked).decisions.sum())

    at = TODAY - DAY + timedelta(hours=1)
    unlearned = decision(logged, learnable=False, decided_at=at, bucket=at)
    unconfirmed = decision(logged, awaits_confirmation=True, decided_at=at, bucket=at)
    record(shared_database, [unlearned, unconfirmed])
    assert counted() == (300, 300)
    assert counted(since=TODAY - DAY) == counted(since=TODAY - DAY, until=TODAY + DAY) == (100, 100)
    assert counted(until=TODAY - 2 * DAY) == (100, 100)
    assert counted(arms=("b",)) == (150, 150)
    assert counted(mature_bucket=TODAY - 3 * DAY) == (1, 1)
    assert units(shared_database, window(logged, metrics=("revenue",))).sums.tolist() != []
    put(shared_database, logged, Specification(arms=(flag("a", 1), flag("b", None))))
    assert counted() == (150, 150)


def test_compacted_statistics_give_the_same_cells(shared_database: Database, logged: str) -> None:
    """Days are the widest buckets."""
    before = cells(shared_database, window(logged))
    with shared_database.transaction() as connection:
        compact(connection, logged, TODAY, TODAY + 5 * DAY)
    after = cells(shared_database, window(logged))
    assert query(shared_database, "SELECT count(*) < 20 FROM decision_counts WHERE experiment = :key", key=logged) == [
        (True,)
    ]
    for name in ("exposures", "observed", "sums"):
        assert np.array_equal(getattr(before, name), getattr(after, name))


def test_slices_cover_the_time_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the end to the start without a gap, however fast they are read."""
    for fast_s in (0.0, 60.0):
        monkeypatch.setattr("app.store.slices._FAST_S", fast_s)
        slices = [*newest_first(TODAY - 5 * DAY, TODAY, patience_s=60)]
        assert (slices[0][1], slices[-1][0]) == (TODAY, TODAY - 5 * DAY)
        assert [start for start, _ in slices[:-1]] == [end for _, end in slices[1:]]
        assert slices[0][1] - slices[0][0] == timedelta(hours=1)
    assert [*newest_first(TODAY - 5 * DAY, TODAY, patience_s=0)] == []
