"""A given list of items: an editor's choice, or the list of last resort."""

from typing import Annotated

from msgspec import Meta

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.seen import seen_items
from app.recommenders.values import Item, ItemId, Query, Recommendation, RecommenderFailed

__all__ = ["Static"]

ListedId = Annotated[ItemId, Meta(min_length=1, max_length=256)]


class Static(Recommender, frozen=True, tag="static"):
    """Answers with the first k items of its list, which need not be in the catalogue.

    Example: `{"kind": "static", "items": ["1008", "1034", "1004"]}`.
    """

    items: Annotated[
        tuple[ListedId, ...],
        Meta(min_length=1, max_length=500, description="Different item ids, best first."),
    ]
    exclude_seen: Annotated[
        bool, Meta(description="Leave out the items named in `context.item_id` and `context.history`.")
    ] = False

    def __post_init__(self) -> None:
        if len(set(self.items)) < len(self.items):
            repeated = next(item for item in self.items if self.items.count(item) > 1)
            raise ValueError(f"items must differ: {repeated!r} is listed twice")

    def prepare(self, sources: Sources) -> Answerer:
        """Answers from the list; nothing else is needed."""
        del sources
        return self._answer

    def _answer(self, query: Query) -> Recommendation:
        """The head of the list.

        Raises:
            RecommenderFailed: the user has seen every item of the list.
        """
        seen = seen_items(query.context) if self.exclude_seen else frozenset()
        items = [Item(item_id) for item_id in self.items if item_id not in seen][: query.k]
        if not items:
            raise RecommenderFailed("every item of the list is in the context's item_id or history")
        return Recommendation(items=tuple(items))
