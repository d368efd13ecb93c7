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


def trail(connection: sa.Connection, subject: str, *, limit: int = 100) -> list[dict[str, Any]]:
    """The newest changes of a subject first."""
    query = sa.select(audit_log).where(audit_log.c.subject == subject).order_by(audit_log.c.id.desc()).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]
