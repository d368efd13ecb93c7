"""What goes in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Decision", "Event", "Item"]


@dataclass(frozen=True, kw_only=True)
class Item:
    """A recommended item; scores compare within one list only."""

    item_id: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """An answer. Without the service it has the fallback list, no arm, and nothing is learned from it."""

    decision_id: str
    experiment: str
    arm: str | None
    items: tuple[Item, ...]
    payload: Any = None
    propensity: float | None = None
    allocation: int | None = None
    reason: str = "away"
    served_arm: str | None = None
    durability: str | None = None

    @property
    def is_fallback(self) -> bool:
        """Whether the service did not answer, and this is the client's own list."""
        return self.arm is None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Decision":
        """An answer of the service; members that this version does not know are left out."""
        known = {name: answer[name] for name in cls.__dataclass_fields__ if name in answer}
        items = tuple(Item(item_id=one["item_id"], score=one.get("score")) for one in answer["items"])
        return cls(**{**known, "items": items})

    @classmethod
    def without_service(cls, decision_id: str, experiment: str, items: Sequence[str]) -> "Decision":
        """The fallback list."""
        return cls(
            decision_id=decision_id, experiment=experiment, arm=None, items=tuple(Item(item_id=one) for one in items)
        )


@dataclass(frozen=True, kw_only=True)
class Event:
    """Feedback about a decision. It has an id and a moment of its own, so it can be sent twice, and late."""

    decision_id: str
    value: float
    event_id: str
    occurred_at: str
    metric: str | None = None
    item_id: str | None = None
    position: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As the service takes it."""
        return {name: value for name, value in vars(self).items() if value is not None}


def moment_now() -> str:
    """Now, as the service reads it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
