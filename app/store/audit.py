"""The audit log: who changed what, when, from what to what. Written in the transaction of the change."""

from typing import Any

import sqlalchemy as sa

from app.store.tables import audit_log

__all__ = ["record", "trail"]

Json = Any  # what msgspec.to_builtins gives


def record(
    connection: sa.Connection, *, actor: str, action: str, subject: str, before: Json = None, after: Json = None
) -> None:
    """Appends one change; `before` and `after` are JSON values."""
    values = {"actor": actor, "action": action, "subject": subject, "before": before, "after": after}
    connection.execute(sa.insert(audit_log).values(**values))


def trail(
    connection: sa.Connection, subject: str, *, before: int | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """The newest changes of a subject first, of those numbered below `before`."""
    query = sa.select(audit_log).where(audit_log.c.subject == subject)
    if before is not None:
        query = query.where(audit_log.c.id < before)
    rows = connection.execute(query.order_by(audit_log.c.id.desc()).limit(limit)).mappings()
    return [dict(row) for row in rows]
