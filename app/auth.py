"""API keys: who may do what. A key is `prefix.secret`; only its SHA-256 is stored. Closed by default."""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

import sqlalchemy as sa

from app.errors import NotAuthenticated, NotPermitted
from app.store import keys
from app.store.database import Database
from app.store.keys import KeyRecord

__all__ = ["ALL_SCOPES", "KeyRing", "Scope", "add_key", "ensure_key", "new_key"]


class Scope(StrEnum):
    """What a key may do; `admin` alone does not include the others."""

    DECIDE = "decide"
    REWARD = "reward"
    READ = "read"
    ADMIN = "admin"


ALL_SCOPES = tuple(Scope)

# The keys that we make, and their public prefix.
_OWN_FORM = re.compile(r"(ck_[0-9a-f]{8})\.")

# An unknown key makes a worker read the keys anew, so that a new one works at once; not more often than this,
# so that strangers cannot make it read all the time.
_REREAD_S = 0.25


class KeyRing:
    """The keys in force, in memory; `refresh` is called in the background, so a revoked key dies within seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._records: Mapping[str, KeyRecord] = {}
        self._read_at = 0.0

    def refresh(self) -> None:
        """Reads the keys.

        Raises:
            Unavailable: the database is away; the keys stay as they were.
        """
        with self._database.transaction() as connection:
            self._records = {record.prefix: record for record in keys.every(connection)}
        self._read_at = time.monotonic()

    def authorise(self, key: str | None, scope: Scope) -> str:
        """Who the key belongs to, if it has the scope: its prefix, which is no secret.

        Raises:
            NotAuthenticated: no key, or one that is not in force.
            NotPermitted: it lacks the scope.
        """
        if not key:
            raise NotAuthenticated("Send an API key: Authorization: Bearer <key>, or X-API-Key: <key>")
        record = self._known(key)
        if record is None and time.monotonic() - self._read_at > _REREAD_S:
            self.refresh()
            record = self._known(key)
        if record is None:
            raise NotAuthenticated("The API key is unknown, expired or revoked")
        if scope not in record.scopes:
            raise NotPermitted(f"This needs a key with scope {scope}; this one has {', '.join(sorted(record.scopes))}")
        return record.prefix

    def _known(self, key: str) -> KeyRecord | None:
        """The record of a key that is in force."""
        record = self._records.get(_prefix_of(key))
        if record is None or not hmac.compare_digest(record.digest, _digest_of(key)):
            return None
        now = datetime.now(UTC)
        dead = record.revoked_at is not None or (record.expires_at is not None and record.expires_at <= now)
        return None if dead else record


def new_key() -> str:
    """A fresh key with a secret of 256 bits."""
    return f"ck_{secrets.token_hex(4)}.{secrets.token_urlsafe(32)}"


def add_key(connection: sa.Connection, key: str, *, name: str, scopes: tuple[Scope, ...] = ALL_SCOPES) -> bool:
    """Stores a key's digest; False when its prefix is taken."""
    return keys.add(connection, prefix=_prefix_of(key), name=name, digest=_digest_of(key), scopes=scopes)


def ensure_key(
    database: Database, key: str, *, name: str = "bootstrap", scopes: tuple[Scope, ...] = ALL_SCOPES
) -> None:
    """Makes sure that a key given from outside exists; one that is there stays as it is."""
    with database.transaction() as connection:
        add_key(connection, key, name=name, scopes=scopes)


def _prefix_of(key: str) -> str:
    """The part that finds a key. Of one that came from outside no part is public: a hash of its own finds it."""
    form = _OWN_FORM.match(key)
    return form[1] if form else hashlib.sha256(b"prefix:" + key.encode()).hexdigest()[:12]


def _digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
