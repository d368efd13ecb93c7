"""`POST /v1/exposures`: a unit was shown a decision."""

from datetime import UTC, datetime

from flask import Blueprint, Response
from msgspec import Raw

from app.api.codec import decode, decode_shape
from app.api.events import check_moment, take_many, take_one
from app.api.http import Names, body, caller, reply, requires, services
from app.api.ids import check_id
from app.api.schemas import BulkExposures, EventAnswer, ExposureRequest
from app.auth import Scope
from app.ids import time_of
from app.services import Services
from app.store.exposures import ExposureEvent
from app.store.keys import KeyRecord

__all__ = ["blueprint", "take_exposures"]

blueprint = Blueprint("exposures", __name__)


@blueprint.post("/v1/exposures")
@requires(Scope.REWARD, Names.ITSELF)
def post_exposures() -> Response:
    """One confirmation, or many."""
    return reply(take_exposures(services(), caller(), body()))


def take_exposures(services: Services, key: KeyRecord, data: bytes) -> EventAnswer | dict[str, list[EventAnswer]]:
    """Records confirmed exposures; returns once they are safe."""
    if "exposures" in decode_shape(data, dict[str, Raw]):
        bodies = decode_shape(data, BulkExposures).exposures
        services.keys.charge(key, len(bodies) - 1)
        return take_many(
            services.exposures, bodies, lambda one: _event_of(services, key, one), services.telemetry.meter
        )
    return take_one(services.exposures, _event_of(services, key, data), services.telemetry.meter)


def _event_of(services: Services, key: KeyRecord, data: bytes | Raw) -> ExposureEvent:
    """The event with its defaults filled in."""
    now, event = datetime.now(UTC), decode(data, ExposureRequest)
    check_id(event.decision_id, services, now)
    if event.occurred_at is not None:
        check_moment(event.occurred_at, time_of(event.decision_id), now)
    occurred_at = event.occurred_at or now
    return ExposureEvent(decision_id=event.decision_id, occurred_at=occurred_at, permitted=key.experiments)
