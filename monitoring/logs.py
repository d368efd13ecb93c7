"""Logs: one JSON object a line, for people with jq and for machines."""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import IO, Final

import msgspec

from monitoring.tracing import CURRENT, Request

__all__ = ["RequestLog", "configure"]

# What is noted is put into words at the latest when it is so much: more would be work for the garbage collector.
_MOST_NOTED: Final = 200
# Attributes that every record has; the others were given as `extra`.
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


class _JsonFormatter(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((k, v) for k, v in record.__dict__.items() if k not in _STANDARD)
        request = CURRENT.get()
        if request is not None:
            line["trace_id"] = request.trace_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str, *, role: str) -> None:
    """Sends the process's logs to standard error.

    Args:
        level: debug, info, warning or error.
        role: which process this is: web, learner, monitor.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class _RequestLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request's line; without what it does not have."""

    at: str
    level: str
    role: str
    logger: str
    message: str
    method: str
    route: str
    status: int
    duration_ms: float
    trace_id: str
    span_id: str | None = None
    experiment: str | None = None


class RequestLog:
    """One line a request, of the same shape as the other logs: noted, put into words some at a time, then written.

    `logging` would cost a request ten times as much. A loop over many lines costs less than as many lines one by one
    between other work, which has left the processor's caches full of something else.
    """

    def __init__(self, role: str, stream: IO[str]) -> None:
        self._role = role
        self._stream = stream
        self._noted: deque[tuple[Request, str, str, float]] = deque()
        self._lines: deque[bytes] = deque()
        self._encode = msgspec.json.Encoder().encode
        self._second = (0, "")  # the last whole second, and its name: naming it takes longer than all else

    def add(self, request: Request, route: str, status: str, duration: float) -> None:
        """Notes a request that has been answered; `duration` is in seconds."""
        self._noted.append((request, route, status, duration))
        if len(self._noted) >= _MOST_NOTED:
            self._put_into_words()

    def write(self) -> None:
        """Writes what was noted."""
        self._put_into_words()
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if lines:
            self._stream.write(b"\n".join(lines).decode() + "\n")
            self._stream.flush()

    def _put_into_words(self) -> None:
        for _ in range(len(self._noted)):
            request, route, status, duration = self._noted.popleft()
            line = _RequestLine(
                self._name_of(request.began_at + int(duration * 1e9)),
                "info",
                self._role,
                "request",
                f"{request.method} {route} {status}",
                request.method,
                route,
                int(status),
                round(duration * 1000, 3),
                request.trace_id,
                None if request.span is None else f"{request.span.get_span_context().span_id:016x}",
                request.experiment,
            )
            self._lines.append(self._encode(line))

    def _name_of(self, nanoseconds: int) -> str:
        second, rest = divmod(nanoseconds, 1_000_000_000)
        known, name = self._second
        if second != known:
            name = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = (second, name)
        return f"{name}.{rest // 1_000_000:03d}+00:00"
