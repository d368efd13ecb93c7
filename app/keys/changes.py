"""Changes of API keys, each one transaction with its audit entry. A secret is returned once and kept nowhere."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from app.auth import ALL_SCOPES, Scope, digest_of, has_own_form, new_key, prefix_of
from app.errors import Conflict, InvalidInput, NotFound
from app.store import audit, keys
from app.store.database import Database
from app.store.keys import KeyRecord

__all__ = ["Wanted", "add_key", "create", "ensure_key", "listed", "revoke", "rotate"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a key is to be."""

    name: str
    scopes: tuple[Scope, ...] = ALL_SCOPES
    experiments: tuple[str, ...] | None = None  # the only ones that it may be used for; None: every one
    rate_per_s: float | None = None  # requests; None: any number
    expires_at: datetime | None = None  # None: never


def create(database: Database, wanted: Wanted, now: datetime, *, actor: str) -> tuple[str, KeyRecord]:
    """Makes a key; returns it, this once, and what is stored.

    Raises:
        InvalidInput: it would have expired before it was made.
    """
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise InvalidInput.at("#/expires_at", f"{wanted.expires_at.isoformat()} is in the past")
    with database.transaction() as connection:
        while True:  # prefixes are short enough that one may be taken
            key = new_key()
            record = add_key(connection, key, wanted, actor=actor)
            if record is not None:
                return key, record


def ensure_key(
    database: Database, key: str, wanted: Wanted = Wanted(name="bootstrap"), *, actor: str = "bootstrap"
) -> None:
    """Makes sure that a key given from outside exists; one that is there stays as it is."""
    with database.transaction() as connection:
        add_key(connection, key, wanted, actor=actor)


def add_key(connection: sa.Connection, key: str, wanted: Wanted, *, actor: str) -> KeyRecord | None:
    """Stores a key's digest; None when its prefix is taken."""
    prefix = prefix_of(key)
    record = keys.add(connection, prefix=prefix, digest=digest_of(key), **asdict(wanted))
    if record is not None:
        audit.record(connection, actor=actor, action="create", subject=_subject(prefix), after=_told(wanted))
    return record


def listed(database: Database) -> list[KeyRecord]:
    """All keys, revoked and expired ones included, oldest first."""
    with database.transaction() as connection:
        return keys.every(connection)


def revoke(database: Database, prefix: str, *, actor: str) -> None:
    """Revokes a key for ever: no worker takes it any more within seconds.

    Raises:
        NotFound: no such key is in force.
    """
    with database.transaction() as connection:
        if not keys.revoke(connection, prefix):
            raise NotFound(f"No key {prefix!r} is in force; `croupier keys list` and GET /v1/keys show them")
        audit.record(connection, actor=actor, action="revoke", subject=_subject(prefix))


def rotate(database: Database, prefix: str, now: datetime, *, overlap: timedelta, actor: str) -> tuple[str, KeyRecord]:
    """Gives a key another secret; returns the key, this once. The present secret works until the overlap is over.

    Raises:
        NotFound: no such key is in force.
        Conflict: it is not of our making, so that nothing but its secret could find it.
    """
    if not has_own_form(prefix):
        raise Conflict(f"Key {prefix!r} was given from outside: make another one and revoke it")
    key = new_key(prefix)
    with database.transaction() as connection:
        found = keys.find(connection, prefix)
        if found is None or found.revoked_at is not None or (found.expires_at and found.expires_at <= now):
            raise NotFound(f"No key {prefix!r} is in force; `croupier keys list` and GET /v1/keys show them")
        record = keys.rotate(connection, prefix, digest=digest_of(key), previous_until=now + overlap)
        after = {"previous_until": (now + overlap).isoformat()}
        audit.record(connection, actor=actor, action="rotate", subject=_subject(prefix), after=after)
    return key, record


def _subject(prefix: str) -> str:
    return f"key:{prefix}"


def _told(wanted: Wanted) -> dict[str, Any]:
    expires_at = None if wanted.expires_at is None else wanted.expires_at.isoformat()
    return {**asdict(wanted), "scopes": sorted(wanted.scopes), "expires_at": expires_at}
