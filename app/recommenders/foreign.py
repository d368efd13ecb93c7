"""Items that came from outside, a model server or somebody's function, as a recommendation."""

import math
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from app.recommenders.catalogue import Catalogue
from app.recommenders.values import Item, Query, Recommendation, RecommenderFailed

__all__ = ["UnknownItems", "recommendation"]

_LONGEST_ID = 256

UnknownItems: TypeAlias = Annotated[
    Literal["drop", "keep"],
    Meta(description="Items that are not in the catalogue: left out, or given too. An empty catalogue knows no items."),
]


def recommendation(
    items: Iterable[Item], query: Query, catalogue: Catalogue, unknown_items: UnknownItems
) -> Recommendation:
    """The first k different items, in the order in which they came.

    Raises:
        RecommenderFailed: an id or a score is none, or no item is left.
    """
    known = catalogue.rows if unknown_items == "drop" and len(catalogue) else None
    chosen: dict[str, Item] = {}
    unknown = 0
    for item in items:
        _check(item)
        if known is not None and item.item_id not in known:
            unknown += 1
        else:
            chosen.setdefault(item.item_id, item)
        if len(chosen) == query.k:
            break
    if not chosen:
        raise RecommenderFailed(f"the answer has no items{f' but {unknown} not in the catalogue' if unknown else ''}")
    return Recommendation(items=tuple(chosen.values()))


def _check(item: Item) -> None:
    if not isinstance(item.item_id, str):
        raise RecommenderFailed(f"item ids must be strings, not {type(item.item_id).__name__}")
    if not 1 <= len(item.item_id) <= _LONGEST_ID or "\0" in item.item_id:
        raise RecommenderFailed(f"{item.item_id[:20]!r} is no item id: 1 to {_LONGEST_ID} characters, none U+0000")
    if item.score is not None and not math.isfinite(item.score):
        raise RecommenderFailed(f"item {item.item_id!r} has score {item.score}, which is not finite")
