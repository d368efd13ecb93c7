"""What the events about decisions have in common."""

from collections.abc import Hashable
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

__all__ = ["Event"]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event about a decision, as a frontend sent it, with its defaults filled in."""

    kind: ClassVar[str]
    decision_id: UUID
    occurred_at: datetime
    permitted: tuple[str, ...] | None = None  # the experiments that its sender's key is for; None: every one

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What makes it the same event when it comes again."""
        return (self.decision_id,)
