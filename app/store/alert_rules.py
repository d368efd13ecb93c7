"""Stored rules of alerts, and silences."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import alert_rules, alert_silences
from monitoring.alert_rules import AnyRule

__all__ = ["add_silence", "end_silence", "put", "remove", "rows", "silences", "silences_in_force"]

Row = dict[str, Any]


def rows(connection: sa.Connection, experiment: str | None = None) -> dict[tuple[str, str], Any]:
    """Stored rules as JSON by (experiment, key): all, or those of an experiment and of every one ('')."""
    query = sa.select(alert_rules.c.experiment, alert_rules.c.key, alert_rules.c.rule)
    if experiment is not None:
        query = query.where(alert_rules.c.experiment.in_(["", experiment]))
    return {(of, key): rule for of, key, rule in connection.execute(query.order_by(*alert_rules.primary_key))}


def put(connection: sa.Connection, experiment: str, key: str, rule: AnyRule) -> None:
    """Inserts or replaces a rule."""
    statement = insert(alert_rules).values(experiment=experiment, key=key, rule=msgspec.to_builtins(rule))
    changes = {"rule": statement.excluded.rule, "updated_at": sa.func.now()}
    connection.execute(statement.on_conflict_do_update(index_elements=["experiment", "key"], set_=changes))


def remove(connection: sa.Connection, experiment: str, key: str) -> bool:
    """Deletes a rule; False when there is none."""
    mine = sa.and_(alert_rules.c.experiment == experiment, alert_rules.c.key == key)
    return connection.execute(sa.delete(alert_rules).where(mine)).rowcount == 1


def silences(connection: sa.Connection, *, before: int | None, limit: int) -> list[Row]:
    """Silences, the newest first."""
    query = sa.select(alert_silences).order_by(alert_silences.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(alert_silences.c.id < before)
    return [dict(row) for row in connection.execute(query).mappings()]


def silences_in_force(connection: sa.Connection, now: datetime) -> list[Mapping[str, str]]:
    """The labels of each silence that has begun and not ended."""
    c = alert_silences.c
    return list(connection.scalars(sa.select(c.labels).where(c.starts_at <= now, c.ends_at > now)))


def add_silence(connection: sa.Connection, values: Mapping[str, Any]) -> Row:
    """Inserts a silence; returns its row."""
    statement = sa.insert(alert_silences).values(**values).returning(*alert_silences.c)
    return dict(connection.execute(statement).mappings().one())


def end_silence(connection: sa.Connection, silence_id: int, now: datetime) -> Row | None:
    """Ends a silence now, if it has not ended; returns its row, or None when there is none. Its row stays."""
    c = alert_silences.c
    changes = {"ends_at": sa.func.least(c.ends_at, now), "starts_at": sa.func.least(c.starts_at, now)}
    statement = sa.update(alert_silences).where(c.id == silence_id).values(**changes)
    row = connection.execute(statement.returning(*alert_silences.c)).mappings().first()
    return dict(row) if row else None
