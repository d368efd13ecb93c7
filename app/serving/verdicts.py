"""What becomes of an event about a decision: it is accepted, a duplicate, unmatched, or rejected with the reason."""

from dataclasses import dataclass
from typing import Final, Literal

from app.store.events import Event

__all__ = ["ERASED", "KEPT_NOWHERE", "NOT_PERMITTED", "Reason", "Rejection", "Status", "Verdict"]

Status = Literal["accepted", "duplicate", "unmatched", "rejected"]
# Why something cannot be used. `unreadable` and `failed` are said of records of the spool.
Reason = Literal[
    "unknown_metric", "value_refused", "too_late", "no_decision", "unreadable", "failed", "erased", "not_permitted"
]
ERASED: Final = "erased"
NOT_PERMITTED: Final = "not_permitted"
# Not even in quarantine: a name that is to be forgotten, and what a key may not say, which else would show there.
KEPT_NOWHERE: Final = (ERASED, NOT_PERMITTED)


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
