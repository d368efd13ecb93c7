"""Webhooks that alerts are delivered to, and what is still to be sent to each."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.store.tables import alert_channels, alert_deliveries, alert_flips, alerts

__all__ = ["delivered", "due", "failed", "listed", "put", "remove", "switch_off", "waiting", "with_secrets"]

Row = dict[str, Any]


def listed(connection: sa.Connection) -> list[Row]:
    """All channels, without their secrets."""
    shown = [column for column in alert_channels.c if column.name != "secret"]
    return [dict(row) for row in connection.execute(sa.select(*shown).order_by(alert_channels.c.key)).mappings()]


def with_secrets(connection: sa.Connection) -> list[tuple[str, str, str]]:
    """Key, URL and secret of all channels, for who compares them."""
    c = alert_channels.c
    return [(key, url, secret) for key, url, secret in connection.execute(sa.select(c.key, c.url, c.secret))]


def put(connection: sa.Connection, key: str, *, url: str, secret: str) -> None:
    """Inserts or replaces a channel, which is on then."""
    statement = insert(alert_channels).values(key=key, url=url, secret=secret)
    changes = {
        "url": url,
        "secret": secret,
        "attempts": 0,
        "retry_at": None,
        "switched_off_at": None,
        "fault": None,
        "updated_at": sa.func.now(),
    }
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=changes))


def remove(connection: sa.Connection, key: str) -> bool:
    """Deletes a channel and what was still to be sent to it; False when there is none."""
    return connection.execute(sa.delete(alert_channels).where(alert_channels.c.key == key)).rowcount == 1


def due(connection: sa.Connection, now: datetime) -> list[Row]:
    """Channels that are on, have something to be sent, and need not wait for another try."""
    c = alert_channels.c
    has_some = sa.exists().where(alert_deliveries.c.channel == c.key)
    rested = sa.or_(c.retry_at.is_(None), c.retry_at <= now)
    query = sa.select(alert_channels).where(c.switched_off_at.is_(None), rested, has_some).order_by(c.key)
    return [dict(row) for row in connection.execute(query).mappings()]


def waiting(connection: sa.Connection, channel: str, most: int) -> list[Row]:
    """What is to be sent to a channel: flips with their alerts, in order."""
    f, earlier = alert_flips.c, alert_flips.alias()
    began = (
        sa.select(sa.func.max(earlier.c.at))
        .where(earlier.c.alert == f.alert, earlier.c.after == "firing", earlier.c.id <= f.id)
        .scalar_subquery()
    )
    query = (
        sa.select(f.id.label("flip"), f.after, f.at, f.value, f.reason, began.label("began"), *_identity())
        .join(alert_flips, f.id == alert_deliveries.c.flip)
        .select_from(alert_deliveries)
        .join(alerts, alerts.c.id == f.alert)
        .where(alert_deliveries.c.channel == channel)
        .order_by(f.id)
        .limit(most)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def delivered(connection: sa.Connection, channel: str, flips: Collection[int]) -> None:
    """A receiver has these."""
    mine = sa.and_(alert_deliveries.c.channel == channel, alert_deliveries.c.flip.in_(flips))
    connection.execute(sa.delete(alert_deliveries).where(mine))
    fine = {"attempts": 0, "retry_at": None, "fault": None}
    connection.execute(sa.update(alert_channels).where(alert_channels.c.key == channel).values(**fine))


def failed(connection: sa.Connection, channel: str, fault: str, retry_at: datetime) -> None:
    """A receiver may take it later."""
    changes = {"attempts": alert_channels.c.attempts + 1, "retry_at": retry_at, "fault": fault}
    connection.execute(sa.update(alert_channels).where(alert_channels.c.key == channel).values(**changes))


def switch_off(connection: sa.Connection, channel: str, fault: str, now: datetime) -> None:
    """A receiver will never take it: nothing is sent any more, and what was to be is forgotten."""
    changes = {"switched_off_at": now, "fault": fault, "retry_at": None}
    connection.execute(sa.update(alert_channels).where(alert_channels.c.key == channel).values(**changes))
    connection.execute(sa.delete(alert_deliveries).where(alert_deliveries.c.channel == channel))


def _identity() -> list[sa.Column[Any]]:
    c = alerts.c
    return [c.fingerprint, c.experiment, c.rule, c.labels, c.severity, c.summary]
