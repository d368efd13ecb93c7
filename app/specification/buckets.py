"""The time buckets that statistics are kept in."""

from datetime import UTC, datetime

from app.specification.memory import AnyMemory, Everything
from app.specification.shape import Reward

__all__ = ["bucket_width", "start_of_bucket"]

# Widths of the statistics' time buckets, in seconds. At most a tenth of the attribution window, so that "mature" is
# known to within that; of the memory's unit, for the same reason; at most a minute, so that time series have a useful
# grain.
_BUCKET_WIDTHS = (60.0, 30.0, 10.0, 5.0, 1.0, 0.5, 0.1)
_EVERYTHING = Everything()


def bucket_width(reward: Reward, memory: AnyMemory = _EVERYTHING) -> float:
    """Width of the statistics' time buckets in seconds: at most a tenth of attribution window and memory's unit."""
    widest = max(min(reward.window_s, memory.unit_s) / 10, _BUCKET_WIDTHS[-1])
    return next(width for width in _BUCKET_WIDTHS if width <= widest)


def start_of_bucket(moment: datetime, width_s: float) -> datetime:
    """Start of the statistics' time bucket that a moment lies in."""
    return datetime.fromtimestamp(moment.timestamp() // width_s * width_s, UTC)
