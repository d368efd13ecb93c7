"""Events that are still to be sent: each has its time, and those that are due go together in one call."""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["ClickQueue"]

_Event = TypeVar("_Event")

TICK_S = 0.05
MAX_BATCH = 500


class ClickQueue(Generic[_Event]):
    """A queue of events by due time, emptied by one thread that runs `run`.

    Args:
        send: sends a batch of events.
        stop: set when the replay is interrupted: what is left is then sent at once.
    """

    def __init__(self, send: Callable[[Sequence[_Event]], None], stop: threading.Event) -> None:
        self._send, self._stop = send, stop
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._heap: list[tuple[float, int, _Event]] = []
        self._numbers = itertools.count()  # decides between equal times: events have no order

    def add(self, event: _Event, *, delay_s: float) -> None:
        """Have the event sent after that time."""
        with self._lock:
            heapq.heappush(self._heap, (time.monotonic() + delay_s, next(self._numbers), event))

    def close(self) -> None:
        """Nothing will be added any more: `run` returns when all is sent."""
        self._closed.set()

    def run(self) -> None:
        """Send events as they fall due, until closed and empty."""
        while True:
            closing = self._closed.is_set()  # looked at before the queue: later nothing can be added
            if batch := self._due():
                self._send(batch)
            if closing and not self._heap:
                return
            (self._stop if closing else self._closed).wait(TICK_S)

    def _due(self) -> list[_Event]:
        """Take what is due, up to a batch; when interrupted, everything is."""
        now = float("inf") if self._stop.is_set() else time.monotonic()
        batch: list[_Event] = []
        with self._lock:
            while self._heap and self._heap[0][0] <= now and len(batch) < MAX_BATCH:
                batch.append(heapq.heappop(self._heap)[2])
        return batch
