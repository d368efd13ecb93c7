"""What operators do about alerts: look at them, acknowledge and silence them, and change their rules and channels."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec

from app.alerting.rules import in_force
from app.errors import Conflict, InvalidInput, NotFound
from app.store import alert_channels, alert_rules, audit, experiments
from app.store import alerts as store
from app.store.database import Connection, Database
from monitoring.alert_rules import AnyRule

__all__ = [
    "acknowledge",
    "channels",
    "end_silence",
    "get",
    "history",
    "labels_silenced",
    "listed",
    "put_channel",
    "put_channel_on",
    "put_rule",
    "put_rule_on",
    "remove_channel",
    "remove_channel_on",
    "remove_rule",
    "remove_rule_on",
    "rules",
    "silence",
    "silences",
]

Row = dict[str, Any]

_FLIPS = 20


def listed(
    database: Database, *, experiment: str | None, states: Collection[str], before: int | None, limit: int
) -> list[Row]:
    """Alerts with their last flips, the newest alerts first, a page at a time."""
    with database.transaction(snapshot=True) as connection:
        rows = store.page(connection, experiment=experiment, states=states, before=before, limit=limit)
        return _with_flips(connection, rows)


def get(database: Database, alert_id: int) -> Row:
    """One alert with its last flips.

    Raises:
        NotFound: it does not exist.
    """
    with database.transaction(snapshot=True) as connection:
        return _get(connection, alert_id)


def history(
    database: Database, *, experiment: str | None, since: datetime, before: int | None, limit: int
) -> list[Row]:
    """Changes of state since a moment, the newest first, a page at a time."""
    with database.transaction() as connection:
        return store.history(connection, experiment=experiment, since=since, before=before, limit=limit)


def labels_silenced(database: Database, now: datetime) -> list[Mapping[str, str]]:
    """The labels of each silence in force: an alert with all of them is told to nobody."""
    with database.transaction() as connection:
        return alert_rules.silences_in_force(connection, now)


def acknowledge(database: Database, alert_id: int, now: datetime, *, actor: str) -> Row:
    """Notes that somebody takes care of an alert, until it begins anew.

    Raises:
        NotFound: it does not exist.
        Conflict: it neither fires nor is about to.
    """
    with database.transaction() as connection:
        before = _get(connection, alert_id)
        if not store.acknowledge(connection, alert_id, by=actor, now=now):
            raise Conflict(f"Alert {alert_id} is {before['state']}: only pending and firing ones are acknowledged")
        audit.record(connection, actor=actor, action="acknowledge", subject=f"alert:{alert_id}")
        return _get(connection, alert_id)


def silences(database: Database, *, before: int | None, limit: int) -> list[Row]:
    """Silences, the newest first, a page at a time."""
    with database.transaction() as connection:
        return alert_rules.silences(connection, before=before, limit=limit)


def silence(
    database: Database, labels: dict[str, str], *, period: tuple[datetime, datetime], comment: str, actor: str
) -> Row:
    """Keeps alerts with these labels from being told, for a period.

    Raises:
        InvalidInput: it would end before it begins.
    """
    starts_at, ends_at = period
    if ends_at <= starts_at:
        raise InvalidInput.at("#/ends_at", f"{ends_at.isoformat()} is not after its start, {starts_at.isoformat()}")
    values = {
        "labels": labels,
        "starts_at": starts_at,
        "ends_at": ends_at,
        "comment": comment,
        "created_by": actor,
    }
    with database.transaction() as connection:
        made = alert_rules.add_silence(connection, values)
        after = {"labels": labels, "ends_at": ends_at.isoformat(), "comment": comment}
        audit.record(connection, actor=actor, action="silence", subject=f"silence:{made['id']}", after=after)
    return made


def end_silence(database: Database, silence_id: int, now: datetime, *, actor: str) -> Row:
    """Ends a silence; that it was stays on record.

    Raises:
        NotFound: it does not exist.
    """
    with database.transaction() as connection:
        ended = alert_rules.end_silence(connection, silence_id, now)
        if ended is None:
            raise NotFound(f"There is no silence {silence_id}")
        audit.record(connection, actor=actor, action="end", subject=f"silence:{silence_id}")
    return ended


def rules(database: Database, experiment: str) -> dict[str, AnyRule | str]:
    """The rules in force for an experiment ('': for every one) by key; in place of one that cannot be read, why."""
    with database.transaction() as connection:
        return in_force(alert_rules.rows(connection, experiment), experiment)


def put_rule(database: Database, experiment: str, key: str, rule: AnyRule, *, actor: str) -> None:
    """Stores a rule for an experiment, or for every one ('').

    Raises:
        NotFound: there is no such experiment.
    """
    with database.transaction() as connection:
        put_rule_on(connection, experiment, key, rule, actor=actor)


def put_rule_on(connection: Connection, experiment: str, key: str, rule: AnyRule, *, actor: str) -> None:
    """The same, within a transaction of the caller's."""
    if experiment and experiments.find(connection, experiment) is None:
        raise NotFound(f"There is no experiment {experiment!r}")
    before = alert_rules.rows(connection, experiment).get((experiment, key))
    alert_rules.put(connection, experiment, key, rule)
    after = msgspec.to_builtins(rule)
    audit.record(connection, actor=actor, action="put", subject=f"rule:{key}", before=before, after=after)


def remove_rule(database: Database, experiment: str, key: str, *, actor: str) -> None:
    """Deletes a stored rule: the default one with its key, if there is one, is in force again.

    Raises:
        NotFound: none is stored.
    """
    with database.transaction() as connection:
        remove_rule_on(connection, experiment, key, actor=actor)


def remove_rule_on(connection: Connection, experiment: str, key: str, *, actor: str) -> None:
    """The same, within a transaction of the caller's."""
    before = alert_rules.rows(connection, experiment).get((experiment, key))
    if not alert_rules.remove(connection, experiment, key):
        raise NotFound(f"No rule {key!r} is stored here; a default one is switched off by storing enabled: false")
    audit.record(connection, actor=actor, action="remove", subject=f"rule:{key}", before=before)


def channels(database: Database) -> list[Row]:
    """All webhooks; their secrets are told to nobody."""
    with database.transaction() as connection:
        return alert_channels.listed(connection)


def put_channel(database: Database, key: str, *, url: str, secret: str, actor: str) -> None:
    """Stores a webhook; one that was switched off is on again."""
    with database.transaction() as connection:
        put_channel_on(connection, key, url=url, secret=secret, actor=actor)


def put_channel_on(connection: Connection, key: str, *, url: str, secret: str, actor: str) -> None:
    """The same, within a transaction of the caller's."""
    alert_channels.put(connection, key, url=url, secret=secret)
    audit.record(connection, actor=actor, action="put", subject=f"channel:{key}", after={"url": url})


def remove_channel(database: Database, key: str, *, actor: str) -> None:
    """Deletes a webhook.

    Raises:
        NotFound: there is none.
    """
    with database.transaction() as connection:
        remove_channel_on(connection, key, actor=actor)


def remove_channel_on(connection: Connection, key: str, *, actor: str) -> None:
    """The same, within a transaction of the caller's."""
    if not alert_channels.remove(connection, key):
        raise NotFound(f"There is no channel {key!r}")
    audit.record(connection, actor=actor, action="remove", subject=f"channel:{key}")


def _get(connection: Connection, alert_id: int) -> Row:
    row = store.find(connection, alert_id)
    if row is None:
        raise NotFound(f"There is no alert {alert_id}")
    return _with_flips(connection, [row])[0]


def _with_flips(connection: Connection, rows: list[Row]) -> list[Row]:
    flips = store.flips_of(connection, [row["id"] for row in rows], most=_FLIPS)
    return [{**row, "flips": flips[row["id"]]} for row in rows]
