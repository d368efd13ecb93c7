"""What recommenders are asked and what they answer."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from app.errors import CroupierError

__all__ = ["MAX_ITEMS", "Item", "ItemId", "JsonValue", "Query", "Recommendation", "RecommenderFailed"]

MAX_ITEMS = 500
"""The largest `k` that a request may ask for."""

JsonValue: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any]
"""Any JSON value but null: an absent payload is null."""

ItemId: TypeAlias = str


class RecommenderFailed(CroupierError):
    """The recommender could not answer.

    The caller falls back to another recommender, and shows `reason` to operators.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Item(msgspec.Struct, frozen=True):
    """One recommended item, as it goes to the client."""

    item_id: ItemId
    score: float | None = None  # comparable within one answer only; null where the kind has no scores


class Query(msgspec.Struct, frozen=True):
    """What a recommender is asked."""

    unit: str
    context: Mapping[str, object]  # as the client sent it: each recommender checks what it uses
    k: int  # 1 to MAX_ITEMS, checked by the caller
    seed: int  # 64 bit, made from the decision id: a retry is the same query
    patience: float = 1.0  # share of its own deadline that a recommender may take: less when it is the fallback


class Recommendation(msgspec.Struct, frozen=True):
    """What a recommender answers: items, best first, or a payload."""

    items: tuple[Item, ...] = ()
    payload: JsonValue | None = None
