"""A Python function in the service itself."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.catalogue import Catalogue
from app.recommenders.foreign import UnknownItems, recommendation
from app.recommenders.functions import PythonFunctions
from app.recommenders.values import Item, Query, Recommendation, RecommenderFailed

__all__ = ["Python"]


class Python(Recommender, frozen=True, tag="python"):
    """Answers with what a function returns: `function(unit, context, k, **parameters)` → ids, or pairs (id, score).

    It runs in the web worker on the path of a request, with no deadline but its own: while it computes, the worker's
    other requests wait.

    Example: `{"kind": "python", "target": "shop.ranking:for_you", "parameters": {"season": "winter"}}`.
    """

    target: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="`module:callable`, or the name of an entry point of group `croupier.recommenders`.",
        ),
    ]
    parameters: Annotated[dict[str, Any], Meta(description="Passed to the function as keyword arguments.")] = (
        msgspec.field(default_factory=dict)
    )
    unknown_items: UnknownItems = "drop"

    @property
    def waits(self) -> bool:
        """The function may ask a service of its own."""
        return True

    def obstacle(self, sources: Sources) -> str | None:
        """Why the function cannot be had here."""
        try:
            sources.functions.get(self.target)
        except RecommenderFailed as failure:
            return failure.reason
        return None

    def prepare(self, sources: Sources) -> Answerer:
        """Imports the function; one that cannot be had fails the queries."""
        self.obstacle(sources)
        return partial(self._answer, sources.functions, sources.catalogue)

    def _answer(self, functions: PythonFunctions, catalogue: Catalogue, query: Query) -> Recommendation:
        """What the function returns, the first k different items.

        Raises:
            RecommenderFailed: the function cannot be had, raised an exception, or returned something else.
        """
        function = functions.get(self.target)
        try:
            # A copy: what the function does with it must not change what is logged.
            returned = function(query.unit, dict(query.context), query.k, **self.parameters)
            return recommendation(_items(returned), query, catalogue, self.unknown_items)
        except RecommenderFailed:
            raise
        except Exception as error:
            raise RecommenderFailed(f"{self.target!r} raised {type(error).__name__}: {error}") from error


def _items(returned: Iterable[Any]) -> Iterator[Item]:
    """Ids and pairs as items."""
    if isinstance(returned, str | bytes | dict) or not isinstance(returned, Iterable):
        raise RecommenderFailed(f"a list of item ids or pairs (id, score) is wanted, not a {type(returned).__name__}")
    for one in returned:
        if isinstance(one, tuple | list):
            item_id, score = one
            yield Item(item_id, None if score is None else float(score))
        else:
            yield Item(one)
