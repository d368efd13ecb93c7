"""API keys: who may do what. A key is `prefix.secret`; only its SHA-256 is stored. Closed by default."""

import hashlib
import hmac
import math
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from app.errors import NotAuthenticated, NotPermitted, TooManyRequests
from app.rates import TokenBucket
from app.store import keys
from app.store.database import Database
from app.store.keys import KeyRecord

__all__ = ["ALL_SCOPES", "KeyRing", "Scope", "digest_of", "has_own_form", "new_key", "permit", "prefix_of"]


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
_NOTE_USES_EVERY = timedelta(minutes=1)


class KeyRing:
    """The keys in force, in memory; `refresh` is called in the background, so a revoked key dies within seconds.

    Args:
        database: where they are stored.
        workers: how many processes share the keys' rates: each grants its part of them.
    """

    def __init__(self, database: Database, *, workers: int = 1) -> None:
        self._database = database
        self._workers = workers
        self._records: Mapping[str, KeyRecord] = {}
        self._read_at = 0.0
        self._buckets: dict[tuple[str, float], TokenBucket] = {}
        self._used: set[str] = set()
        self._noted_at: dict[str, datetime] = {}

    def refresh(self) -> None:
        """Reads the keys.

        Raises:
            Unavailable: the database is away; the keys stay as they were.
        """
        with self._database.transaction() as connection:
            self._records = {record.prefix: record for record in keys.every(connection)}
        self._read_at = time.monotonic()

    def note_uses(self, now: datetime) -> None:
        """Writes down which keys were used since the last call, each once a minute; not for the path of a request.

        Raises:
            Unavailable: the database is away; these uses are forgotten.
        """
        used, self._used = self._used, set()
        long_ago = now - _NOTE_USES_EVERY
        due = sorted(prefix for prefix in used if self._noted_at.get(prefix, long_ago) <= long_ago)
        if due:
            with self._database.transaction() as connection:
                keys.note_uses(connection, due, now)
            self._noted_at.update(dict.fromkeys(due, now))

    def authorise(self, key: str | None, scope: Scope) -> KeyRecord:
        """The record of a key that has the scope, and requests left. Its prefix is no secret.

        Raises:
            NotAuthenticated: no key, or one that is not in force.
            NotPermitted: it lacks the scope.
            TooManyRequests: it has a rate, and this is more.
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
        if record.rate_per_s is not None:
            self._take(record, record.rate_per_s)
        self._used.add(record.prefix)
        return record

    def charge(self, record: KeyRecord, count: int) -> None:
        """Counts a request that holds many as `count` more; what is too much, the next requests wait for."""
        if record.rate_per_s is not None:
            self._bucket(record, record.rate_per_s).owe(count)

    def _known(self, key: str) -> KeyRecord | None:
        """The record of a key that is in force."""
        record = self._records.get(prefix_of(key))
        if record is None:
            return None
        digest = digest_of(key)
        if not hmac.compare_digest(record.digest, digest) and not _is_previous(record, digest):
            return None
        return None if record.revoked_at is not None or _is_over(record.expires_at) else record

    def _take(self, record: KeyRecord, rate_per_s: float) -> None:
        wait_s = self._bucket(record, rate_per_s).take(time.monotonic())
        if wait_s > 0:
            detail = f"This key may make {rate_per_s:g} requests a second"
            raise TooManyRequests(detail, retry_after_s=math.ceil(wait_s))

    def _bucket(self, record: KeyRecord, rate_per_s: float) -> TokenBucket:
        found = self._buckets.get((record.prefix, rate_per_s))
        if found is None:
            found = TokenBucket(rate_per_s / self._workers, time.monotonic())
            self._buckets[record.prefix, rate_per_s] = found
        return found


def permit(key: KeyRecord, experiment: str | None) -> None:
    """Lets a key be used for an experiment (None: for something that is of no single one).

    Raises:
        NotPermitted: it is for others only.
    """
    if key.experiments is not None and experiment not in key.experiments:
        asked = "this request names none" if experiment is None else f"not for {experiment!r}"
        raise NotPermitted(f"This key is for {', '.join(key.experiments)} only, and {asked}")


def new_key(prefix: str | None = None) -> str:
    """A fresh key with a secret of 256 bits; `prefix`: of the key whose secret it replaces."""
    return f"{prefix or f'ck_{secrets.token_hex(4)}'}.{secrets.token_urlsafe(32)}"


def has_own_form(prefix: str) -> bool:
    """Whether it is the prefix of a key that we made."""
    return _OWN_FORM.match(f"{prefix}.") is not None


def prefix_of(key: str) -> str:
    """The part that finds a key. Of one that came from outside no part is public: a hash of its own finds it."""
    form = _OWN_FORM.match(key)
    return form[1] if form else hashlib.sha256(b"prefix:" + key.encode()).hexdigest()[:12]


def digest_of(key: str) -> bytes:
    """What is stored of a key: the SHA-256 of all of it. Its secret is random, so nothing slower is needed."""
    return hashlib.sha256(key.encode()).digest()


def _is_previous(record: KeyRecord, digest: bytes) -> bool:
    """Whether it is the secret before the last rotation, while that still works."""
    if record.previous_digest is None or _is_over(record.previous_until):
        return False
    return hmac.compare_digest(record.previous_digest, digest)


def _is_over(end: datetime | None) -> bool:
    return end is not None and end <= datetime.now(UTC)
