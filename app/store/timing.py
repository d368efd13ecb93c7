"""Notes how long statements take, by OpenTelemetry's semantic conventions for database clients.

Statements of the pool's connections are noted: those of the learner, the monitor, and of web workers outside the path
of decisions and events. The journal's have their own connections, and are noted once a batch by who commits it.
"""

import re
import time
from functools import lru_cache, partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import ExceptionContext, ExecutionContext

from app.store.tables import metadata
from monitoring.instruments import DATABASE_OPERATION
from monitoring.meter import Meter

__all__ = ["SYSTEM", "note_operations", "operation_of"]

SYSTEM = "postgresql"
_OTHER = "_OTHER"  # the convention's word for what is none of the few that are told apart
_OPERATIONS = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|SET|RESET|LOCK)\b", re.IGNORECASE)
_COLLECTIONS = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+(\w+)", re.IGNORECASE)


def note_operations(engine: sa.Engine, meter: Meter) -> None:
    """Notes every statement of an engine's connections from now on."""
    sa.event.listen(engine, "before_cursor_execute", _begin)
    sa.event.listen(engine, "after_cursor_execute", partial(_end, meter))
    sa.event.listen(engine, "handle_error", partial(_fail, meter))


@lru_cache(maxsize=512)
def operation_of(statement: str) -> tuple[str, str]:
    """The first operation of a statement, and the first of our tables that it names ('': none): few words, always."""
    operation = _OPERATIONS.search(statement)
    tables = (name for name in _COLLECTIONS.findall(statement) if name in metadata.tables)
    return operation[1].upper() if operation else _OTHER, next(tables, "")


def _begin(*event: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    context: ExecutionContext | None = event[4]
    if context is not None:
        context._croupier_began = time.perf_counter()  # type: ignore[attr-defined]  # noqa: SLF001 - made to be extended


def _end(meter: Meter, *event: Any) -> None:  # noqa: ANN401 - SQLAlchemy's signature
    _note(meter, event[2], event[4], "")


def _fail(meter: Meter, event: ExceptionContext) -> None:
    if event.statement is not None:
        code = getattr(event.original_exception, "pgcode", None)
        _note(meter, event.statement, event.execution_context, code or type(event.original_exception).__name__)


def _note(meter: Meter, statement: str, context: ExecutionContext | None, error: str) -> None:
    began = getattr(context, "_croupier_began", None)
    if began is not None:
        labels = (SYSTEM, *operation_of(statement), error)
        meter.add(DATABASE_OPERATION, labels, time.perf_counter() - began)
