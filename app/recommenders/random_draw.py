"""Items drawn at random: the arm that explores the catalogue, and a floor to compare with."""

from functools import partial
from typing import Annotated

import numpy as np
from msgspec import Meta

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.catalogue import Catalogue
from app.recommenders.seen import seen_rows
from app.recommenders.values import Item, Query, Recommendation, RecommenderFailed

__all__ = ["Random"]


class Random(Recommender, frozen=True, tag="random"):
    """Answers with items drawn uniformly, without replacement, in random order.

    The draw is seeded by the query, so a retry of a request gives the same items (from the same catalogue).

    Example: `{"kind": "random"}`.
    """

    exclude_seen: Annotated[
        bool, Meta(description="Leave out the items named in `context.item_id` and `context.history`.")
    ] = True

    def prepare(self, sources: Sources) -> Answerer:
        """Answers from the catalogue as it is."""
        return partial(self._answer, sources.catalogue)

    def _answer(self, catalogue: Catalogue, query: Query) -> Recommendation:
        """A simple random sample of the items that the user has not seen; it has no scores.

        Raises:
            RecommenderFailed: the catalogue has no items, or the user has seen them all.
        """
        seen = seen_rows(query.context, catalogue) if self.exclude_seen else frozenset()
        # A sample of k + |seen| items, less the seen ones, is a uniform sample of the others.
        size = min(query.k + len(seen), len(catalogue))
        drawn = np.random.default_rng(query.seed).choice(len(catalogue), size, replace=False) if size else ()
        rows = [int(row) for row in drawn if row not in seen][: query.k]
        if not rows:
            raise RecommenderFailed("the catalogue has no items that this user has not seen")
        return Recommendation(items=tuple(Item(catalogue.ids[row]) for row in rows))
