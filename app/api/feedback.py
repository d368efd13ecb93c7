"""`POST /v1/feedback`: events about decisions, one or many."""

from datetime import UTC, datetime, timedelta

import msgspec
from flask import Blueprint, Response

from app.api.http import body, decode, decode_shape, reply, requires, services
from app.api.ids import check_id
from app.api.schemas import BulkFeedback, FeedbackAnswer, FeedbackRequest
from app.auth import Scope
from app.errors import InvalidInput
from app.ids import time_of
from app.serving.feedback import Verdict
from app.store.feedback import FeedbackEvent

__all__ = ["blueprint"]

blueprint = Blueprint("feedback", __name__)

# How far a client's clock may be ahead, and how long before its decision an event may seem to have happened.
_AHEAD = timedelta(minutes=5)
_BEHIND = timedelta(days=1)
# The square of less would underflow in the statistics, which PostgreSQL refuses.
_SMALLEST = 1e-100


@blueprint.post("/v1/feedback")
@requires(Scope.REWARD)
def give_feedback() -> Response:
    """Records feedback; answers after it is committed."""
    data = body()
    if "events" in decode_shape(data, dict[str, msgspec.Raw]):
        return reply({"results": _many(decode_shape(data, BulkFeedback).events)})
    return reply(_one(decode(data, FeedbackRequest)))


def _one(event: FeedbackRequest) -> FeedbackAnswer:
    """One event: what is wrong with it is a problem."""
    (verdict,) = services().feedback.commit([_event_of(event)])
    if verdict.rejection:
        pointer = "#" if verdict.rejection.field is None else f"#/{verdict.rejection.field}"
        raise InvalidInput.at(pointer, verdict.rejection.reason)
    return _answer(verdict)


def _many(bodies: list[msgspec.Raw]) -> list[FeedbackAnswer]:
    """Many events: what is wrong with one is its result, and the others are recorded."""
    read_events = [_read_one(one) for one in bodies]
    good = [event for event in read_events if isinstance(event, FeedbackEvent)]
    verdicts = iter(services().feedback.commit(good) if good else ())
    return [_answer(next(verdicts)) if isinstance(event, FeedbackEvent) else event for event in read_events]


def _read_one(one: msgspec.Raw) -> FeedbackEvent | FeedbackAnswer:
    try:
        return _event_of(decode(one, FeedbackRequest))
    except InvalidInput as error:
        return FeedbackAnswer(status="rejected", reason=error.detail)


def _event_of(event: FeedbackRequest) -> FeedbackEvent:
    """The event with its defaults filled in."""
    now = datetime.now(UTC)
    check_id(event.decision_id, services(), now)
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


def _answer(verdict: Verdict) -> FeedbackAnswer:
    return FeedbackAnswer(status=verdict.status, reason=verdict.rejection.reason if verdict.rejection else None)
