"""Which decision ids a request may name."""

from datetime import datetime, timedelta
from uuid import UUID

from app.errors import InvalidInput
from app.ids import time_of
from app.services import Services

__all__ = ["check_id"]

# How far a client's clock may be ahead.
_AHEAD = timedelta(minutes=5)


def check_id(decision_id: UUID, services: Services, now: datetime, pointer: str = "#/decision_id") -> None:
    """Accepts a UUIDv7 of a time that decisions are kept for.

    Raises:
        InvalidInput: it is no UUIDv7, or its time is in the future or past retention.
    """
    try:
        made_at = time_of(decision_id)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput.at(pointer, f"must be a UUIDv7: {error}") from error
    if made_at > now + _AHEAD:
        raise InvalidInput.at(pointer, f"was made at {made_at:%Y-%m-%dT%H:%M:%SZ}, in the future: check the clock")
    oldest = now - timedelta(days=services.settings.retention_days)
    if services.allocations.oldest_day is not None:
        oldest = max(oldest, services.allocations.oldest_day)
    if made_at < oldest:
        raise InvalidInput.at(
            pointer,
            f"was made at {made_at:%Y-%m-%dT%H:%M:%SZ}; decisions are kept since {oldest:%Y-%m-%dT%H:%M:%SZ}",
        )
