"""`POST /v1/feedback`: events about decisions, one or many."""

from datetime import UTC, datetime

from flask import Blueprint, Response
from msgspec import Raw

from app.api.codec import decode, decode_shape
from app.api.events import check_moment, take_many, take_one
from app.api.http import Names, body, caller, reply, requires, services
from app.api.ids import check_id
from app.api.schemas import BulkFeedback, EventAnswer, FeedbackRequest
from app.auth import Scope
from app.errors import InvalidInput
from app.ids import time_of
from app.services import Services
from app.store.feedback import FeedbackEvent
from app.store.keys import KeyRecord

__all__ = ["blueprint", "take_feedback"]

blueprint = Blueprint("feedback", __name__)

# The square of less would underflow in the statistics, which PostgreSQL refuses.
_SMALLEST = 1e-100


@blueprint.post("/v1/feedback")
@requires(Scope.REWARD, Names.ITSELF)
def post_feedback() -> Response:
    """One event, or many."""
    return reply(take_feedback(services(), caller(), body()))


def take_feedback(services: Services, key: KeyRecord, data: bytes) -> EventAnswer | dict[str, list[EventAnswer]]:
    """Records feedback; returns once it is safe."""
    if "events" in decode_shape(data, dict[str, Raw]):
        bodies = decode_shape(data, BulkFeedback).events
        services.keys.charge(key, len(bodies) - 1)
        return take_many(services.feedback, bodies, lambda one: _event_of(services, key, one), services.telemetry.meter)
    return take_one(services.feedback, _event_of(services, key, data), services.telemetry.meter)


def _event_of(services: Services, key: KeyRecord, data: bytes | Raw) -> FeedbackEvent:
    """The event with its defaults filled in."""
    now, event = datetime.now(UTC), decode(data, FeedbackRequest)
    check_id(event.decision_id, services, now)
    if 0 < abs(event.value) < _SMALLEST:
        raise InvalidInput.at("#/value", f"{event.value:g} must be 0 or at least {_SMALLEST:g} in size")
    if event.occurred_at is not None:
        check_moment(event.occurred_at, time_of(event.decision_id), now)
    return FeedbackEvent(
        decision_id=event.decision_id,
        metric=event.metric or "",
        event_id=event.event_id or f"item:{event.item_id or ''}",
        value=event.value,
        item_id=event.item_id,
        position=event.position,
        occurred_at=event.occurred_at or now,
        permitted=key.experiments,
    )
