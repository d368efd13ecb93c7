"""What becomes of an event about a decision: it is accepted, a duplicate, unmatched, or rejected with the reason."""

from dataclasses import dataclass
from typing import Final, Literal

from app.store.events import Event

__all__ = ["ERASED", "Reason", "Rejection", "Status", "Verdict"]

Status = Literal["accepted", "duplicate", "unmatched", "rejected"]
# Why something cannot be used. `unreadable` and `failed` are said of records of the spool.
Reason = Literal["unknown_metric", "value_refused", "too_late", "no_decision", "unreadable", "failed", "erased"]
ERASED: Final = "erased"  # such events are not even kept in quarantine


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why an event cannot be used: in a word, in a sentence, and the field at fault (None: the event as a whole)."""

    reason: Reason
    detail: str
    field: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one event."""

    status: Status
    rejection: Rejection | None = None
    matched: Event | None = None  # the event with its decision, if it fits it
