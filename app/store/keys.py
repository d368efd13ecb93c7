"""API keys at rest: a prefix to find one by, and a digest to know it by. The key itself is nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import api_keys

__all__ = ["KeyRecord", "add", "every", "find", "note_uses", "revoke", "rotate"]


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """A row of `api_keys`."""

    prefix: str
    name: str
    digest: bytes
    scopes: frozenset[str]
    experiments: tuple[str, ...] | None  # the only ones that it may be used for; None: every one
    rate_per_s: float | None  # how many requests it may make; None: any number
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None  # true to a minute
    previous_digest: bytes | None  # of the secret before this one, which
    previous_until: datetime | None  # goes on working until then


def add(
    connection: sa.Connection,
    *,
    prefix: str,
    name: str,
    digest: bytes,
    scopes: Sequence[str],
    experiments: Sequence[str] | None = None,
    rate_per_s: float | None = None,
    expires_at: datetime | None = None,
) -> KeyRecord | None:
    """Adds a key; None when the prefix is taken."""
    query = insert(api_keys).values(
        prefix=prefix,
        name=name,
        digest=digest,
        scopes=sorted(scopes),
        experiments=None if experiments is None else sorted(experiments),
        rate_per_s=rate_per_s,
        expires_at=expires_at,
    )
    return _first(connection, query.on_conflict_do_nothing().returning(api_keys))


def every(connection: sa.Connection) -> list[KeyRecord]:
    """All keys, revoked ones included, oldest first."""
    rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.created_at, api_keys.c.prefix)).mappings()
    return [_record(row) for row in rows]


def find(connection: sa.Connection, prefix: str) -> KeyRecord | None:
    """One key, locked until the transaction ends."""
    return _first(connection, sa.select(api_keys).where(api_keys.c.prefix == prefix).with_for_update())


def revoke(connection: sa.Connection, prefix: str) -> bool:
    """Revokes a key; False when there is no such key, or it was revoked before."""
    query = sa.update(api_keys).where(api_keys.c.prefix == prefix, api_keys.c.revoked_at.is_(None))
    return connection.execute(query.values(revoked_at=sa.func.now())).rowcount == 1


def rotate(connection: sa.Connection, prefix: str, *, digest: bytes, previous_until: datetime) -> KeyRecord:
    """Gives a key, which must exist, another secret.

    The present one works until `previous_until`; the one before it, if it still did, ends now.
    """
    query = sa.update(api_keys).where(api_keys.c.prefix == prefix)
    changes = {"digest": digest, "previous_digest": api_keys.c.digest, "previous_until": previous_until}
    return _record(connection.execute(query.values(**changes).returning(api_keys)).mappings().one())


def note_uses(connection: sa.Connection, prefixes: Sequence[str], now: datetime) -> None:
    """These keys were used. What another worker has noted half a minute ago, or is noting now, is left as it is."""
    c = api_keys.c
    stale = sa.or_(c.last_used_at.is_(None), c.last_used_at < now - timedelta(seconds=30))
    mine = sa.select(c.prefix).where(c.prefix.in_(prefixes), stale).with_for_update(skip_locked=True)
    connection.execute(sa.update(api_keys).where(c.prefix.in_(mine)).values(last_used_at=now))


def _first(connection: sa.Connection, query: sa.Executable) -> KeyRecord | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else _record(row)


def _record(row: sa.RowMapping) -> KeyRecord:
    experiments, previous = row["experiments"], row["previous_digest"]
    converted = {
        "digest": bytes(row["digest"]),
        "scopes": frozenset(row["scopes"]),
        "experiments": None if experiments is None else tuple(experiments),
        "previous_digest": None if previous is None else bytes(previous),
    }
    return KeyRecord(**{**row, **converted})
