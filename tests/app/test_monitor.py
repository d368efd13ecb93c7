"""The monitor: feedback that came before its decision is matched, once, and the house is kept."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from app import monitor
from app.ids import new_id
from app.monitor import match_unmatched
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Metric, Reward
from app.store import feedback
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.feedback import FeedbackEvent
from app.store.tables import PARTITIONED
from monitoring.meter import Meter
from tests.app.building import (
    decision,
    disagreements,
    event,
    execute,
    id_at,
    now,
    put,
    query,
    record,
    specification,
)
from tests.running import until

SPEC = specification(reward=Reward(late_until_s=3600.0), metrics=(Metric(key="revenue", aggregation="sum"),))
SECOND = timedelta(seconds=1)


@pytest.fixture
def home(database: Database) -> Database:
    """A database with an experiment "home"."""
    put(database, "home", SPEC)
    return database


def give(database: Database, *events: FeedbackEvent) -> list[str]:
    """The statuses that a web worker gives a batch of events."""
    writer = FeedbackWriter(shard=0)
    with database.transaction() as connection:
        return [verdict.status for verdict in writer.write(cursor_of(connection), events)]


def waiting(database: Database) -> list[tuple[str, int]]:
    """Event id and attempts of the events that wait."""
    return [(e, n) for e, n in query(database, "SELECT event_id, attempts FROM unmatched_feedback ORDER BY event_id")]


def outcomes(database: Database, row: DecisionRow) -> list[tuple[str, float, int]]:
    """Metric, value and number of events of a decision's outcomes."""
    text = "SELECT metric, value, events FROM outcomes WHERE decision_id = :id ORDER BY metric"
    return [(m, v, n) for m, v, n in query(database, text, id=row.decision_id)]


def learned(database: Database) -> list[tuple[int, float]]:
    """N and Σr of the reward metric."""
    text = "SELECT sum(n)::int, sum(sum) FROM arm_statistics WHERE metric = 'click' HAVING sum(n) > 0"
    return [(n, total) for n, total in query(database, text)]


def test_an_event_before_its_decision_is_matched_after_it(home: Database) -> None:
    """It waits, is counted when the decision has come, and waits no longer."""
    row = decision()
    early = [event(row), event(row, 5.0, metric="revenue", event_id="r")]
    assert give(home, *early) == ["unmatched", "unmatched"]
    assert match_unmatched(home, now() + SECOND) == 0
    record(home, [row])
    assert match_unmatched(home, now() + 10 * SECOND) == 2
    assert outcomes(home, row) == [("click", 1, 1), ("revenue", 5, 1)]
    assert learned(home) == [(1, 1)]
    assert waiting(home) == []
    assert match_unmatched(home, now() + 20 * SECOND) == 0
    assert disagreements(home) == []


def test_a_decision_that_is_not_learnable_is_matched_and_not_learned_from(home: Database) -> None:
    """Late matches keep to the same rules as all feedback."""
    row = decision(learnable=False)
    give(home, event(row))
    record(home, [row])
    assert match_unmatched(home, now() + SECOND) == 1
    assert (outcomes(home, row), learned(home)) == ([("click", 1, 1)], [])


def test_an_event_that_is_sent_again_meanwhile_counts_once(home: Database) -> None:
    """Kept, then matched directly when it is sent again, then found by the monitor: one event, one reward."""
    row = decision()
    assert give(home, event(row)) == ["unmatched"]
    record(home, [row])
    assert give(home, event(row)) == ["accepted"]
    assert match_unmatched(home, now() + SECOND) == 1
    assert (outcomes(home, row), learned(home), waiting(home)) == ([("click", 1, 1)], [(1, 1)], [])
    assert give(home, event(row)) == ["duplicate"]
    assert disagreements(home) == []


def test_an_event_kept_under_two_names_of_the_reward_metric_counts_once(home: Database) -> None:
    """Sent without its metric and with it, before the decision: two rows wait, one event is counted."""
    row = decision()
    assert give(home, event(row), event(row, metric="click")) == ["unmatched", "unmatched"]
    record(home, [row])
    assert match_unmatched(home, now() + SECOND) == 2
    assert (outcomes(home, row), learned(home), waiting(home)) == ([("click", 1, 1)], [(1, 1)], [])


def test_attempts_are_put_off_longer_and_longer(home: Database) -> None:
    """An event whose decision does not come is tried after 1, 2, 4, ... seconds, and at least every hour."""
    give(home, event(new_id()))
    waits = []
    moment = now() + SECOND
    for _ in range(16):
        assert match_unmatched(home, moment) == 0
        ((retry_at,),) = query(home, "SELECT retry_at FROM unmatched_feedback")
        assert isinstance(retry_at, datetime)
        waits.append((retry_at - moment).total_seconds())
        before = waiting(home)
        assert match_unmatched(home, retry_at - timedelta(milliseconds=1)) == 0
        assert waiting(home) == before
        moment = retry_at
    assert waits == [min(2**attempt / 2, 3600) for attempt in range(16)]


def test_an_event_that_does_not_fit_goes_to_quarantine(home: Database) -> None:
    """It is neither counted nor dropped; quarantine says why; those beside it are matched."""
    row = decision()
    late = row.decided_at + timedelta(hours=2)
    give(
        home,
        event(row, 3.0, event_id="value"),
        event(row, metric="nothing", event_id="metric"),
        event(row, event_id="late", occurred_at=late),
        event(row, event_id="good"),
    )
    record(home, [row])
    assert match_unmatched(home, now() + SECOND) == 4
    assert waiting(home) == []
    assert outcomes(home, row) == [("click", 1, 1)]
    kept = query(home, "SELECT payload ->> 'event_id', reason, arm FROM quarantine ORDER BY 1")
    assert kept == [("late", "too_late", "a"), ("metric", "unknown_metric", "a"), ("value", "value_refused", "a")]


def test_a_poison_row_holds_up_nobody(home: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Of events that are matched together one cannot be written: it stays and is put off, the others are settled."""
    rows = [decision() for _ in range(3)]
    give(home, *[event(row) for row in rows], event(rows[1], event_id="poison"))
    record(home, rows)
    execute(home, "ALTER TABLE feedback ADD CONSTRAINT no_poison CHECK (event_id <> 'poison')")
    moment = now() + SECOND
    assert match_unmatched(home, moment) == 3
    assert waiting(home) == [("poison", 1)]
    assert query(home, "SELECT retry_at > :now FROM unmatched_feedback", now=moment) == [(True,)]
    assert "no_poison" in caplog.text
    assert learned(home) == [(3, 3)]
    execute(home, "ALTER TABLE feedback DROP CONSTRAINT no_poison")
    assert match_unmatched(home, moment + 60 * SECOND) == 1
    assert disagreements(home) == []


def test_events_whose_decision_never_came_go_to_quarantine(home: Database) -> None:
    """Once no experiment would take feedback about so old a decision, they wait no longer; others do."""
    ids = [id_at(now() - timedelta(minutes=minutes)) for minutes in (90, 50)]
    give(home, *[event(one) for one in ids])
    with home.transaction() as connection:
        writer = ExposureWriter(shard=0)
        writer.write(cursor_of(connection), [ExposureEvent(decision_id=one, occurred_at=now()) for one in ids])
    monitor.grow(home, now(), 30)
    kept = query(home, "SELECT kind, reason, decision_id, experiment FROM quarantine ORDER BY kind")
    assert kept == [("exposure", "no_decision", ids[0], None), ("feedback", "no_decision", ids[0], None)]
    for table in ("unmatched_feedback", "unmatched_exposures"):
        assert query(home, f"SELECT decision_id FROM {table}") == [(ids[1],)]


def test_quarantine_is_kept_as_long_as_events_are(home: Database) -> None:
    """An entry is dropped with its experiment's retention, or, when it is of none, with the service's."""
    put(home, "brief", specification(retention_days=2))
    for experiment, days in (("home", 20), ("home", 40), ("brief", 1), ("brief", 5), (None, 20), (None, 40)):
        execute(
            home,
            """INSERT INTO quarantine (fingerprint, kind, experiment, reason, detail, payload, last_seen)
                VALUES (:f, 'feedback', :experiment, 'too_late', '', '{}', :seen)""",
            f=f"{experiment} {days}",
            experiment=experiment,
            seen=now() - timedelta(days=days),
        )
    monitor.grow(home, now(), 30)
    left = query(home, "SELECT fingerprint FROM quarantine ORDER BY fingerprint")
    assert left == [("None 20",), ("brief 1",), ("home 20",)]


def test_events_that_wait_in_vain_do_not_hold_up_the_others(home: Database) -> None:
    """More than one pass can take are put off in turn, so that the one whose decision came has its turn."""
    row = decision(decided_at=now() + timedelta(minutes=1))
    ids = [new_id() for _ in range(2 * monitor._MOST_AT_ONCE)]
    give(home, *[event(one) for one in ids], event(row))
    record(home, [row])
    moment = now() + SECOND
    assert [match_unmatched(home, moment) for _ in range(3)] == [0, 0, 1]


def test_what_one_monitor_is_busy_with_another_passes_over(home: Database) -> None:
    """A second monitor neither waits for the first nor takes its events; it takes the others."""
    rows = [decision() for _ in range(2)]
    give(home, event(rows[0]))
    record(home, rows)
    moment = now() + SECOND
    with home.transaction() as first:
        assert len(feedback.UNMATCHED.claim(cursor_of(first), moment, 10)) == 1
        with home.transaction() as connection:
            feedback.UNMATCHED.keep(cursor_of(connection), [event(rows[1])])
        with home.transaction() as second:
            cursor = cursor_of(second)
            cursor.execute("SET LOCAL lock_timeout = '500ms'")
            claimed = feedback.UNMATCHED.claim(cursor, moment, 10)
    assert [one.decision_id for one in claimed] == [rows[1].decision_id]


def test_two_monitors_and_a_web_worker_at_once_count_an_event_once(home: Database) -> None:
    """Events that are matched by several at the same time are recorded once each."""
    rows = [decision(arm=arm) for arm in "ab" for _ in range(60)]
    events = [event(row) for row in rows]
    give(home, *events)
    record(home, rows)
    moment = now() + SECOND
    with ThreadPoolExecutor(4) as pool:
        again = [pool.submit(give, home, *events[n::4]) for n in range(2)]
        matched = [pool.submit(match_unmatched, home, moment) for _ in range(2)]
        for future in again:
            assert set(future.result()) <= {"accepted", "duplicate"}
        assert sum(future.result() for future in matched) == len(events)
    assert learned(home) == [(120, 120)]
    assert waiting(home) == []
    assert disagreements(home) == []


def test_an_event_and_its_decision_in_flight_together_miss_each_other_only_for_a_while(home: Database) -> None:
    """A decision that commits while its event is being written leaves an unmatched event, which is matched next."""
    row = decision()
    writer = FeedbackWriter(shard=0)
    with home.transaction() as connection:
        assert writer.write(cursor_of(connection), [event(row)])[0].status == "unmatched"
        record(home, [row])
        assert match_unmatched(home, now() + SECOND) == 0
    assert match_unmatched(home, now() + SECOND) == 1
    assert learned(home) == [(1, 1)]


def test_a_running_monitor_makes_partitions_and_matches(home: Database) -> None:
    """Started on a database whose partitions end, it makes those that are missing, and goes on matching."""
    last = f"{now() + timedelta(days=14):%Y%m%d}"
    with home.transaction() as connection:
        for table in PARTITIONED:
            connection.execute(sa.text(f"DROP TABLE {table}_{last}"))
    rows = [decision() for _ in range(2)]
    stop = threading.Event()
    thread = threading.Thread(
        target=monitor.run,
        args=(home,),
        kwargs={"interval_s": 0.03, "retention_days": 30, "stop": stop, "meter": Meter(enabled=False)},
    )
    thread.start()
    try:
        for row in rows:
            give(home, event(row))
            record(home, [row])
            until(lambda row=row: outcomes(home, row), "the match", 8)  # type: ignore[misc]
        exists = "SELECT count(*)::int FROM pg_class WHERE relname = ANY(:names)"
        assert query(home, exists, names=[f"{table}_{last}" for table in PARTITIONED]) == [(len(PARTITIONED),)]
    finally:
        stop.set()
        thread.join()
    assert disagreements(home) == []
