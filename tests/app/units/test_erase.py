"""Erasing a unit leaves nothing of it and every statistic as it was; exporting it first leaves nothing out."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from app.errors import NotFound
from app.serving.decide import DecisionWriter
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Override, Reward
from app.store import erasure, quarantine, units
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.feedback import UNMATCHED
from app.store.quarantine import Entry
from app.units import erase_unit, export_unit
from app.units.export import TABLES
from tests.app.building import decision, disagreements, event, execute, now, put, query, record, specification

UNIT = 'Zoë "o\'Hara" / 7'
DAY = timedelta(days=1)
# Which kind of thing in an export a table's rows are; no other table may know of a unit.
KINDS = TABLES | {
    "decisions": "decision",
    "unit_exposures": "unit_exposure",
    "experiments": "override",
    "audit_log": "audit",
}
COUNTED = ("decision_counts", "arm_statistics", "item_rewards", "outcomes", "exposures")


@pytest.fixture
def lived(database: Database) -> Database:
    """A database in which the unit has left a trace in every table that can hold one, and another unit beside it."""
    pinned = Override(arm="a", units=(UNIT, "friend"))
    put(database, "home", specification(reward=Reward(window_s=60)))
    put(database, "sticky", specification(assignment="unit", overrides=(pinned,)))
    put(database, "shown", specification(exposure="confirmed"))
    rows = [
        *(decision(unit=UNIT, context={"name": UNIT}, trace_id="f" * 32, decided_at=now() - n * DAY) for n in (1, 0)),
        decision("sticky", unit=UNIT, repeated=True),
        decision("sticky", unit=UNIT, repeated=True),
        decision("shown", unit=UNIT, awaits_confirmation=True),
        decision(unit="friend"),
    ]
    record(database, rows)
    sent = [
        *(event(row, event_id=f"{row.unit} clicked", item_id="i1", occurred_at=row.decided_at) for row in rows),
        event(rows[0], 0.5, event_id=f"{UNIT} half"),
    ]
    with database.transaction() as connection:
        cursor = cursor_of(connection)
        FeedbackWriter(shard=0).write(cursor, sent)
        ExposureWriter(shard=0).write(cursor, [shown(rows[4])])
        UNMATCHED.keep(cursor, [event(rows[1], event_id=f"{UNIT} early")])
        quarantine.keep(cursor, [spooled(rows[0]), spooled(rows[5])])
    execute(
        database,
        "INSERT INTO unmatched_exposures (decision_id, occurred_at) VALUES (:id, now())",
        id=rows[4].decision_id,
    )
    return database


def shown(about: DecisionRow) -> ExposureEvent:
    """A confirmation."""
    return ExposureEvent(decision_id=about.decision_id, occurred_at=about.decided_at)


def spooled(row: DecisionRow) -> Entry:
    """A record of the spool that could not be written."""
    text = f'decision {{"decision_id":"{row.decision_id}","unit":"x"}}'
    return Entry(fingerprint=text, kind="record", reason="failed", detail="it broke", payload={"record": text})


def texts(database: Database) -> Iterator[tuple[str, str]]:
    """Every row of every table, as text."""
    tables = query(
        database,
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
        " AND relnamespace = 'public'::regnamespace ORDER BY 1",
    )
    for (table,) in tables:
        for (text,) in query(database, f"SELECT row_to_json(t)::text FROM {table} t"):
            yield table, text


def tables_with(database: Database, *needles: str) -> set[str]:
    """The tables that hold any of some texts."""
    return {table for table, text in texts(database) if any(needle in text for needle in needles)}


def erase(database: Database, unit: str = UNIT) -> Any:
    """Erases a unit."""
    return erase_unit(database, unit, now(), actor="tester")


def test_nothing_of_an_erased_unit_is_left(lived: Database) -> None:
    """No table holds its id, also where clients put it into contexts and event ids; what was counted stays."""
    before = {table: query(lived, f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in COUNTED}
    assert tables_with(lived, "Zoë") >= {"decisions", "feedback", "unmatched_feedback", "quarantine", "experiments"}
    erased = erase(lived)
    assert (erased.decisions, erased.feedback, erased.unmatched, erased.overrides) == (5, 5, 2, 1)
    assert (erased.quarantine, erased.audit_entries) == (2, 2)
    assert tables_with(lived, "Zoë", "o'Hara", "Hara") == set()
    assert {table: query(lived, f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in COUNTED} == before
    assert disagreements(lived) == []
    assert query(lived, "SELECT count(DISTINCT unit)::int, bool_and(context = '{}') FROM decisions WHERE erased") == [
        (1, True)
    ]
    kept = query(lived, "SELECT event_id FROM decisions JOIN feedback USING (decision_id) WHERE unit = 'friend'")
    assert kept == [("friend clicked",)]


def test_another_unit_is_left_alone(lived: Database) -> None:
    """Its decision, its override and its record in quarantine stay."""
    erase(lived)
    kinds = [one["kind"] for one in export_unit(lived, "friend")]
    assert kinds == ["unit", "decision", "feedback", "outcome", "spooled_record", "override", "audit", "audit", "end"]


def test_the_audit_log_has_the_erasure_without_the_unit(lived: Database) -> None:
    """How much was erased and by whom, and nothing that leads to the unit."""
    erase(lived)
    ((actor, subject, after),) = query(lived, "SELECT actor, subject, after FROM audit_log WHERE action = 'erase'")
    assert (actor, subject, after["decisions"]) == ("tester", "unit", 5)
    with pytest.raises(NotFound):
        erase(lived)
    with pytest.raises(NotFound):
        export_unit(lived, UNIT)


def test_an_export_leaves_no_table_out(lived: Database) -> None:
    """Every table that holds the unit's id, or the id of one of its decisions, has its rows in the export."""
    ids = [str(one["decision_id"]) for one in export_unit(lived, UNIT) if one["kind"] == "decision"]
    assert len(ids) == 5
    holding = tables_with(lived, "Zoë", *ids)
    assert holding == set(KINDS)
    exported = list(export_unit(lived, UNIT))
    assert {one["kind"] for one in exported} == {*KINDS.values(), "unit", "spooled_record", "end"}
    assert exported[-1] == {"kind": "end", "rows": len(exported) - 1}
    assert "friend" not in str(exported)


def test_events_about_an_erased_decision_are_not_kept(lived: Database) -> None:
    """They are refused, and leave no row: neither as feedback nor in quarantine."""
    rows = [row for row in recorded_of(lived, UNIT) if row.experiment == "home"]
    erase(lived)
    before = list(texts(lived))
    with lived.transaction() as connection:
        cursor = cursor_of(connection)
        verdicts = FeedbackWriter(shard=0).write(cursor, [event(rows[0], event_id=f"{UNIT} again")])
        verdicts += ExposureWriter(shard=0).write(cursor, [shown(rows[0])])
    assert [verdict.rejection and verdict.rejection.reason for verdict in verdicts] == ["erased", "erased"]
    assert list(texts(lived)) == before


def recorded_of(database: Database, unit: str) -> list[DecisionRow]:
    """A unit's decisions, newest first."""
    with database.transaction() as connection:
        return units.newest(cursor_of(connection), unit, units.EVER, limit=100)


@pytest.mark.parametrize("way", ["write", "write_again"])
def test_a_retry_of_an_erased_decision_brings_nothing_back(lived: Database, way: str) -> None:
    """Neither over HTTP nor from a spool, where it is answered as the nameless decision that it is."""
    rows = recorded_of(lived, UNIT)
    erase(lived)
    with lived.transaction() as connection:
        writer = DecisionWriter(shard=0)
        answered = getattr(writer, way)(cursor_of(connection), [as_sent(row) for row in rows])
    assert all(row.erased and row.unit.startswith("erased:") for row in answered)
    assert tables_with(lived, "Zoë") == set()
    assert disagreements(lived) == []


def as_sent(row: DecisionRow) -> DecisionRow:
    """A decision as it came, before it was known whether it is a sticky unit's first."""
    return msgspec.structs.replace(row, repeated=None if row.repeated is None else True)


def test_a_decision_that_comes_from_a_spool_after_the_erasure_has_no_name(lived: Database) -> None:
    """It counts, as it was answered; one that was decided after the erasure is a new unit's."""
    late = decision(unit=UNIT, context={"name": UNIT}, decided_at=now())
    erase(lived)
    again = decision(unit=UNIT)
    with lived.transaction() as connection:
        DecisionWriter(shard=0).write_again(cursor_of(connection), [late, again])
    assert [row.decision_id for row in recorded_of(lived, UNIT)] == [again.decision_id]
    assert query(lived, "SELECT context, erased FROM decisions WHERE decision_id = :id", id=late.decision_id) == [
        ({}, True)
    ]
    assert disagreements(lived) == []


def test_an_erasure_that_was_broken_off_can_be_repeated(lived: Database) -> None:
    """The unit keeps its name until all else is done."""
    with lived.transaction() as connection:
        erasure.mark(cursor_of(connection), UNIT)
    assert erase(lived).decisions == 5
    assert tables_with(lived, "Zoë") == set()


def test_erasures_are_forgotten_once_nothing_can_come_late(lived: Database) -> None:
    """Their digests go with the partitions of their time."""
    erase(lived)
    with lived.transaction() as connection:
        assert erasure.delete_old(connection, now() - DAY) == 0
        assert erasure.delete_old(connection, now() + DAY) == 1


def test_statistics_agree_while_the_unit_comes_and_goes(database: Database) -> None:
    """A sticky unit is served and clicks while it is erased again and again: the log is what was counted."""
    put(database, "home", specification(assignment="unit", reward=Reward(window_s=60)))
    stop, made = threading.Event(), [0, 0, 0]

    def come_and_click(shard: int) -> None:
        writer, feedback = DecisionWriter(shard=shard), FeedbackWriter(shard=shard)
        while not stop.is_set():
            rows = [decision(unit=UNIT, repeated=True), decision(unit=f"other-{made[shard]}", repeated=True)]
            with database.transaction() as connection:
                writer.write(cursor_of(connection), rows)
            with database.transaction() as connection:
                feedback.write(cursor_of(connection), [event(row, event_id=UNIT) for row in rows])
            made[shard] += 1

    threads = [threading.Thread(target=come_and_click, args=(shard,)) for shard in range(len(made))]
    for thread in threads:
        thread.start()
    try:
        erased = 0
        while erased < 10 or min(made) < 20:
            try:
                erase(database)
                erased += 1
            except NotFound:
                continue
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert disagreements(database) == []
    if recorded_of(database, UNIT):
        erase(database)
    assert "decisions" not in tables_with(database, "Zoë")
    assert disagreements(database) == []
    assert query(database, "SELECT count(*)::int FROM decisions") == [(2 * sum(made),)]
