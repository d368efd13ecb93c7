"""Avatars and the looks at their lists. Nothing here touches decisions, feedback or statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import avatar_looks, avatars

__all__ = [
    "NEVER",
    "AvatarRow",
    "Before",
    "LastLook",
    "Look",
    "before",
    "claim",
    "delete",
    "delete_old_looks",
    "expected_looks",
    "find",
    "last_looks",
    "listed",
    "looks",
    "looks_since",
    "put",
    "save",
]

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AvatarRow:
    """A row of `avatars`."""

    experiment: str
    key: str
    definition: Mapping[str, Any]
    since: datetime
    asked_at: datetime | None
    looked_at: datetime | None


class Look(Struct, frozen=True, kw_only=True):
    """What one arm answered an avatar, and what is wrong with it; the fields are columns of `avatar_looks`."""

    arm: str
    items: tuple[str, ...]
    payload: Any
    latency_ms: float
    failure: str | None
    overlap: float | None
    came: tuple[str, ...] | None
    went: tuple[str, ...] | None
    fault: str | None
    faults: int


@dataclass(frozen=True, kw_only=True)
class Before:
    """What an arm answered an avatar last."""

    items: tuple[str, ...] | None  # null: it never answered
    payload: Any
    faults: int  # of the last look, whether it was answered or not


NEVER = Before(items=None, payload=None, faults=0)


@dataclass(frozen=True, kw_only=True)
class LastLook:
    """The last look at an avatar's list from one arm."""

    avatar: str
    arm: str
    at: datetime
    every_s: float
    fault: str | None
    faults: int


# One at a time, the one that has waited longest: whoever is killed afterwards has lost one look.
_CLAIM = sa.text("""
UPDATE avatars SET asked_at = :now WHERE (experiment, key) = (
    SELECT a.experiment, a.key FROM avatars a JOIN experiments e ON e.key = a.experiment
    WHERE e.state = 'running' AND (a.asked_at IS NULL
        OR a.asked_at + (a.definition ->> 'every_s')::double precision * interval '1 second' <= :now)
    ORDER BY a.asked_at NULLS FIRST LIMIT 1 FOR UPDATE OF a SKIP LOCKED
) RETURNING *
""")

_BEFORE = sa.text("""
SELECT asked.arm, answered.items, answered.payload, coalesce(last.faults, 0) AS faults
FROM unnest(CAST(:arms AS text[])) asked(arm)
LEFT JOIN LATERAL (
    SELECT items, payload FROM avatar_looks l
    WHERE (l.experiment, l.avatar, l.arm) = (:experiment, :avatar, asked.arm) AND at >= :since AND failure IS NULL
    ORDER BY id DESC LIMIT 1
) answered ON true
LEFT JOIN LATERAL (
    SELECT faults FROM avatar_looks l
    WHERE (l.experiment, l.avatar, l.arm) = (:experiment, :avatar, asked.arm) AND at >= :since
    ORDER BY id DESC LIMIT 1
) last ON true
""")

_LAST_LOOKS = sa.text("""
SELECT l.avatar, l.arm, l.at, (a.definition ->> 'every_s')::double precision AS every_s, l.fault, l.faults
FROM avatars a JOIN avatar_looks l ON l.experiment = a.experiment AND l.avatar = a.key AND l.at = a.looked_at
WHERE a.experiment = :experiment ORDER BY l.avatar, l.arm
""")

_EXPECTED = sa.text("""
SELECT coalesce(sum(floor(greatest(extract(epoch FROM CAST(:now AS timestamptz) - greatest(since, :from)), 0)
    / (definition ->> 'every_s')::double precision)), 0)::bigint
FROM avatars WHERE experiment = :experiment
""")


def find(connection: sa.Connection, experiment: str, key: str, *, lock: bool = False) -> AvatarRow | None:
    """One avatar, or None; with `lock` nobody else changes or deletes it before the transaction ends."""
    query = sa.select(avatars).where(_is(experiment, key))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return AvatarRow(**row) if row else None


def listed(connection: sa.Connection, experiment: str) -> list[AvatarRow]:
    """An experiment's avatars in the order of their keys."""
    query = sa.select(avatars).where(avatars.c.experiment == experiment).order_by(avatars.c.key)
    return [AvatarRow(**row) for row in connection.execute(query).mappings()]


def put(
    connection: sa.Connection, experiment: str, key: str, definition: Mapping[str, Any], now: datetime
) -> AvatarRow:
    """Inserts an avatar or replaces its definition; it is looked at anew."""
    statement = insert(avatars).values(experiment=experiment, key=key, definition=definition, since=now)
    changes = {"definition": definition, "since": now, "asked_at": None, "looked_at": None}
    upsert = statement.on_conflict_do_update(index_elements=["experiment", "key"], set_=changes)
    return AvatarRow(**connection.execute(upsert.returning(*avatars.c)).mappings().one())


def delete(connection: sa.Connection, experiment: str, key: str) -> bool:
    """Deletes an avatar and its looks; False when there is none."""
    return connection.execute(sa.delete(avatars).where(_is(experiment, key))).rowcount == 1


def claim(connection: sa.Connection, now: datetime) -> AvatarRow | None:
    """The avatar of a running experiment that has been due longest, as one that is being looked at; None: none is."""
    row = connection.execute(_CLAIM, {"now": now}).mappings().first()
    return AvatarRow(**row) if row else None


def before(connection: sa.Connection, avatar: AvatarRow, arms: Sequence[str]) -> dict[str, Before]:
    """What each arm answered an avatar last, as it is defined."""
    parameters = {"experiment": avatar.experiment, "avatar": avatar.key, "since": avatar.since, "arms": list(arms)}
    return {
        row["arm"]: Before(
            items=None if row["items"] is None else tuple(row["items"]), payload=row["payload"], faults=row["faults"]
        )
        for row in connection.execute(_BEFORE, parameters).mappings()
    }


def save(connection: sa.Connection, avatar: AvatarRow, found: Sequence[Look]) -> bool:
    """Stores what a claimed avatar was answered; False when it was changed or deleted meanwhile."""
    current = find(connection, avatar.experiment, avatar.key, lock=True)
    if current is None or current.asked_at != avatar.asked_at:
        return False
    owner = {"experiment": avatar.experiment, "avatar": avatar.key, "at": avatar.asked_at}
    if found:
        connection.execute(sa.insert(avatar_looks), [owner | msgspec.structs.asdict(look) for look in found])
    query = sa.update(avatars).where(_is(avatar.experiment, avatar.key))
    connection.execute(query.values(looked_at=avatar.asked_at))
    return True


def looks(
    connection: sa.Connection, experiment: str, avatar: str, *, arm: str | None, before: int | None, limit: int
) -> list[Row]:
    """Looks at an avatar, the newest first."""
    c = avatar_looks.c
    query = sa.select(avatar_looks).where(c.experiment == experiment, c.avatar == avatar)
    if arm is not None:
        query = query.where(c.arm == arm)
    if before is not None:
        query = query.where(c.id < before)
    rows = connection.execute(query.order_by(c.id.desc()).limit(limit)).mappings()
    return [{name: value for name, value in row.items() if name not in {"experiment", "avatar"}} for row in rows]


def last_looks(connection: sa.Connection, experiment: str) -> list[LastLook]:
    """The last look at each avatar of an experiment, from each arm that it asked."""
    return [LastLook(**row) for row in connection.execute(_LAST_LOOKS, {"experiment": experiment}).mappings()]


def looks_since(connection: sa.Connection, experiment: str, since: datetime) -> int:
    """How many looks at an experiment's avatars, of all arms, began since a moment."""
    c = avatar_looks.c
    query = sa.select(sa.func.count()).where(c.experiment == experiment, c.at >= since)
    return int(connection.scalar(query) or 0)


def expected_looks(connection: sa.Connection, experiment: str, since: datetime, now: datetime) -> int:
    """How many times an experiment's avatars should have been looked at since a moment, by their schedules."""
    return int(connection.scalar(_EXPECTED, {"experiment": experiment, "from": since, "now": now}) or 0)


def delete_old_looks(connection: sa.Connection, experiment: str, before: datetime) -> int:
    """Deletes looks of before a moment; returns how many."""
    c = avatar_looks.c
    return connection.execute(sa.delete(avatar_looks).where(c.experiment == experiment, c.at < before)).rowcount


def _is(experiment: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(avatars.c.experiment == experiment, avatars.c.key == key)
