"""Events that wait to be sent, in memory or in a file: bounded, in order, and sent in the background."""

import json
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from croupier_client.errors import Away, Refused

__all__ = ["Outbox"]

log = logging.getLogger(__name__)

Event = Mapping[str, Any]
Send = Callable[[Sequence[Event]], Sequence[Mapping[str, Any]]]

_BATCH = 500
_LONGEST_PAUSE_S = 30.0
_NOT_NOW = frozenset({401, 403})  # a key that is being replaced: the events are not to blame


class Outbox:
    """Keeps events until the service has them.

    Args:
        send: sends events, and returns a result for each with its `status`.
        capacity: the most that wait; beyond it the oldest is dropped.
        path: keeps them over a restart in this file, which no other process may use; None: in memory.
        interval_s: how long an event waits for others.
    """

    def __init__(
        self, send: Send, *, capacity: int = 10_000, path: Path | None = None, interval_s: float = 0.2
    ) -> None:
        self._send = send
        self._path = path
        self._interval_s = interval_s
        self._waiting: deque[Event] = deque(_stored(path), maxlen=capacity)
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._is_closed = False
        self.counts: Counter[str] = Counter()
        """How many events were `accepted`, `duplicate`, `unmatched`, `rejected` or `dropped`."""
        self._thread = threading.Thread(target=self._run, name="croupier-outbox", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: Event) -> None:
        """Takes an event; returns at once."""
        with self._changed:
            if len(self._waiting) == self._waiting.maxlen:
                self.counts["dropped"] += 1
            self._waiting.append(event)
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(json.dumps(event) + "\n")
            self._changed.notify()

    def flush(self) -> None:
        """Sends all that wait.

        Raises:
            Away: the service does not answer; they go on waiting.
            Refused: the service does not take the key; they go on waiting.
        """
        with self._sending:
            while batch := self._first():
                self._count(self._sent(batch))
                self._forget(batch)

    def close(self) -> None:
        """Sends what waits, if the service answers, and ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()
        try:
            self.flush()
        except (Away, Refused) as error:
            log.warning("%d events are still to be sent: %s", len(self), error)

    def _first(self) -> list[Event]:
        with self._changed:
            return [event for event, _ in zip(self._waiting, range(_BATCH), strict=False)]

    def _sent(self, batch: Sequence[Event]) -> Sequence[Mapping[str, Any]]:
        """A result for each event; a batch that will never be taken must not hold up the others."""
        try:
            return self._send(batch)
        except Refused as refused:
            if refused.status in _NOT_NOW:
                raise
            return [{"status": "rejected", "reason": str(refused)}] * len(batch)

    def _count(self, results: Sequence[Mapping[str, Any]]) -> None:
        self.counts.update(str(result["status"]) for result in results)
        for result in results:
            if result["status"] == "rejected":
                log.warning("an event was rejected: %s", result.get("reason"))

    def _forget(self, batch: Sequence[Event]) -> None:
        gone = {id(event) for event in batch}
        with self._changed:
            # Meanwhile the oldest may have been dropped.
            while self._waiting and id(self._waiting[0]) in gone:
                self._waiting.popleft()
            if self._path is not None:
                new = self._path.with_suffix(".new")
                new.write_text("".join(json.dumps(event) + "\n" for event in self._waiting))
                os.replace(new, self._path)  # noqa: PTH105 - the atomic one

    def _run(self) -> None:
        pause_s = self._interval_s
        while not self._is_closed:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._waiting)
                self._changed.wait_for(lambda: self._is_closed, timeout=pause_s)
            try:
                self.flush()
                pause_s = self._interval_s
            except (Away, Refused) as error:
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                log.info("feedback waits, %d events: %s", len(self), error)


def _stored(path: Path | None) -> list[Event]:
    """What an earlier process left; a line that was cut off by its end is no event."""
    if path is None or not path.exists():
        return []
    events = []
    for line in path.read_text().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            log.warning("a line of %s is no event", path)
    return events
