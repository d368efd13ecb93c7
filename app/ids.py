"""Decision ids are UUIDv7 (RFC 9562): they sort by time, so a day's decisions are one partition of the table."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import uuid_utils

__all__ = ["day_bounds", "first_id_at", "new_id", "time_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> UUID:
    """A fresh UUIDv7 of the present millisecond."""
    return UUID(int=uuid_utils.uuid7().int)


def time_of(decision_id: UUID) -> datetime:
    """The millisecond at which a UUIDv7 was made.

    Raises:
        ValueError: the id is a UUID of another version.
    """
    if decision_id.version != 7:
        raise ValueError(f"{decision_id} is a UUID of version {decision_id.version}, not a UUIDv7")
    return datetime.fromtimestamp((decision_id.int >> 80) / 1000, UTC)


def first_id_at(moment: datetime) -> UUID:
    """The least UUID whose leading 48 bits are `moment`: the bound of a range partition."""
    return UUID(int=(moment - _EPOCH) // timedelta(milliseconds=1) << 80)


def day_bounds(day: datetime) -> tuple[UUID, UUID]:
    """First id of the UTC day that `day` lies in, and first id of the next."""
    start = day.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return first_id_at(start), first_id_at(start + timedelta(days=1))
