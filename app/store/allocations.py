"""Allocations: numbered, immutable, kept as history. The experiment's row points at the one in force."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.tables import allocations, experiments

__all__ = ["AllocationRecord", "Origin", "find", "history", "origins_of", "probabilities_of", "publish"]


@dataclass(frozen=True, kw_only=True)
class AllocationRecord:
    """A row of `allocations`. Vectors over arms are mappings by arm key."""

    experiment: str
    number: int
    version: int  # of the specification it was made for
    epoch: int
    reason: str  # warm_up, config or learned
    probabilities: Mapping[str, float]
    posterior: Mapping[str, Mapping[str, float]]
    evidence: Mapping[str, Mapping[str, float]]  # the statistics it was made from
    data_as_of: datetime
    created_at: datetime
    shadow: Mapping[str, Any] | None  # "declared": as the specification has it; "probabilities": what it gives each arm
    means: Mapping[str, float]  # posterior mean rewards; empty of allocations that are older than this column

    @property
    def origin(self) -> "Origin":
        """Where it comes from."""
        return Origin(number=self.number, reason=self.reason, data_as_of=self.data_as_of)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an allocation comes from, without its vectors."""

    number: int
    reason: str
    data_as_of: datetime


def find(connection: sa.Connection, experiment: str, number: int) -> AllocationRecord | None:
    """One allocation, or None."""
    query = sa.select(allocations).where(allocations.c.experiment == experiment, allocations.c.number == number)
    row = connection.execute(query).mappings().first()
    return AllocationRecord(**row) if row else None


def origins_of(connection: sa.Connection, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], Origin]:
    """Where some allocations come from, by experiment and number; those that are not kept any more are left out."""
    columns = (allocations.c.experiment, allocations.c.number, allocations.c.reason, allocations.c.data_as_of)
    rows = connection.execute(sa.select(*columns).where(sa.tuple_(*columns[:2]).in_(keys)))
    return {
        (experiment, number): Origin(number=number, reason=reason, data_as_of=data_as_of)
        for experiment, number, reason, data_as_of in rows
    }


def probabilities_of(
    connection: sa.Connection, experiment: str, numbers: Iterable[int]
) -> dict[int, Mapping[str, float]]:
    """The probabilities of all arms, by the numbers of some allocations."""
    query = sa.select(allocations.c.number, allocations.c.probabilities).where(
        allocations.c.experiment == experiment, allocations.c.number.in_(numbers)
    )
    return dict(connection.execute(query).all())


def history(
    connection: sa.Connection, experiment: str, *, since: datetime | None, before: int | None, limit: int
) -> list[AllocationRecord]:
    """The newest allocations first, of those created since a moment and numbered below `before`."""
    query = sa.select(allocations).where(allocations.c.experiment == experiment)
    if since is not None:
        query = query.where(allocations.c.created_at >= since)
    if before is not None:
        query = query.where(allocations.c.number < before)
    rows = connection.execute(query.order_by(allocations.c.number.desc()).limit(limit)).mappings()
    return [AllocationRecord(**row) for row in rows]


def publish(connection: sa.Connection, values: Mapping[str, Any]) -> None:
    """Inserts an allocation and puts it in force. The experiment must be locked."""
    connection.execute(sa.insert(allocations).values(**values))
    query = sa.update(experiments).where(experiments.c.key == values["experiment"])
    connection.execute(query.values(allocation=values["number"]))
