"""Operators of the console, their sessions, and log-ins that failed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import log_in_failures, operator_sessions, operators

__all__ = [
    "OperatorRecord",
    "add",
    "count_attempt",
    "delete_expired",
    "disable",
    "end_session",
    "end_sessions",
    "every",
    "find",
    "forget_attempts",
    "of_session",
    "set_password",
    "start_session",
]


@dataclass(frozen=True, kw_only=True)
class OperatorRecord:
    """A row of `operators`."""

    name: str
    role: str
    password: str  # argon2id hash
    created_at: datetime
    disabled_at: datetime | None


def add(connection: sa.Connection, name: str, *, role: str, password: str) -> bool:
    """Adds an operator; False when the name is taken."""
    query = insert(operators).values(name=name, role=role, password=password)
    return connection.execute(query.on_conflict_do_nothing().returning(operators.c.name)).first() is not None


def find(connection: sa.Connection, name: str) -> OperatorRecord | None:
    """One operator, disabled or not."""
    row = connection.execute(sa.select(operators).where(operators.c.name == name)).mappings().first()
    return OperatorRecord(**row) if row else None


def every(connection: sa.Connection) -> list[OperatorRecord]:
    """All operators, disabled ones included, by name."""
    return [OperatorRecord(**row) for row in connection.execute(sa.select(operators).order_by("name")).mappings()]


def set_password(connection: sa.Connection, name: str, password: str) -> bool:
    """Stores another hash and lets a disabled operator in again; False when there is no such operator."""
    query = sa.update(operators).where(operators.c.name == name)
    return connection.execute(query.values(password=password, disabled_at=None)).rowcount == 1


def disable(connection: sa.Connection, name: str, now: datetime) -> bool:
    """Disables an operator; False when there is no such one in force."""
    query = sa.update(operators).where(operators.c.name == name, operators.c.disabled_at.is_(None))
    return connection.execute(query.values(disabled_at=now)).rowcount == 1


def start_session(connection: sa.Connection, digest: bytes, operator: str, expires_at: datetime) -> None:
    """Stores a session by the digest of its token."""
    connection.execute(sa.insert(operator_sessions).values(digest=digest, operator=operator, expires_at=expires_at))


def of_session(connection: sa.Connection, digest: bytes, now: datetime) -> OperatorRecord | None:
    """Whose session this is, if it and its operator are in force."""
    joined = sa.select(operators).join(operator_sessions, operator_sessions.c.operator == operators.c.name)
    query = joined.where(
        operator_sessions.c.digest == digest,
        operator_sessions.c.expires_at > now,
        operators.c.disabled_at.is_(None),
    )
    row = connection.execute(query).mappings().first()
    return OperatorRecord(**row) if row else None


def end_session(connection: sa.Connection, digest: bytes) -> None:
    """Forgets one session."""
    connection.execute(sa.delete(operator_sessions).where(operator_sessions.c.digest == digest))


def end_sessions(connection: sa.Connection, operator: str) -> None:
    """Forgets all sessions of an operator."""
    connection.execute(sa.delete(operator_sessions).where(operator_sessions.c.operator == operator))


def delete_expired(connection: sa.Connection, now: datetime, attempts_since: datetime) -> None:
    """Deletes sessions that are over, and attempts that count no more."""
    connection.execute(sa.delete(operator_sessions).where(operator_sessions.c.expires_at <= now))
    connection.execute(sa.delete(log_in_failures).where(log_in_failures.c.since < attempts_since))


def count_attempt(connection: sa.Connection, subject: bytes, now: datetime, since: datetime) -> int:
    """Counts an attempt before it is judged, so that many at once are counted too; returns how many since `since`."""
    c = log_in_failures.c
    statement = insert(log_in_failures).values(subject=subject, count=1, since=now)
    is_old = c.since < since
    counted = statement.on_conflict_do_update(
        index_elements=["subject"],
        set_={"count": sa.case((is_old, 1), else_=c.count + 1), "since": sa.case((is_old, now), else_=c.since)},
    )
    return int(connection.scalar(counted.returning(c.count)) or 0)


def forget_attempts(connection: sa.Connection, subjects: Sequence[bytes]) -> None:
    """Takes back what was counted: the attempt was right."""
    connection.execute(sa.delete(log_in_failures).where(log_in_failures.c.subject.in_(subjects)))
