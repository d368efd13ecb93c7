"""`verify` finds what is wrong, each kind of it, and nothing where nothing is."""

from collections import Counter
from datetime import timedelta

import pytest

from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Reward
from app.store.database import Database, cursor_of
from app.store.exposures import ExposureEvent
from app.store.verify import verify
from tests.app.building import decision, event, execute, matched, now, put, query, record, specification, write

KEYS = ("experiment = 'x'", "arm = arm || '-x'", "epoch = epoch + 1", "bucket = bucket - interval '1 day'")


TABLES = ("decisions", "decision_counts", "feedback", "outcomes", "arm_statistics", "item_rewards")


@pytest.fixture
def filled(shared_database: Database) -> Database:
    """Decisions, feedback, outcomes and statistics of all kinds, from several shards, and nothing else."""
    database = shared_database
    for table in TABLES:
        delete(database, table)
    rows = [
        decision(),
        decision(arm="b"),
        decision(arm="b", served_arm="a", learnable=False, reason="fallback"),
    ]
    record(database, rows[:2])
    record(database, rows[2:], shard=3)
    for shard, (row, value) in enumerate(zip(rows, (1.0, 2.0, 3.5), strict=True)):
        write(database, [matched(row, value, item_id="i1")], shard=shard)
        for number, metric in enumerate(("sum", "max", "any", "first", "last", "mean")):
            columns = {"metric": metric, "aggregation": metric, "event_id": f"e{number}"}
            write(database, [matched(row, value, **columns)], shard=shard)
    return database


def delete(database: Database, table: str, where: str = "true") -> None:
    """Deletes rows by hand."""
    execute(database, f"DELETE FROM {table} WHERE {where}")


def change(database: Database, table: str, assignment: str, where: str = "true") -> None:
    """Changes rows by hand; at least one."""
    assert execute(database, f"UPDATE {table} SET {assignment} WHERE {where}")


def found(database: Database) -> set[tuple[str, str]]:
    """The check, and the last part of the place, of each discrepancy."""
    return {(d.check, d.where.rpartition(" / ")[2]) for d in verify(database)}


def test_an_empty_database_agrees(database: Database) -> None:
    """Nothing is found where nothing is."""
    assert verify(database) == []


def test_what_the_writers_wrote_agrees(filled: Database) -> None:
    """Nothing is found in what the service itself has written."""
    assert verify(filled) == []


@pytest.mark.parametrize(
    ("column", "check"),
    [
        *[(column, "decision_counts") for column in ("decisions", "exposures", "fallbacks")],
        *[(column, "arm_statistics") for column in ("n", "sum", "sum_of_squares", "corrected")],
    ],
)
@pytest.mark.parametrize("by", [1, -1])
def test_a_wrong_count_or_sum_is_found(filled: Database, column: str, check: str, by: int) -> None:
    """A figure that is off by one is found, in whichever column and direction, with both values."""
    change(filled, check, f"{column} = {column} + {by}", "arm = 'a'")
    assert {where for name, where in found(filled) if name == check} == {column}
    assert all(d.stored is not None and d.expected == d.stored - by for d in verify(filled) if d.check == check)


def test_a_sum_that_is_off_by_a_millionth_is_found(filled: Database) -> None:
    """What rounding can do is forgiven, and not much more."""
    change(filled, "arm_statistics", "sum = sum * (1 + 1e-12)")
    assert found(filled) == set()
    change(filled, "arm_statistics", "sum = sum * (1 + 1e-6)", "metric = 'sum' AND arm = 'a'")
    assert found(filled) == {("arm_statistics", "sum")}


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'"])
def test_a_sum_that_is_no_number_is_found(filled: Database, value: str) -> None:
    """NaN and infinity are discrepancies."""
    change(filled, "arm_statistics", f"sum = {value}", "metric = 'sum'")
    assert ("arm_statistics", "sum") in found(filled)


@pytest.mark.parametrize(
    ("table", "booking"),
    [
        *[(table, booking) for table in ("decision_counts", "arm_statistics") for booking in KEYS],
        ("arm_statistics", "metric = metric || '-x'"),
    ],
)
def test_a_figure_under_another_key_is_found(filled: Database, table: str, booking: str) -> None:
    """Counts that are booked under another experiment, arm, epoch, day or metric are found twice."""
    change(filled, table, booking)
    sides = {(d.stored is None, d.expected is None) for d in verify(filled) if d.check == table}
    assert sides == {(True, False), (False, True)}


def test_which_shard_counted_does_not_matter(filled: Database) -> None:
    """The rows of shards are summed."""
    for table in ("decision_counts", "arm_statistics", "item_rewards"):
        change(filled, table, "shard = shard + 100")
    assert verify(filled) == []


@pytest.mark.parametrize("table", ["decision_counts", "arm_statistics", "item_rewards", "outcomes"])
def test_a_lost_row_is_found(filled: Database, table: str) -> None:
    """Figures that are missing are found, and nothing is said to be stored."""
    delete(filled, table)
    lost = [d for d in verify(filled) if d.check == table]
    assert lost
    assert all(d.stored is None for d in lost if not d.where.endswith("value"))


@pytest.mark.parametrize("metric", ["sum", "max", "any", "first", "last", "mean"])
def test_a_wrong_outcome_is_found(filled: Database, metric: str) -> None:
    """An outcome that is not the fold of its events is found, for each way of folding."""
    change(filled, "outcomes", "value = value + 0.5", f"metric = '{metric}'")
    assert ("outcomes", "value") in found(filled)
    assert {d.where.split(" / ")[1] for d in verify(filled) if d.check == "outcomes"} == {metric}


def test_a_wrong_number_of_events_is_found(filled: Database) -> None:
    """An outcome that counts another number of events than there are is found."""
    change(filled, "outcomes", "events = events + 1")
    assert found(filled) == {("outcomes", "events")}


def test_a_wrong_moment_of_the_first_event_is_found(filled: Database) -> None:
    """An outcome whose earliest event is another one, by a microsecond, would be late or in time by mistake."""
    change(filled, "outcomes", "first_at = first_at - interval '1 microsecond'", "metric = 'sum'")
    assert found(filled) == {("outcomes", "first_at")}


def test_an_outcome_from_before_moments_were_kept_is_in_time(filled: Database) -> None:
    """An older version's outcomes have no earliest event; nothing is found fault with."""
    change(filled, "outcomes", "first_at = '-infinity'")
    assert verify(filled) == []


@pytest.fixture
def confirmed(database: Database) -> Database:
    """A decision that counts since it was confirmed, with a late outcome, and one that was not confirmed."""
    put(database, "shown", specification(reward=Reward(window_s=60), exposure="confirmed"))
    seen = now() - timedelta(minutes=5)
    rows = [decision("shown", decided_at=seen, awaits_confirmation=True) for _ in range(2)]
    record(database, rows)
    with database.transaction() as connection:
        cursor = cursor_of(connection)
        late = event(rows[0], occurred_at=seen + timedelta(minutes=3))
        assert [v.status for v in FeedbackWriter(shard=0).write(cursor, [late, event(rows[1])])] == ["accepted"] * 2
        shown = ExposureEvent(decision_id=rows[0].decision_id, occurred_at=seen + timedelta(seconds=30))
        ExposureWriter(shard=0).write(cursor, [shown])
        FeedbackWriter(shard=0).write(cursor, [event(rows[0], 7.0, event_id="odd")])
    assert query(database, "SELECT n::int, corrected::int FROM arm_statistics") == [(1, 1)]
    assert verify(database) == []
    return database


@pytest.mark.parametrize(
    ("table", "assignment", "checks"),
    [
        ("exposures", "bucket = bucket - interval '1 day'", {"exposures", "decision_counts", "arm_statistics"}),
        ("exposures", "bucket = bucket + interval '2 minutes'", {"exposures"}),
        ("exposures", "occurred_at = occurred_at + interval '2 minutes'", {"exposures", "arm_statistics"}),
        ("decisions", "awaits_confirmation = NULL", {"decision_counts", "arm_statistics"}),
        ("arm_statistics", "corrected = 0", {"arm_statistics"}),
        ("decision_counts", "exposures = 2", {"decision_counts"}),
        ("quarantine", "arm = 'b'", {"quarantine"}),
    ],
)
def test_what_is_wrong_with_confirmed_exposures_is_found(
    confirmed: Database, table: str, assignment: str, checks: set[str]
) -> None:
    """Confirmations, what they count, which outcomes are late, and whose events are in quarantine are checked."""
    change(confirmed, table, assignment)
    assert {d.check for d in verify(confirmed)} == checks


def test_a_lost_confirmation_is_found(confirmed: Database) -> None:
    """What counted because of it is not explained any more; without its decision it explains nothing."""
    delete(confirmed, "exposures")
    assert {d.check for d in verify(confirmed)} == {"decision_counts", "arm_statistics"}


def test_a_confirmation_of_no_decision_is_found(confirmed: Database) -> None:
    """Each confirmation in the log is of a decision in the log."""
    delete(confirmed, "decisions")
    assert "exposures" in {d.check for d in verify(confirmed)}


def test_a_lost_event_is_found(filled: Database) -> None:
    """An event that is gone from the log leaves an outcome that nothing explains."""
    delete(filled, "feedback", "metric = 'max'")
    assert {("outcomes", "value"), ("outcomes", "events")} <= found(filled)


def test_a_changed_event_is_found(filled: Database) -> None:
    """An event that was changed in the log is found in the outcome that it was folded into."""
    change(filled, "feedback", "value = value + 1", "metric = 'last'")
    assert found(filled) == {("outcomes", "value")}


def test_a_lost_decision_is_found(filled: Database) -> None:
    """A decision that is gone is missed by its counts and by its statistics."""
    delete(filled, "decisions", "learnable")
    assert {check for check, _ in found(filled)} >= {"decision_counts", "arm_statistics"}


def test_a_decision_that_was_made_learnable_is_found(filled: Database) -> None:
    """A decision that the policy must not learn from cannot become one that it did learn from."""
    change(filled, "decisions", "learnable = true")
    assert {("decision_counts", "exposures"), ("arm_statistics", "n")} <= found(filled)


def test_a_wrong_reward_of_an_item_is_found(filled: Database) -> None:
    """The hourly counts of items are checked too: their value, and what they are booked under."""
    change(filled, "item_rewards", "rewards = rewards + 1", "shard = 0")
    (one,) = verify(filled)
    assert (one.check, one.stored, one.expected) == ("item_rewards", 7.5, 6.5)
    change(filled, "item_rewards", "item_id = 'i9'")
    assert {(d.stored is None, d.expected is None) for d in verify(filled)} == {(True, False), (False, True)}


def test_at_most_so_many_are_told_of_each_check(filled: Database) -> None:
    """The limit is per check, so that one flood does not hide another fault."""
    delete(filled, "decision_counts")
    change(filled, "outcomes", "value = value + 7")
    told = Counter(d.check for d in verify(filled, limit=2))
    assert told["decision_counts"] == told["outcomes"] == 2


def test_it_locks_nobody_out(filled: Database) -> None:
    """`verify` sees one moment: what is written while it runs neither waits for it nor confuses it."""
    with filled.transaction(snapshot=True) as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM decisions").scalar()
        record(filled, [decision()])
        assert connection.exec_driver_sql("SELECT count(*) FROM decisions").scalar() == before
    assert verify(filled) == []
    assert query(filled, "SELECT count(*) FROM decisions") == [(4,)]
