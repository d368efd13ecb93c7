"""What is stored about one unit: its decisions, by the index on (unit, decision_id), and all else by their ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa

from app.ids import first_id_at
from app.store.database import Cursor, cursor_of
from app.store.decisions import DecisionRow
from app.store.tables import decisions, experiments, items

__all__ = [
    "EVER",
    "Population",
    "Range",
    "events_about",
    "is_known",
    "lately",
    "naming",
    "newest",
    "population",
    "sticky_epochs",
    "titles",
]

# The ids stand in the statements, so that the planner opens only the partitions that can hold them. The index gives a
# unit's decisions in the order of ids within each partition, and partitions are in that order too: it stops at LIMIT.
_NEWEST = """
SELECT row_to_json(d)::text FROM decisions d
WHERE unit = %(unit)s AND decision_id >= '{first}' AND decision_id < '{end}'{condition}
ORDER BY decision_id DESC LIMIT %(limit)s
"""
_EVENTS = "SELECT row_to_json(e)::text FROM {table} e WHERE decision_id = ANY('{{{ids}}}'::uuid[]) ORDER BY decision_id"

_POPULATION = sa.text("""
WITH counted AS (
    SELECT arm, sum(decisions)::bigint AS decisions, sum(exposures)::bigint AS exposures FROM decision_counts
    WHERE experiment = :experiment AND bucket >= :since AND bucket < :until GROUP BY arm
), rewarded AS (
    SELECT metric, sum(sum) AS total FROM arm_statistics
    WHERE experiment = :experiment AND bucket >= :since AND bucket < :until GROUP BY metric
)
SELECT coalesce((SELECT json_object_agg(arm, decisions) FROM counted WHERE decisions > 0), '{}') AS arms,
       coalesce((SELECT sum(exposures) FROM counted), 0)::bigint AS exposures,
       coalesce((SELECT json_object_agg(metric, total) FROM rewarded), '{}') AS totals
""")

# Every epoch has a contract, and the key of `unit_exposures` begins with experiment and epoch.
_STICKY = sa.text("""
SELECT u.experiment, u.epoch, u.unit FROM contracts c
JOIN unit_exposures u ON u.experiment = c.experiment AND u.epoch = c.epoch AND u.unit = :unit
ORDER BY u.experiment, u.epoch
""")


@dataclass(frozen=True, kw_only=True)
class Range:
    """Ids from the first up to, but without, the end."""

    first: UUID
    end: UUID

    @classmethod
    def between(cls, since: datetime, until: datetime) -> "Range":
        """The ids made from one moment up to another."""
        return cls(first=first_id_at(since), end=first_id_at(until))

    def before(self, end: UUID) -> "Range":
        """Those of them below another id."""
        return Range(first=self.first, end=min(self.end, end))


@dataclass(frozen=True, kw_only=True)
class Population:
    """What the statistics have of all units together."""

    arms: dict[str, int]  # decisions by arm
    exposures: int
    totals: dict[str, float]  # sum of the outcomes of exposures, by metric


EVER = Range.between(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


def newest(
    cursor: Cursor, unit: str, within: Range, *, experiment: str | None = None, limit: int = 1
) -> list[DecisionRow]:
    """A unit's decisions by id, the newest first."""
    condition = "" if experiment is None else " AND experiment = %(experiment)s"
    statement = _NEWEST.format(first=within.first, end=within.end, condition=condition)
    cursor.execute(statement, {"unit": unit, "experiment": experiment, "limit": limit})
    return [msgspec.json.decode(text, type=DecisionRow) for (text,) in cursor.fetchall()]


def lately(connection: sa.Connection, since: datetime, *, limit: int) -> list[dict[str, Any]]:
    """The newest decisions since a moment, of whichever units: `unit`, `experiment`, `arm`, `decided_at`."""
    c = decisions.c
    query = sa.select(c.unit, c.experiment, c.arm, c.decided_at).where(
        c.decision_id >= first_id_at(since), c.erased.is_not(True)
    )
    rows = connection.execute(query.order_by(c.decision_id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def events_about(cursor: Cursor, table: str, ids: Sequence[UUID]) -> list[dict[str, Any]]:
    """The rows of a table that are about some decisions, in the order of these."""
    if not ids:
        return []
    cursor.execute(_EVENTS.format(table=table, ids=",".join(map(str, ids))))
    return [msgspec.json.decode(text) for (text,) in cursor.fetchall()]


def population(connection: sa.Connection, experiment: str, day: datetime, end: datetime) -> Population:
    """What is counted of an experiment from the start of one UTC day up to that of another."""
    values = {"experiment": experiment, "since": day, "until": end}
    row = connection.execute(_POPULATION, values).one()
    return Population(arms=row.arms, exposures=row.exposures, totals=row.totals)


def titles(connection: sa.Connection, item_ids: Sequence[str]) -> dict[str, str]:
    """The titles of those items that the catalogue has one of."""
    query = sa.select(items.c.item_id, items.c.title).where(items.c.item_id.in_(item_ids), items.c.title.is_not(None))
    return dict(connection.execute(query).all())


def naming(connection: sa.Connection, unit: str) -> list[str]:
    """Keys of the experiments whose overrides name a unit."""
    named = experiments.c.specification.contains({"overrides": [{"units": [unit]}]})
    return list(connection.scalars(sa.select(experiments.c.key).where(named).order_by(experiments.c.key)))


def sticky_epochs(connection: sa.Connection, unit: str) -> list[dict[str, Any]]:
    """Experiments and epochs in which sticky assignment gave a unit an arm."""
    return [dict(row) for row in connection.execute(_STICKY, {"unit": unit}).mappings()]


def is_known(connection: sa.Connection, unit: str) -> bool:
    """Whether there is a decision for a unit, or an override that names it."""
    return bool(newest(cursor_of(connection), unit, EVER) or naming(connection, unit))
