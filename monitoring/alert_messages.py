"""Alerts as others read them: Alertmanager's API v2, its webhook format (version 4), and the signature of a webhook."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

__all__ = ["Message", "alertmanager_alert", "is_silenced", "signature", "webhook_body"]


class Message(Struct, frozen=True, kw_only=True):
    """What is to be told of an alert. Its labels are its identity, so all that changes is in the annotations."""

    fingerprint: str
    labels: Mapping[str, str]
    severity: str
    summary: str
    reason: str
    value: float | None
    began: datetime
    ended: datetime | None  # None: it fires
    runbook_url: str | None = None  # what to do about it

    @property
    def status(self) -> str:
        """As Alertmanager calls it."""
        return "firing" if self.ended is None else "resolved"

    @property
    def annotations(self) -> dict[str, str]:
        """What may change while the alert stays the same."""
        value = {} if self.value is None else {"value": f"{self.value:.6g}"}
        runbook = {"runbook_url": self.runbook_url} if self.runbook_url else {}
        return {"severity": self.severity, "summary": self.summary, "reason": self.reason, **value, **runbook}


def alertmanager_alert(message: Message, fires_until: datetime) -> dict[str, Any]:
    """One alert of `POST /api/v2/alerts`; one that fires ends at `fires_until` unless it is sent again."""
    return {
        "labels": dict(message.labels),
        "annotations": message.annotations,
        "startsAt": message.began.isoformat(),
        "endsAt": (message.ended or fires_until).isoformat(),
    }


def webhook_body(receiver: str, messages: Sequence[Message]) -> dict[str, Any]:
    """The body that Alertmanager's receivers know."""
    labels, annotations = [m.labels for m in messages], [m.annotations for m in messages]
    return {
        "version": "4",
        "groupKey": "croupier",
        "truncatedAlerts": 0,
        "status": "firing" if any(m.ended is None for m in messages) else "resolved",
        "receiver": receiver,
        "groupLabels": {},
        "commonLabels": _common(labels),
        "commonAnnotations": _common(annotations),
        "externalURL": "",
        "alerts": [_webhook_alert(message) for message in messages],
    }


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """The value of the signature header: HMAC-SHA256 of `timestamp.body`, so that an old message cannot be replayed."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def is_silenced(labels: Mapping[str, str], silences: Sequence[Mapping[str, str]]) -> bool:
    """Whether all labels of some silence are among these."""
    return any(silence.items() <= labels.items() for silence in silences)


def _webhook_alert(message: Message) -> dict[str, Any]:
    return {
        "status": message.status,
        "labels": dict(message.labels),
        "annotations": message.annotations,
        "startsAt": message.began.isoformat(),
        "endsAt": message.ended.isoformat() if message.ended else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": message.fingerprint,
    }


def _common(mappings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The pairs that all have."""
    first, *others = mappings
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
