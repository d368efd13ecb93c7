"""How events come in: one, or many in one call, each with its own answer."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Raw

from app.api.schemas import EventAnswer
from app.errors import InvalidInput, NotPermitted
from app.serving.durability import Durability, DurableLog
from app.serving.verdicts import NOT_PERMITTED, Verdict
from app.serving.watching import note_events
from app.store.events import Event
from monitoring.meter import Meter

__all__ = ["check_moment", "take_many", "take_one"]

Sent = TypeVar("Sent", bound=Event)

# How far a client's clock may be ahead, and how long before its decision an event may seem to have happened.
_AHEAD = timedelta(minutes=5)
_BEHIND = timedelta(days=1)


def take_one(log: DurableLog[Sent, Verdict], event: Sent, meter: Meter) -> EventAnswer:
    """Records one event; returns once it is safe.

    Raises:
        InvalidInput: it cannot be used.
        NotPermitted: its key is not for the decision's experiment.
    """
    (verdict,), durability = _record(log, [event], meter)
    if verdict.rejection and verdict.rejection.reason == NOT_PERMITTED:
        raise NotPermitted(f"This decision is not yours to tell of: {verdict.rejection.detail}")
    if verdict.rejection:
        pointer = "#" if verdict.rejection.field is None else f"#/{verdict.rejection.field}"
        raise InvalidInput.at(pointer, verdict.rejection.detail)
    return _answer(verdict, durability)


def take_many(
    log: DurableLog[Sent, Verdict], bodies: list[Raw], read: Callable[[Raw], Sent], meter: Meter
) -> dict[str, list[EventAnswer]]:
    """Records many events: what is wrong with one is its result, and the others are recorded."""
    read_ones = [_read(one, read) for one in bodies]
    good = [one for one in read_ones if not isinstance(one, EventAnswer)]
    if not good:
        return {"results": [one for one in read_ones if isinstance(one, EventAnswer)]}
    verdicts, durability = _record(log, good, meter)
    rest = iter(verdicts)
    return {"results": [o if isinstance(o, EventAnswer) else _answer(next(rest), durability) for o in read_ones]}


def check_moment(occurred_at: datetime, decided_at: datetime, now: datetime) -> None:
    """Accepts a moment that a clock may tell which is a little wrong.

    Raises:
        InvalidInput: it lies in the future, or before the decision.
    """
    if occurred_at > now + _AHEAD:
        raise InvalidInput.at("#/occurred_at", f"{occurred_at.isoformat()} is in the future: check the clock")
    if occurred_at < decided_at - _BEHIND:
        raise InvalidInput.at("#/occurred_at", f"{occurred_at.isoformat()} is before the decision: check the clock")


def _record(
    log: DurableLog[Sent, Verdict], events: Sequence[Sent], meter: Meter
) -> tuple[Sequence[Verdict], Durability]:
    verdicts, durability = log.record(events)
    note_events(meter, events, verdicts, datetime.now(UTC))
    return verdicts, durability


def _read(one: Raw, read: Callable[[Raw], Sent]) -> Sent | EventAnswer:
    try:
        return read(one)
    except InvalidInput as error:
        return EventAnswer(status="rejected", reason=error.detail)


def _answer(verdict: Verdict, durability: Durability) -> EventAnswer:
    return EventAnswer(
        status=verdict.status,
        reason=verdict.rejection.detail if verdict.rejection else None,
        durability=durability,
    )
