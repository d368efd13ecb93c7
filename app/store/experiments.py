"""Experiments and their arms: the one place where a row becomes a value."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.specification import Arm, Specification, State
from app.store.allocations import AllocationRecord
from app.store.tables import allocations, arms, experiments

__all__ = [
    "ArmRecord",
    "Experiment",
    "add",
    "all_of",
    "arms_of",
    "find",
    "listed",
    "replace",
    "revisions",
    "running",
    "save_arms",
    "set_state",
    "with_allocation",
]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A row of `experiments`."""

    key: str
    specification: Specification
    state: State
    version: int  # counts every change; the ETag
    epoch: int  # counts the changes after which exposures are not comparable
    allocation: int  # number of the allocation in force; 0 before the first
    salt: bytes
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class ArmRecord:
    """A row of `arms`, which outlives the specification: the key of a removed arm stays its."""

    key: str
    position: int
    version: int
    since_epoch: int  # the arm learns from outcomes of this epoch and later ones
    state: str
    specification: Arm


def find(connection: sa.Connection, key: str, *, lock: bool = False) -> Experiment | None:
    """One experiment, or None; with `lock` nobody else changes it or its allocation before the transaction ends."""
    query = sa.select(experiments).where(experiments.c.key == key)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return _experiment(row) if row else None


def listed(
    connection: sa.Connection,
    *,
    after: str = "",
    limit: int = 100,
    containing: str = "",
    only: Collection[str] | None = None,
) -> list[Experiment]:
    """Experiments in the order of their keys, a page at a time.

    Args:
        connection: where to read.
        after: those whose keys come after this one.
        limit: how many at most.
        containing: only those whose keys contain this text.
        only: only those with these keys; None: all.
    """
    query = sa.select(experiments).where(experiments.c.key > after)
    if containing:
        query = query.where(experiments.c.key.icontains(containing, autoescape=True))
    if only is not None:
        query = query.where(experiments.c.key.in_(only))
    query = query.order_by(experiments.c.key).limit(limit)
    return [_experiment(row) for row in connection.execute(query).mappings()]


def all_of(connection: sa.Connection) -> list[Experiment]:
    """Every experiment, in the order of their keys."""
    return [
        _experiment(row) for row in connection.execute(sa.select(experiments).order_by(experiments.c.key)).mappings()
    ]


def keys(connection: sa.Connection, *, limit: int) -> list[str]:
    """The first keys: those of experiments that run before all others, each part in order."""
    rank = sa.case((experiments.c.state == "running", 0), else_=1)
    return list(connection.scalars(sa.select(experiments.c.key).order_by(rank, experiments.c.key).limit(limit)))


def running(connection: sa.Connection) -> list[str]:
    """Keys of the experiments that learn: running and paused ones, for feedback of a paused one still comes."""
    query = sa.select(experiments.c.key).where(experiments.c.state.in_(["running", "paused"]))
    return list(connection.scalars(query.order_by(experiments.c.key)))


def revisions(connection: sa.Connection) -> dict[str, tuple[int, int]]:
    """Version and allocation number of every experiment: when neither changed, nothing did."""
    query = sa.select(experiments.c.key, experiments.c.version, experiments.c.allocation)
    return {key: (version, allocation) for key, version, allocation in connection.execute(query)}


def with_allocation(connection: sa.Connection, keys: Sequence[str]) -> list[tuple[Experiment, AllocationRecord]]:
    """Experiments together with their allocations in force, as of one moment."""
    columns = [column.label(f"allocation_{column.name}") for column in allocations.c]
    in_force = sa.and_(allocations.c.experiment == experiments.c.key, allocations.c.number == experiments.c.allocation)
    query = sa.select(experiments, *columns).join(allocations, in_force).where(experiments.c.key.in_(keys))
    return [(_experiment(row), _allocation(row)) for row in connection.execute(query).mappings()]


def add(connection: sa.Connection, key: str, specification: Specification, state: State, salt: bytes) -> bool:
    """Inserts an experiment, locked until the transaction ends; False when the key is taken."""
    query = insert(experiments).values(
        key=key,
        specification=msgspec.to_builtins(specification),
        state=state,
        version=1,
        epoch=1,
        allocation=0,
        salt=salt,
    )
    return connection.execute(query.on_conflict_do_nothing().returning(experiments.c.key)).first() is not None


def replace(connection: sa.Connection, old: Experiment, specification: Specification, *, epoch: int) -> None:
    """Stores another specification. The experiment must be locked."""
    changes = {"specification": msgspec.to_builtins(specification), "epoch": epoch}
    _update(connection, old, changes)


def set_state(connection: sa.Connection, old: Experiment, state: State) -> None:
    """Stores another state. The experiment must be locked."""
    _update(connection, old, {"state": state})


def arms_of(connection: sa.Connection, key: str) -> list[ArmRecord]:
    """All arms that an experiment ever had, in order."""
    query = sa.select(arms).where(arms.c.experiment == key).order_by(arms.c.position, arms.c.key)
    return [
        ArmRecord(
            key=row["key"],
            position=row["position"],
            version=row["version"],
            since_epoch=row["since_epoch"],
            state=row["state"],
            specification=msgspec.convert(row["specification"], Arm),
        )
        for row in connection.execute(query).mappings()
    ]


def save_arms(connection: sa.Connection, key: str, records: Sequence[ArmRecord]) -> None:
    """Inserts or replaces arms."""
    rows = [
        {
            "experiment": key,
            "key": record.key,
            "position": record.position,
            "version": record.version,
            "since_epoch": record.since_epoch,
            "state": record.state,
            "specification": msgspec.to_builtins(record.specification),
        }
        for record in records
    ]
    statement = insert(arms).values(rows)
    replaced = ("position", "version", "since_epoch", "state", "specification")
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["experiment", "key"], set_={name: statement.excluded[name] for name in replaced}
        )
    )


def _update(connection: sa.Connection, old: Experiment, changes: Mapping[str, Any]) -> None:
    query = sa.update(experiments).where(experiments.c.key == old.key)
    connection.execute(query.values(version=old.version + 1, updated_at=sa.func.now(), **changes))


def _allocation(row: sa.RowMapping) -> AllocationRecord:
    return AllocationRecord(**{column.name: row[f"allocation_{column.name}"] for column in allocations.c})


def _experiment(row: sa.RowMapping) -> Experiment:
    return Experiment(
        key=row["key"],
        specification=msgspec.convert(row["specification"], Specification),
        state=row["state"],
        version=row["version"],
        epoch=row["epoch"],
        allocation=row["allocation"],
        salt=bytes(row["salt"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
