"""Writes events that have waited: together, or, when one of them cannot be written, each by itself."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from app.errors import Unavailable
from app.serving.events import EventWriter
from app.serving.verdicts import Verdict
from app.store.database import Connection, Database, cursor_of
from app.store.events import Event

__all__ = ["write_apart"]

log = logging.getLogger(__name__)

Sent = TypeVar("Sent", bound=Event)


def write_apart(
    database: Database,
    writer: EventWriter[Sent, Any],
    events: Sequence[Sent],
    settle: Callable[[Connection, Sequence[tuple[Sent, Verdict]]], None],
) -> list[Verdict | None]:
    """Writes events; one that cannot be written does not hold up the others.

    Args:
        database: where to write.
        writer: of this kind of event.
        events: what has waited.
        settle: notes what became of events, in the transaction that recorded them.

    Returns:
        The verdict of each event, in order; None: it could not be written, and the log says why.

    Raises:
        Unavailable: the database is away.
    """
    if not events:
        return []
    try:
        with database.transaction() as connection:
            verdicts = writer.write(cursor_of(connection), events)
            settle(connection, list(zip(events, verdicts, strict=True)))
    except Unavailable:
        raise
    except Exception:
        if len(events) > 1:
            return [one for event in events for one in write_apart(database, writer, [event], settle)]
        log.exception("cannot write %s %s", events[0].kind, events[0].key)
        return [None]
    return [*verdicts]
