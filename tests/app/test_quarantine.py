"""Quarantine: what goes there, once, and what operators can do about it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from app import quarantine
from app.errors import NotFound
from app.ids import new_id
from app.monitor import expire_unmatched
from app.quarantine import Result
from app.reports import arms_report
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.specification import Metric, Reward
from app.store.audit import trail
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.feedback import FeedbackEvent
from app.store.quarantine import Filter
from tests.app.building import decision, disagreements, event, execute, now, put, query, record, specification

RATING = Metric(key="rating", aggregation="mean")


@pytest.fixture
def row(database: Database) -> DecisionRow:
    """A decision of an experiment "home"."""
    put(database, "home")
    made = decision()
    record(database, [made])
    return made


def give(database: Database, *events: FeedbackEvent) -> list[str]:
    """The statuses of a batch of feedback."""
    with database.transaction() as connection:
        return [verdict.status for verdict in FeedbackWriter(shard=0).write(cursor_of(connection), events)]


def expose(database: Database, *events: ExposureEvent) -> list[str]:
    """The statuses of a batch of confirmations."""
    with database.transaction() as connection:
        return [verdict.status for verdict in ExposureWriter(shard=0).write(cursor_of(connection), events)]


def entries(database: Database, **wanted: Any) -> list[dict[str, Any]]:
    """What is in quarantine, the oldest first."""
    return quarantine.listed(database, Filter(**wanted), before=None, limit=100)[::-1]


def rejected(database: Database) -> dict[str, int]:
    """Rejected events by arm, as operators read them."""
    return {arm.arm: arm.outcomes.rejected for arm in arms_report(database, "home", now()).arms}


def statuses(results: Sequence[Result]) -> list[str]:
    """What became of entries."""
    return [result.status for result in results]


def test_an_event_that_cannot_be_used_is_kept_with_all_that_is_known(database: Database, row: DecisionRow) -> None:
    """Its payload is the event as it was sent; reason and detail say why, and whose decision it is about."""
    sent = event(row, 4.5, metric="rating", item_id="i", position=2)
    assert give(database, sent) == ["rejected"]
    (entry,) = entries(database)
    expected = {"kind": "feedback", "experiment": "home", "epoch": 1, "arm": "a", "decision_id": row.decision_id}
    assert expected.items() <= entry.items()
    assert (entry["reason"], entry["state"], entry["times"]) == ("unknown_metric", "open", 1)
    assert "'rating' is no metric" in entry["detail"]
    assert (entry["payload"]["value"], entry["payload"]["item_id"]) == (4.5, "i")
    assert disagreements(database) == []


def test_the_same_event_again_is_the_same_entry(database: Database, row: DecisionRow) -> None:
    """It is counted and seen later, with what is wrong with it by now; another event has an entry of its own."""
    assert give(database, event(row, 3.0), event(row, 3.0), event(row, 3.0, event_id="other")) == ["rejected"] * 3
    assert give(database, event(row, 4.0)) == ["rejected"]
    first, other = entries(database)
    assert (first["times"], other["times"]) == (2, 1)
    assert first["last_seen"] > first["first_seen"]
    assert first["detail"].startswith("4 is no bernoulli reward")
    assert rejected(database) == {"a": 2, "b": 0}


def test_what_is_rejected_is_counted_by_arm_until_it_is_of_use(database: Database, row: DecisionRow) -> None:
    """Of the arm's present version, of all kinds and metrics, since a moment; discarded ones are rejected still."""
    late = ExposureEvent(decision_id=row.decision_id, occurred_at=row.decided_at + timedelta(days=8))
    assert expose(database, late) == ["rejected"]
    give(database, event(row, 7.0), event(row, metric="rating"))
    assert rejected(database) == {"a": 3, "b": 0}
    quarantine.discard(database, Filter(reason="too_late"), actor="ann")
    assert rejected(database) == {"a": 3, "b": 0}
    (later,) = [arm for arm in arms_report(database, "home", now(), since=now()).arms if arm.arm == "a"]
    assert later.outcomes.rejected == 0
    execute(database, "UPDATE arms SET since_epoch = 2")
    assert rejected(database) == {"a": 0, "b": 0}


def test_replaying_uses_what_can_be_used_by_now(database: Database, row: DecisionRow) -> None:
    """An event of a metric that is declared meanwhile counts, once; what is still of no use stays, with the reason."""
    give(database, event(row, 4.0, metric="rating"))
    give(database, event(row, 7.0))
    put(database, "home", specification(metrics=(RATING,)))
    ids = [entry["id"] for entry in entries(database)]
    replayed = quarantine.replay(database, Filter(ids=[*ids, 999]), actor="ann")
    assert {result.id: result.status for result in replayed.results} == {
        ids[0]: "accepted",
        ids[1]: "rejected",
        999: "rejected",
    }
    assert "7 is no bernoulli reward" in str(replayed.results[1].reason)
    assert not replayed.more
    assert [(entry["state"], entry["times"]) for entry in entries(database)] == [("replayed", 1), ("open", 2)]
    assert query(database, "SELECT metric, sum FROM arm_statistics") == [("rating", 4.0)]
    assert rejected(database) == {"a": 1, "b": 0}
    assert statuses(quarantine.replay(database, Filter(ids=ids[:1]), actor="ann").results) == ["rejected"]
    assert disagreements(database) == []


def test_replaying_tells_duplicates_and_what_has_no_decision_yet(database: Database, row: DecisionRow) -> None:
    """An event that was corrected meanwhile is a duplicate; one whose decision never came waits again."""
    put(database, "home", specification(metrics=(RATING,)))
    give(database, event(row, 7.0))
    give(database, event(row, 1.0))
    expose(database, ExposureEvent(decision_id=new_id(), occurred_at=now()))
    assert expire_unmatched(database, now() + timedelta(seconds=1)) == 1
    assert sorted(statuses(quarantine.replay(database, Filter(experiment="home"), actor="ann").results)) == ["rejected"]
    (lost,) = entries(database, reason="no_decision")
    assert statuses(quarantine.replay(database, Filter(ids=[lost["id"]]), actor="ann").results) == ["unmatched"]
    assert query(database, "SELECT count(*)::int FROM unmatched_exposures") == [(1,)]
    assert quarantine.get(database, lost["id"])["state"] == "replayed"
    expire_unmatched(database, now() + timedelta(seconds=1))
    assert quarantine.get(database, lost["id"])["state"] == "open"


def test_a_poison_event_does_not_hold_up_the_others_that_are_replayed(database: Database, row: DecisionRow) -> None:
    """What cannot be written at all stays as it is; the rest is settled."""
    give(database, event(row, metric="rating"), event(row, metric="rating", event_id="poison"))
    put(database, "home", specification(metrics=(RATING,)))
    execute(database, "ALTER TABLE feedback ADD CONSTRAINT no_poison CHECK (event_id <> 'poison')")
    replayed = quarantine.replay(database, Filter(reason="unknown_metric"), actor="ann")
    assert statuses(replayed.results) == ["accepted", "rejected"]
    assert [entry["state"] for entry in entries(database)] == ["replayed", "open"]
    assert disagreements(database) == []


def test_a_record_of_the_spool_cannot_be_replayed(database: Database) -> None:
    """Nobody knows what it was; it can be discarded."""
    execute(
        database,
        """INSERT INTO quarantine (fingerprint, kind, reason, detail, payload)
            VALUES ('record:1', 'record', 'unreadable', '', '{}')""",
    )
    (result,) = quarantine.replay(database, Filter(reason="unreadable"), actor="ann").results
    assert (result.status, result.reason) == ("rejected", "only feedback and exposures can be replayed")
    assert quarantine.discard(database, Filter(reason="unreadable"), actor="ann").ids == [result.id]


def test_what_was_discarded_stays_discarded(database: Database, row: DecisionRow) -> None:
    """A client that sends it again and again does not wake it, and it is not replayed with the others."""
    give(database, event(row, 7.0))
    (entry,) = entries(database)
    assert quarantine.discard(database, Filter(experiment="home"), actor="ann").ids == [entry["id"]]
    give(database, event(row, 7.0))
    assert [(e["state"], e["times"]) for e in entries(database)] == [("discarded", 2)]
    assert quarantine.replay(database, Filter(experiment="home"), actor="ann").results == []
    assert quarantine.discard(database, Filter(experiment="home"), actor="ann").ids == []


def test_what_operators_do_is_audited(database: Database, row: DecisionRow) -> None:
    """Who did what about which entries, and what became of them."""
    give(database, event(row, 7.0), event(row, 8.0, event_id="e"))
    ids = [entry["id"] for entry in entries(database)]
    quarantine.replay(database, Filter(experiment="home", reason="value_refused"), actor="ann")
    quarantine.discard(database, Filter(ids=ids), actor="bob")
    with database.transaction() as connection:
        newest, older = trail(connection, "quarantine")
    names = ("actor", "action", "before", "after")
    assert [newest[name] for name in names] == ["bob", "discard", {"ids": ids}, {"discarded": 2}]
    wanted = {"experiment": "home", "reason": "value_refused"}
    assert [older[name] for name in names] == ["ann", "replay", wanted, {"rejected": 2}]


def test_it_is_listed_in_pages_the_newest_first(database: Database, row: DecisionRow) -> None:
    """Each entry is on one page; filters hold on each."""
    give(database, *[event(row, 7.0, event_id=str(number)) for number in range(5)], event(row, metric="rating"))
    wanted, seen, before = Filter(experiment="home", reason="value_refused", state="open"), [], None
    while page := quarantine.listed(database, wanted, before=before, limit=2):
        seen += [entry["id"] for entry in page]
        before = seen[-1]
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


def test_an_entry_that_is_not_there_is_not_found(database: Database) -> None:
    """With a hint which was asked for."""
    with pytest.raises(NotFound, match="17"):
        quarantine.get(database, 17)


def test_events_about_an_older_epoch_are_judged_by_what_was_agreed_then(database: Database) -> None:
    """A shorter window or another kind of reward is for decisions to come; what comes of older ones is as before."""
    put(database, "home", specification(reward=Reward(window_s=60, late_until_s=3600), metrics=(RATING,)))
    old = decision(decided_at=now() - timedelta(minutes=2))
    record(database, [old])
    put(database, "home", specification(reward=Reward(window_s=10, late_until_s=20)))
    new = decision(epoch=2, decided_at=now() - timedelta(minutes=2))
    record(database, [new])
    in_time = old.decided_at + timedelta(seconds=59)
    assert give(database, event(old, occurred_at=in_time), event(new, occurred_at=in_time)) == ["accepted", "rejected"]
    assert give(database, event(old, metric="rating"), event(new, metric="rating")) == ["accepted", "rejected"]
    late = query(database, "SELECT metric, corrected::int FROM arm_statistics ORDER BY metric")
    assert late == [("click", 0), ("rating", 1)]
    assert disagreements(database) == []


def test_a_worker_hears_of_a_metric_that_is_declared_later(database: Database, row: DecisionRow) -> None:
    """What it remembers of an epoch is read again when a metric is missing; a removed one goes on being taken."""
    writer = FeedbackWriter(shard=0)

    def one(event_id: str) -> str:
        with database.transaction() as connection:
            sent = event(row, 3.0, metric="rating", event_id=event_id)
            return writer.write(cursor_of(connection), [sent])[0].status

    assert one("1") == "rejected"
    put(database, "home", specification(metrics=(RATING,)))
    assert one("2") == "accepted"
    put(database, "home", specification())
    assert one("3") == "accepted"
    assert disagreements(database) == []
