"""Closed windows: which they are, what each is compared with, and which are due."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["Widths", "Window", "due"]

# What a decision may take from its id to its commit.
_GRACE: Final = timedelta(minutes=1)
_MOST_MISSED: Final = 24  # windows that a monitor which was away catches up with


@dataclass(frozen=True, kw_only=True)
class Widths:
    """How long windows are, seconds."""

    window_s: int = 3_600
    reference_s: int = 604_800


@dataclass(frozen=True, kw_only=True)
class Window:
    """A closed window, and the reference before it, which it does not overlap."""

    start: datetime
    widths: Widths

    @property
    def end(self) -> datetime:
        """When it ended."""
        return self.start + timedelta(seconds=self.widths.window_s)

    @property
    def current(self) -> tuple[datetime, datetime]:
        """From and until."""
        return self.start, self.end

    @property
    def reference(self) -> tuple[datetime, datetime]:
        """From and until, of what it is compared with."""
        return self.start - timedelta(seconds=self.widths.reference_s), self.start

    def earlier(self, by: timedelta) -> "Window":
        """The same, so much earlier."""
        return Window(start=self.start - by, widths=self.widths)


def due(now: datetime, last: datetime | None, widths: Widths) -> Iterator[Window]:
    """Windows that are closed and come after the last one done, the oldest first; the newest one when none is.

    Args:
        now: the present.
        last: start of the last window done.
        widths: of windows.
    """
    width = timedelta(seconds=widths.window_s)
    closed = now - min(_GRACE, width / 10) - width
    newest = datetime.fromtimestamp(closed.timestamp() // widths.window_s * widths.window_s, UTC)
    start = newest if last is None else max(last + width, newest - (_MOST_MISSED - 1) * width)
    while start <= newest:
        yield Window(start=start, widths=widths)
        start += width
