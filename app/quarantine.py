"""What operators do about events in quarantine: look at them, try them again, or let them be."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from app.errors import NotFound
from app.serving.apart import write_apart
from app.serving.events import EventWriter
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.serving.verdicts import Status, Verdict
from app.store import audit
from app.store import quarantine as store
from app.store.database import Connection, Database
from app.store.events import Event
from app.store.exposures import ExposureEvent
from app.store.feedback import FeedbackEvent
from app.store.quarantine import Filter

__all__ = ["MOST_AT_ONCE", "Discarded", "Replayed", "Result", "counted", "discard", "get", "listed", "replay"]

Sent = TypeVar("Sent", bound=Event)

# The statistics' shard of whoever replays: web workers count from 0, and the monitor has the last.
_SHARD = 32_766
MOST_AT_ONCE = 5_000
_BATCH = 500


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one entry that was tried again."""

    id: int
    status: Status
    reason: str | None = None


class Replayed(Struct, frozen=True, kw_only=True):
    """What became of all that were tried again."""

    results: list[Result]
    more: bool  # so many are taken at a time: call again for the rest


class Discarded(Struct, frozen=True, kw_only=True):
    """What was discarded."""

    ids: list[int]
    more: bool


def listed(database: Database, wanted: Filter, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Entries, the newest first, a page at a time."""
    with database.transaction() as connection:
        return store.page(connection, wanted, before=before, limit=limit)


def counted(database: Database, experiment: str) -> list[dict[str, Any]]:
    """How many of an experiment's entries there are by reason and state."""
    with database.transaction() as connection:
        return store.counts(connection, experiment)


def get(database: Database, entry_id: int) -> dict[str, Any]:
    """One entry.

    Raises:
        NotFound: it does not exist.
    """
    with database.transaction() as connection:
        found = store.find(connection, entry_id)
    if found is None:
        raise NotFound(f"There is no entry {entry_id} in quarantine")
    return found


def replay(database: Database, wanted: Filter, *, actor: str) -> Replayed:
    """Tries open entries again, as if the events came now. Those that are rejected again stay."""
    entries = _open(database, wanted)
    results = {entry_id: _refused(entry_id, "no open entry has this id") for entry_id in wanted.ids or ()}
    results |= {entry["id"]: _refused(entry["id"], "only feedback and exposures can be replayed") for entry in entries}
    results |= _replay(database, FeedbackWriter(shard=_SHARD), _events(entries, FeedbackEvent))
    results |= _replay(database, ExposureWriter(shard=_SHARD), _events(entries, ExposureEvent))
    _note(database, "replay", wanted, [result.status for result in results.values()], actor=actor)
    return Replayed(results=[results[entry_id] for entry_id in sorted(results)], more=len(entries) == MOST_AT_ONCE)


def discard(database: Database, wanted: Filter, *, actor: str) -> Discarded:
    """Marks open entries as of no use; they can be seen until they are too old."""
    entries = _open(database, wanted)
    with database.transaction() as connection:
        ids = store.settle(connection, [entry["id"] for entry in entries], "discarded")
    _note(database, "discard", wanted, ["discarded"] * len(ids), actor=actor)
    return Discarded(ids=ids, more=len(entries) == MOST_AT_ONCE)


def _open(database: Database, wanted: Filter) -> list[dict[str, Any]]:
    with database.transaction() as connection:
        return store.open_entries(connection, wanted, MOST_AT_ONCE)


def _events(entries: Sequence[Mapping[str, Any]], kind: type[Sent]) -> dict[int, Sent]:
    """The events of one kind, by the ids of their entries."""
    return {e["id"]: msgspec.convert(e["payload"], kind) for e in entries if e["kind"] == kind.kind}


def _replay(database: Database, writer: EventWriter[Sent, Any], events: Mapping[int, Sent]) -> dict[int, Result]:
    """Tries events again; those that are not rejected are settled in the transaction that records them."""
    ids = {event.key: entry_id for entry_id, event in events.items()}

    def settle(connection: Connection, verdicts: Sequence[tuple[Sent, Verdict]]) -> None:
        store.settle(connection, [ids[event.key] for event, v in verdicts if v.status != "rejected"], "replayed")

    todo = list(events.values())
    verdicts = [
        verdict
        for start in range(0, len(todo), _BATCH)
        for verdict in write_apart(database, writer, todo[start : start + _BATCH], settle)
    ]
    return {entry_id: _result(entry_id, verdict) for entry_id, verdict in zip(events, verdicts, strict=True)}


def _result(entry_id: int, verdict: Verdict | None) -> Result:
    if verdict is None:
        return _refused(entry_id, "it cannot be written; the log of the service says why")
    if verdict.rejection:
        return _refused(entry_id, verdict.rejection.detail)
    return Result(id=entry_id, status=verdict.status)


def _refused(entry_id: int, reason: str) -> Result:
    return Result(id=entry_id, status="rejected", reason=reason)


def _note(database: Database, action: str, wanted: Filter, outcomes: Sequence[str], *, actor: str) -> None:
    """The audit entry: what was meant, and how many became what."""
    asked = {name: value for name, value in vars(wanted).items() if value is not None}
    after = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
    with database.transaction() as connection:
        audit.record(connection, actor=actor, action=action, subject="quarantine", before=asked, after=after)
