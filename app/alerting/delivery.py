"""Tells others of alerts, after they are committed, at least once: the log, webhooks, Alertmanager."""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from app.outgoing import Guard, post
from app.store import alert_channels, alert_rules
from app.store import alerts as store
from app.store.alerts import AlertRow
from app.store.database import Database
from monitoring.alert_messages import Message, alertmanager_alert, is_silenced, signature, webhook_body
from monitoring.alert_rules import DEFAULT_RULES

__all__ = ["SIGNATURE_HEADER", "announce", "deliver", "tell_log"]

log = logging.getLogger(__name__)

SIGNATURE_HEADER = "Croupier-Signature"
_TIMEOUT = urllib3.Timeout(connect=3, read=5)
_PATIENCE_S = 8.0
_RESOLVED_FOR = timedelta(minutes=5)
_INTERVALS = 4
_MOST_ALERTS = 5_000
_CHUNK = 100
_FIRST_REST, _LONGEST_REST = timedelta(seconds=5), timedelta(minutes=15)
# Of the refusals (4xx) only these may be taken back.
_MAY_PASS = {408, 425, 429}


def tell_log(flipped: Sequence[AlertRow]) -> None:
    """A line for each flip that somebody should hear of."""
    for row in flipped:
        flip = row.outcome.flip
        if flip and flip.after in {"firing", "resolved"}:
            told = {"labels": row.labels, "severity": row.severity, "value": flip.value, "reason": flip.reason}
            log.warning("alert %s: %s", flip.after, row.rule, extra=told)


def announce(
    database: Database,
    pool: urllib3.PoolManager,
    urls: Sequence[str],
    now: datetime,
    interval: timedelta,
    *,
    runbook_url: str | None = None,
) -> int:
    """Sends all firing alerts, and those resolved lately, to every Alertmanager; returns how many of them failed.

    An Alertmanager knows doubles by their labels, so that sending all again each pass needs no memory of what was sent.
    """
    if not urls:
        return 0
    with database.transaction() as connection:
        rows = store.to_announce(connection, now - _RESOLVED_FOR, most=_MOST_ALERTS)
        silences = alert_rules.silences_in_force(connection, now)
    heard = [row for row in rows if not is_silenced(row["labels"], silences)]
    messages = [_message(row, row["state"], row["since"], runbook_url) for row in heard]
    alerts = [alertmanager_alert(message, now + _INTERVALS * interval) for message in messages]
    return sum(not _announce_to(pool, url, alerts) for url in urls)


def deliver(database: Database, guard: Guard, now: datetime, *, runbook_url: str | None = None) -> None:
    """Sends what waits for each webhook that is due."""
    with database.transaction() as connection:
        due = alert_channels.due(connection, now)
        silences = alert_rules.silences_in_force(connection, now)
    for channel in due:
        while _deliver_some(database, guard, channel, silences, now, runbook_url=runbook_url):
            pass


def _deliver_some(
    database: Database,
    guard: Guard,
    channel: Mapping[str, Any],
    silences: Sequence[Mapping[str, str]],
    now: datetime,
    *,
    runbook_url: str | None,
) -> bool:
    """One request; says whether there may be more to send now. A silence holds back what fires, not that it ended."""
    key = channel["key"]
    with database.transaction() as connection:
        rows = _distinct(alert_channels.waiting(connection, key, _CHUNK))
    if not rows:
        return False
    heard = [row for row in rows if row["after"] == "resolved" or not is_silenced(row["labels"], silences)]
    messages = [_message(row, row["after"], row["at"], runbook_url) for row in heard]
    fault, is_final = _post(guard, channel, messages, now) if messages else ("", False)
    with database.transaction() as connection:
        if not fault:
            alert_channels.delivered(connection, key, [row["flip"] for row in rows])
        elif is_final:
            alert_channels.switch_off(connection, key, fault, now)
        else:
            rest = min(_FIRST_REST * 2 ** min(channel["attempts"], 20), _LONGEST_REST)
            alert_channels.failed(connection, key, fault, now + rest)
    if fault:
        log.warning("webhook %s %s: %s", key, "is switched off" if is_final else "failed", fault)
    return not fault


def _post(guard: Guard, channel: Mapping[str, Any], messages: Sequence[Message], now: datetime) -> tuple[str, bool]:
    """Sends a signed request; what was wrong, and whether it always will be."""
    body = msgspec.json.encode(webhook_body(channel["key"], messages))
    headers = {
        "Content-Type": "application/json",
        SIGNATURE_HEADER: signature(channel["secret"], int(now.timestamp()), body),
    }
    try:
        status = post(channel["url"], body, headers, guard, timeout_s=_PATIENCE_S)
    except (OSError, HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}", False
    if 200 <= status < 300:
        return "", False
    return f"it answered {status}", 300 <= status < 500 and status not in _MAY_PASS


def _announce_to(pool: urllib3.PoolManager, url: str, alerts: Sequence[Mapping[str, Any]]) -> bool:
    for start in range(0, len(alerts), _CHUNK):
        body = msgspec.json.encode(alerts[start : start + _CHUNK])
        headers = {"Content-Type": "application/json"}
        try:
            answer = pool.request("POST", f"{url.rstrip('/')}/api/v2/alerts", body=body, headers=headers, **_ONCE)
        except HTTPError as error:
            log.warning("Alertmanager %s does not answer: %s", url, error)
            return False
        if answer.status != 200:
            log.warning(
                "Alertmanager %s answered %d: %s", url, answer.status, answer.data[:500].decode("utf-8", "replace")
            )
            return False
    return True


_ONCE: Mapping[str, Any] = {"retries": False, "redirect": False, "timeout": _TIMEOUT}


def _distinct(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows, up to one about an alert that is among them already: a message tells of each alert once."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["fingerprint"] in found:
            break
        found[row["fingerprint"]] = row
    return list(found.values())


def _message(row: Mapping[str, Any], state: str, at: datetime, runbook_url: str | None) -> Message:
    return Message(
        fingerprint=row["fingerprint"],
        labels=row["labels"],
        severity=row["severity"],
        summary=row["summary"],
        reason=row["reason"],
        value=row["value"],
        began=row["began"] or at,
        ended=at if state == "resolved" else None,
        # The page has a section for each default rule; what operators add is theirs to explain.
        runbook_url=f"{runbook_url}#{row['rule']}" if runbook_url and row["rule"] in DEFAULT_RULES else None,
    )
