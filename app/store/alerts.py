"""Alerts: one row a label set; a flip is a row written in the transaction that changes the state."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import alert_channels, alert_deliveries, alert_flips, alerts
from monitoring.alerts import Flip, Instance, Outcome, State

__all__ = [
    "AlertRow",
    "acknowledge",
    "current",
    "delete_old_flips",
    "find",
    "firing",
    "flips_of",
    "history",
    "instance_of",
    "page",
    "record_flip",
    "save",
    "to_announce",
]

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    """An alert as it is evaluated: who it is, and what came of it."""

    fingerprint: str
    experiment: str
    rule: str
    labels: Mapping[str, str]
    severity: str
    summary: str
    value: float | None
    outcome: Outcome
    was: State  # the state that the outcome was made from


def current(connection: sa.Connection, experiment: str) -> dict[str, Row]:
    """An experiment's alerts by fingerprint."""
    rows = connection.execute(sa.select(alerts).where(alerts.c.experiment == experiment)).mappings()
    return {row["fingerprint"]: dict(row) for row in rows}


def save(connection: sa.Connection, rows: Sequence[AlertRow], now: datetime) -> list[AlertRow]:
    """Stores outcomes; returns those whose state was no longer the one they were made from, and which were dropped."""
    return [row for row in rows if not _save(connection, row, now)]


def _save(connection: sa.Connection, row: AlertRow, now: datetime) -> bool:
    alert_id = _upsert(connection, row, now)
    if alert_id is None:
        return False
    if row.outcome.flip:
        record_flip(connection, alert_id, row.outcome.flip)
    return True


def _upsert(connection: sa.Connection, row: AlertRow, now: datetime) -> int | None:
    """The alert's id; None when somebody else has changed its state since it was read."""
    statement = insert(alerts).values(
        fingerprint=row.fingerprint,
        experiment=row.experiment,
        rule=row.rule,
        labels=dict(row.labels),
        misses=1 if row.outcome.undecided else 0,
        reason=row.outcome.flip.reason if row.outcome.flip else "",
        **_changing(row, now),
    )
    new = statement.excluded
    changes = {name: new[name] for name in _changing(row, now)} | {
        "misses": sa.case((new.undecided == "", 0), else_=alerts.c.misses + 1),
    }
    if row.outcome.undecided:
        changes.pop("value")
    if row.outcome.flip:
        changes |= {"reason": new.reason, **_acknowledgement(row.outcome.flip)}
    guarded = statement.on_conflict_do_update(
        index_elements=["fingerprint"], set_=changes, where=alerts.c.state == row.was
    )
    alert_id: int | None = connection.scalar(guarded.returning(alerts.c.id))
    return alert_id


def _changing(row: AlertRow, now: datetime) -> dict[str, Any]:
    """The columns that an evaluation replaces."""
    instance = row.outcome.instance
    return {
        "severity": row.severity,
        "summary": row.summary,
        "state": instance.state,
        "since": instance.since,
        "quiet_since": instance.quiet_since,
        "value": row.value,
        "undecided": row.outcome.undecided,
        "evaluated_at": now,
    }


def _acknowledgement(flip: Flip) -> dict[str, Any]:
    """Who has seen an alert has not seen the next one."""
    return {"acknowledged_by": None, "acknowledged_at": None} if flip.after in {"pending", "firing"} else {}


def record_flip(connection: sa.Connection, alert_id: int, flip: Flip) -> int:
    """Appends a flip, to be delivered to every channel that is on when somebody is to hear of it."""
    values = {
        "alert": alert_id,
        "before": flip.before,
        "after": flip.after,
        "value": flip.value,
        "reason": flip.reason,
        "at": flip.at,
    }
    number: int = connection.execute(sa.insert(alert_flips).values(**values).returning(alert_flips.c.id)).scalar_one()
    if flip.after in {"firing", "resolved"}:
        on = sa.select(alert_channels.c.key, sa.literal(number)).where(alert_channels.c.switched_off_at.is_(None))
        connection.execute(sa.insert(alert_deliveries).from_select(["channel", "flip"], on))
    return number


def page(
    connection: sa.Connection,
    *,
    experiment: str | None,
    states: Collection[str] | None,
    before: int | None,
    limit: int,
) -> list[Row]:
    """Alerts, the newest first; None: whatever it is."""
    query = sa.select(alerts).order_by(alerts.c.id.desc()).limit(limit)
    if experiment is not None:
        query = query.where(alerts.c.experiment == experiment)
    if states is not None:
        query = query.where(alerts.c.state.in_(states))
    if before is not None:
        query = query.where(alerts.c.id < before)
    return [dict(row) for row in connection.execute(query).mappings()]


def find(connection: sa.Connection, alert_id: int) -> Row | None:
    """One alert, or None."""
    row = connection.execute(sa.select(alerts).where(alerts.c.id == alert_id)).mappings().first()
    return dict(row) if row else None


def firing(connection: sa.Connection) -> dict[tuple[str, str, str], int]:
    """How many alerts fire, by experiment, rule and severity."""
    c = alerts.c
    query = sa.select(c.experiment, c.rule, c.severity, sa.func.count()).where(c.state == "firing")
    found = connection.execute(query.group_by(c.experiment, c.rule, c.severity))
    return {(experiment, rule, severity): count for experiment, rule, severity, count in found}


def flips_of(connection: sa.Connection, ids: Collection[int], *, most: int) -> dict[int, list[Row]]:
    """The newest flips of each alert, newest first."""
    rank = sa.func.row_number().over(partition_by=alert_flips.c.alert, order_by=alert_flips.c.id.desc()).label("rank")
    ranked = sa.select(alert_flips, rank).where(alert_flips.c.alert.in_(ids)).subquery()
    query = sa.select(ranked).where(ranked.c.rank <= most).order_by(ranked.c.id.desc())
    found: dict[int, list[Row]] = {alert_id: [] for alert_id in ids}
    for row in connection.execute(query).mappings():
        names = ("before", "after", "value", "reason", "at")
        found[row["alert"]].append({name: row[name] for name in names})
    return found


def history(
    connection: sa.Connection, *, experiment: str | None, since: datetime, before: int | None, limit: int
) -> list[Row]:
    """The newest flips since a moment, newest first, with the alert's id, experiment, rule, labels and severity."""
    c = alert_flips.c
    columns = (alerts.c.experiment, alerts.c.rule, alerts.c.labels, alerts.c.severity)
    query = sa.select(alert_flips, *columns).join(alerts, alerts.c.id == c.alert).where(c.at >= since)
    if experiment is not None:
        query = query.where(alerts.c.experiment == experiment)
    if before is not None:
        query = query.where(c.id < before)
    return [dict(row) for row in connection.execute(query.order_by(c.id.desc()).limit(limit)).mappings()]


def acknowledge(connection: sa.Connection, alert_id: int, *, by: str, now: datetime) -> bool:
    """Notes who has seen a pending or firing alert; False when it is neither."""
    query = sa.update(alerts).where(alerts.c.id == alert_id, alerts.c.state.in_(["pending", "firing"]))
    return connection.execute(query.values(acknowledged_by=by, acknowledged_at=now)).rowcount == 1


def to_announce(connection: sa.Connection, resolved_since: datetime, *, most: int) -> list[Row]:
    """Firing alerts with the moment they began, and those resolved lately, with when they ended too."""
    lately = sa.and_(alerts.c.state == "resolved", alerts.c.since >= resolved_since)
    began = (
        sa.select(sa.func.max(alert_flips.c.at))
        .where(alert_flips.c.alert == alerts.c.id, alert_flips.c.after == "firing")
        .scalar_subquery()
        .label("began")
    )
    query = sa.select(alerts, began).where(sa.or_(alerts.c.state == "firing", lately)).order_by(alerts.c.id)
    return [dict(row) for row in connection.execute(query.limit(most)).mappings()]


def delete_old_flips(connection: sa.Connection, before: datetime) -> int:
    """Deletes flips of before a moment, but for the last of each alert; returns how many."""
    last = sa.select(sa.func.max(alert_flips.c.id)).group_by(alert_flips.c.alert)
    query = sa.delete(alert_flips).where(alert_flips.c.at < before, alert_flips.c.id.not_in(last))
    return connection.execute(query).rowcount


def instance_of(row: Row | None, now: datetime) -> Instance:
    """An alert's state as it is stored; of one that was never stored, inactive."""
    if row is None:
        return Instance(since=now)
    return Instance(state=row["state"], since=row["since"], quiet_since=row["quiet_since"])
