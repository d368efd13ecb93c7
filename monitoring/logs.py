"""Logs: one JSON object a line, for people with jq and for machines."""

import json
import logging
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import IO, Final

import msgspec

from monitoring.tracing import CURRENT, Request

__all__ = ["RequestLog", "configure"]

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


class RequestLog:
    """One line a request, of the same shape as the other logs: gathered, and written with the next tick.

    `logging` would cost a request ten times as much.
    """

    def __init__(self, role: str, stream: IO[str]) -> None:
        self._role = role
        self._stream = stream
        self._noted: deque[bytes] = deque()

    def add(self, request: Request, route: str, status: int, duration: float) -> None:
        """Notes a request that has been answered; `duration` is in seconds."""
        self._noted.append(self._line(time.time(), request, route, status, duration))

    def write(self) -> None:
        """Writes what was noted."""
        lines = [self._noted.popleft() for _ in range(len(self._noted))]
        if lines:
            self._stream.write(b"".join(lines).decode())
            self._stream.flush()

    def _line(self, at: float, request: Request, route: str, status: int, duration: float) -> bytes:
        line = {
            "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
            "level": "info",
            "role": self._role,
            "logger": "request",
            "message": f"{request.method} {route} {status}",
            "method": request.method,
            "route": route,
            "status": status,
            "duration_ms": round(duration * 1000, 3),
            "trace_id": request.trace_id,
        }
        if request.span is not None:
            line["span_id"] = f"{request.span.get_span_context().span_id:016x}"
        if request.experiment is not None:
            line["experiment"] = request.experiment
        return msgspec.json.encode(line) + b"\n"
