"""API keys at rest: a prefix to find one by, and a digest to know it by. The key itself is nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import api_keys

__all__ = ["KeyRecord", "add", "every", "revoke"]


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """A row of `api_keys`."""

    prefix: str
    name: str
    digest: bytes
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def add(connection: sa.Connection, *, prefix: str, name: str, digest: bytes, scopes: Sequence[str]) -> bool:
    """Adds a key; False when the prefix is taken."""
    query = insert(api_keys).values(prefix=prefix, name=name, digest=digest, scopes=sorted(scopes))
    return connection.execute(query.on_conflict_do_nothing().returning(api_keys.c.prefix)).first() is not None


def every(connection: sa.Connection) -> list[KeyRecord]:
    """All keys, revoked ones included, oldest first."""
    rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.prefix)).mappings()
    return [KeyRecord(**{**row, "digest": bytes(row["digest"]), "scopes": frozenset(row["scopes"])}) for row in rows]


def revoke(connection: sa.Connection, prefix: str) -> bool:
    """Revokes a key; False when there is no such key in force."""
    query = sa.update(api_keys).where(api_keys.c.prefix == prefix, api_keys.c.revoked_at.is_(None))
    return connection.execute(query.values(revoked_at=sa.func.now())).rowcount == 1
