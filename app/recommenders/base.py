"""What every recommender is: parameters that arrive as JSON, and one method that answers a query.

A recommender runs in web workers, on the path of a request. It is a pure function of the query and of an
immutable catalogue: no clock, no random state of its own, no input or output. The same query gives the same
answer.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from app.errors import CroupierError
from app.recommenders.catalogue import Catalogue

__all__ = [
    "MAX_ITEMS",
    "Item",
    "ItemId",
    "JsonValue",
    "Query",
    "Recommendation",
    "Recommender",
    "RecommenderFailed",
]

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


class Recommendation(msgspec.Struct, frozen=True):
    """What a recommender answers: items, best first, or a payload."""

    items: tuple[Item, ...] = ()
    payload: JsonValue | None = None


class Recommender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The base of every kind: fields are the kind's parameters, validated while an experiment is decoded."""

    @property
    def kind(self) -> str:
        """The word that stands for this kind in an experiment's specification."""
        return str(self.__struct_config__.tag)

    @property
    def reward_half_life_s(self) -> float | None:
        """With which half-life, in seconds, the counts for `prepare` decay; None when it wants none."""
        return None

    def prepare(self, catalogue: Catalogue, rewards: Mapping[str, float]) -> Catalogue:
        """The catalogue that `recommend` is to be given.

        Called off the request path, whenever the catalogue or the counts were loaded anew; the work that all
        requests share belongs here.

        Args:
            catalogue: the catalogue as loaded.
            rewards: decayed reward count of each item with rewards in this experiment.
        """
        del rewards
        return catalogue

    def recommend(self, query: Query, catalogue: Catalogue) -> Recommendation:
        """Up to `query.k` different items, best first; fewer where no more are fit.

        Raises:
            RecommenderFailed: there is no answer to this query.
        """
        raise NotImplementedError
