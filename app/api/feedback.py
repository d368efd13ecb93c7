"""`POST /v1/feedback`: events about decisions, one or many."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from flask import Blueprint, Response

from app.api.codec import decode, decode_shape
from app.api.http import body, reply, requires, services
from app.api.ids import check_id
from app.api.schemas import BulkFeedback, FeedbackAnswer, FeedbackRequest
from app.auth import Scope
from app.errors import InvalidInput
from app.ids import time_of
from app.services import Services
from app.serving.durability import Durability
from app.serving.feedback import Verdict
from app.serving.watching import note_feedback
from app.store.feedback import FeedbackEvent

__all__ = ["blueprint", "take_feedback"]

blueprint = Blueprint("feedback", __name__)

# How far a client's clock may be ahead, and how long before its decision an event may seem to have happened.
_AHEAD = timedelta(minutes=5)
_BEHIND = timedelta(days=1)
# The square of less would underflow in the statistics, which PostgreSQL refuses.
_SMALLEST = 1e-100


@blueprint.post("/v1/feedback")
@requires(Scope.REWARD)
def post_feedback() -> Response:
    """One event, or many."""
    return reply(take_feedback(services(), body()))


def take_feedback(services: Services, data: bytes) -> FeedbackAnswer | dict[str, list[FeedbackAnswer]]:
    """Records feedback; returns once it is safe."""
    if "events" in decode_shape(data, dict[str, msgspec.Raw]):
        return {"results": _many(services, decode_shape(data, BulkFeedback).events)}
    return _one(services, decode(data, FeedbackRequest))


def _one(services: Services, event: FeedbackRequest) -> FeedbackAnswer:
    """One event: what is wrong with it is a problem."""
    (verdict,), durability = _record(services, [_event_of(services, event)])
    if verdict.rejection:
        pointer = "#" if verdict.rejection.field is None else f"#/{verdict.rejection.field}"
        raise InvalidInput.at(pointer, verdict.rejection.reason)
    return _answer(verdict, durability)


def _many(services: Services, bodies: list[msgspec.Raw]) -> list[FeedbackAnswer]:
    """Many events: what is wrong with one is its result, and the others are recorded."""
    events = [_read_one(services, one) for one in bodies]
    good = [event for event in events if isinstance(event, FeedbackEvent)]
    if not good:
        return [event for event in events if isinstance(event, FeedbackAnswer)]
    verdicts, durability = _record(services, good)
    rest = iter(verdicts)
    return [_answer(next(rest), durability) if isinstance(event, FeedbackEvent) else event for event in events]


def _record(services: Services, events: Sequence[FeedbackEvent]) -> tuple[Sequence[Verdict], Durability]:
    verdicts, durability = services.feedback.record(events)
    note_feedback(services.telemetry.meter, events, verdicts, datetime.now(UTC))
    return verdicts, durability


def _read_one(services: Services, one: msgspec.Raw) -> FeedbackEvent | FeedbackAnswer:
    try:
        return _event_of(services, decode(one, FeedbackRequest))
    except InvalidInput as error:
        return FeedbackAnswer(status="rejected", reason=error.detail)


def _event_of(services: Services, event: FeedbackRequest) -> FeedbackEvent:
    """The event with its defaults filled in."""
    now = datetime.now(UTC)
    check_id(event.decision_id, services, now)
    if 0 < abs(event.value) < _SMALLEST:
        raise InvalidInput.at("#/value", f"{event.value:g} must be 0 or at least {_SMALLEST:g} in size")
    if event.occurred_at is not None:
        _check_moment(event.occurred_at, time_of(event.decision_id), now)
    return FeedbackEvent(
        decision_id=event.decision_id,
        metric=event.metric or "",
        event_id=event.event_id or f"item:{event.item_id or ''}",
        value=event.value,
        item_id=event.item_id,
        position=event.position,
        occurred_at=event.occurred_at or now,
    )


def _check_moment(occurred_at: datetime, decided_at: datetime, now: datetime) -> None:
    if occurred_at > now + _AHEAD:
        raise InvalidInput.at("#/occurred_at", f"{occurred_at.isoformat()} is in the future: check the clock")
    if occurred_at < decided_at - _BEHIND:
        raise InvalidInput.at("#/occurred_at", f"{occurred_at.isoformat()} is before the decision: check the clock")


def _answer(verdict: Verdict, durability: Durability) -> FeedbackAnswer:
    return FeedbackAnswer(
        status=verdict.status,
        reason=verdict.rejection.reason if verdict.rejection else None,
        durability=durability,
    )
