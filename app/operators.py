"""Who may use the console: operators, their passwords, sessions, and a limit on guessing.

A session is a row, known by the digest of a token that only the browser has. So any worker knows it, it outlives a
restart, and whoever is disabled is out at once; no secret has to be configured (docs/adr/0011).
"""

import hashlib
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, TooManyRequests
from app.store import audit
from app.store import operators as store
from app.store.database import Database
from app.store.operators import OperatorRecord

__all__ = [
    "SESSION_LASTS",
    "Operator",
    "Role",
    "create",
    "disable",
    "ensure",
    "listed",
    "log_in",
    "log_out",
    "operator_of",
    "set_password",
]

SESSION_LASTS: Final = timedelta(hours=12)

# OWASP's second recommendation for argon2id: 19 MiB, two passes. Some 20 ms of one core.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# What is compared with when there is no such operator, so that the answer takes as long.
_NOBODY: Final = "$argon2id$v=19$m=19456,t=2,p=1$dj1tfN4BqwzJYRXyq7fP6A$XcTnlmYIHs/irBf1b/IcPGzi1D5WlFlBKtTB0Sr0n50"
_SHORTEST: Final = 12
_LONGEST: Final = 256  # characters: hashing a book would take its time
_NAME: Final = re.compile(r"[A-Za-z0-9._@-]{1,64}")

_ATTEMPTS_COUNT_FOR: Final = timedelta(minutes=15)
_MOST_BY_NAME: Final = 10
_MOST_BY_ADDRESS: Final = 50

Aside = Callable[[Callable[[], Any]], Any]


class Role(StrEnum):
    """What an operator may do."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # look, and act


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Somebody who is logged in."""

    name: str
    role: Role


def create(database: Database, name: str, password: str, role: Role, *, actor: str) -> None:
    """Adds an operator.

    Raises:
        InvalidInput: the name or the password will not do.
        Conflict: the name is taken.
    """
    _check(name, password)
    with database.transaction() as connection:
        if not store.add(connection, name, role=role, password=_HASHER.hash(password)):
            raise Conflict(f"Operator {name!r} exists; `croupier operators password {name}` gives another password")
        audit.record(connection, actor=actor, action="create", subject=f"operator:{name}", after={"role": str(role)})


def ensure(database: Database, name: str, password: str, role: Role) -> None:
    """Makes sure that an operator exists with this password."""
    _check(name, password)
    hashed = _HASHER.hash(password)
    with database.transaction() as connection:
        if not store.add(connection, name, role=role, password=hashed):
            store.set_password(connection, name, hashed)


def set_password(database: Database, name: str, password: str, *, actor: str) -> None:
    """Gives an operator another password; whoever is logged in by the old one is out.

    Raises:
        InvalidInput: the password will not do.
        NotFound: there is no such operator.
    """
    _check(name, password)
    with database.transaction() as connection:
        if not store.set_password(connection, name, _HASHER.hash(password)):
            raise NotFound(f"There is no operator {name!r}; `croupier operators list` shows them")
        store.end_sessions(connection, name)
        audit.record(connection, actor=actor, action="password", subject=f"operator:{name}")


def disable(database: Database, name: str, now: datetime, *, actor: str) -> None:
    """Shuts an operator out, at once; another password lets them in again.

    Raises:
        NotFound: there is no such operator in force.
    """
    with database.transaction() as connection:
        if not store.disable(connection, name, now):
            raise NotFound(f"No operator {name!r} is in force; `croupier operators list` shows them")
        store.end_sessions(connection, name)
        audit.record(connection, actor=actor, action="disable", subject=f"operator:{name}")


def listed(database: Database) -> list[OperatorRecord]:
    """All operators, by name."""
    with database.transaction() as connection:
        return store.every(connection)


def log_in(database: Database, name: str, password: str, *, address: str, now: datetime, aside: Aside) -> str:
    """A new session's token, for the right password.

    Args:
        database: where sessions are.
        name: of the operator.
        password: as it was typed.
        address: where the attempt comes from.
        now: this moment.
        aside: runs the hashing so that it does not hold up requests.

    Raises:
        NotAuthenticated: wrong name or password, or the operator is disabled; which of them is told to nobody.
        TooManyRequests: by this name or from this address.
    """
    most = {_digest(f"name:{name}"): _MOST_BY_NAME, _digest(f"address:{address}"): _MOST_BY_ADDRESS}
    since = now - _ATTEMPTS_COUNT_FOR
    with database.transaction() as connection:  # in one order always, so that two cannot wait for each other
        counts = {subject: store.count_attempt(connection, subject, now, since) for subject in sorted(most)}
        record = store.find(connection, name)
    if any(counts[subject] > most[subject] for subject in most):
        wait_s = math.ceil(_ATTEMPTS_COUNT_FOR.total_seconds())
        raise TooManyRequests("Too many attempts; try again in a quarter of an hour", retry_after_s=wait_s)
    stored = record.password if record else _NOBODY
    is_right = aside(lambda: _matches(stored, password[:_LONGEST]))
    if record is None or record.disabled_at is not None or not is_right:
        raise NotAuthenticated("Name or password is wrong")
    token = secrets.token_urlsafe(32)
    with database.transaction() as connection:
        store.delete_expired(connection, now, since)
        store.forget_attempts(connection, [*most])
        store.start_session(connection, _digest(token), name, now + SESSION_LASTS)
        audit.record(connection, actor=name, action="log in", subject=f"operator:{name}")
    return token


def operator_of(database: Database, token: str, now: datetime) -> Operator | None:
    """Whose session a token is; None: nobody's, any more."""
    with database.transaction() as connection:
        record = store.of_session(connection, _digest(token), now)
    return None if record is None else Operator(name=record.name, role=Role(record.role))


def log_out(database: Database, token: str) -> None:
    """Ends a session."""
    with database.transaction() as connection:
        store.end_session(connection, _digest(token))


def _check(name: str, password: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput.at("#/name", f"{name!r} must be 1 to 64 of A-Z a-z 0-9 . _ @ -")
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise InvalidInput.at(
            "#/password", f"it has {len(password)} characters; it must have {_SHORTEST} to {_LONGEST}"
        )


def _matches(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
