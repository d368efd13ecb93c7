"""Moments as clients write them, made safe for the database."""

from datetime import UTC, datetime

__all__ = ["in_utc"]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2999, 12, 31, tzinfo=UTC)


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC, or the first or last one that anything is stored of.

    PostgreSQL knows no offset of 16 hours or more, and Python neither year 0 nor year 10,000.
    """
    return min(max(moment, _FIRST), _LAST).astimezone(UTC)
