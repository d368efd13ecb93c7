"""More like this: the nearest neighbours of the item at hand, or of what the user has seen."""

from functools import partial
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.catalogue import Catalogue
from app.recommenders.seen import current_item, history, seen_rows
from app.recommenders.values import Item, Query, Recommendation, RecommenderFailed

__all__ = ["Similar"]


class Similar(Recommender, frozen=True, tag="similar"):
    """Answers with the items whose feature vectors have the largest cosine with the query's vector.

    The query's vector is that of `context.item_id`; without it (or without features of it), the mean of the
    vectors of the last `history_length` known items of `context.history`. Items without features are never an
    answer.

    Example: `{"kind": "similar", "history_length": 20}`.
    """

    history_length: Annotated[
        int, Meta(ge=1, le=1000, description="How many items at the end of `context.history` count.")
    ] = 50
    exclude_seen: Annotated[
        bool, Meta(description="Leave out the items named in `context.item_id` and `context.history`.")
    ] = True

    def prepare(self, sources: Sources) -> Answerer:
        """Answers from the catalogue as it is."""
        return partial(self._answer, sources.catalogue)

    def _answer(self, catalogue: Catalogue, query: Query) -> Recommendation:
        """The nearest neighbours, nearest first; the score is the cosine, from -1 to 1.

        Raises:
            RecommenderFailed: the context is malformed or names no item with features, or no item is left.
        """
        cosine = catalogue.features @ self._vector(query, catalogue)
        cosine[~catalogue.featured] = -np.inf
        if self.exclude_seen:
            cosine[list(seen_rows(query.context, catalogue))] = -np.inf
        rows = [row for row in _largest(cosine, query.k) if cosine[row] > -np.inf]
        if not rows:
            raise RecommenderFailed("no item with features is left that this user has not seen")
        return Recommendation(items=tuple(Item(catalogue.ids[row], round(float(cosine[row]), 6)) for row in rows))

    def _vector(self, query: Query, catalogue: Catalogue) -> npt.NDArray[np.float32]:
        """The query's vector, of length 1; shape (n_features,)."""
        current, past = current_item(query.context), history(query.context)
        here = self._known([] if current is None else [current], catalogue)
        rows = here or self._known(past, catalogue)[-self.history_length :]
        if not rows:
            raise RecommenderFailed("no item in context.item_id or context.history is known and has features")
        mean = catalogue.features[rows].mean(axis=0)
        norm = float(np.linalg.norm(mean))
        if norm < 1e-6:
            raise RecommenderFailed("the items in context.history cancel out: their mean vector is zero")
        return np.asarray(mean / norm, dtype=np.float32)

    def _known(self, item_ids: list[str], catalogue: Catalogue) -> list[int]:
        """Rows of those items that are in the catalogue and have features."""
        rows = (catalogue.rows.get(item_id) for item_id in item_ids)
        return [row for row in rows if row is not None and catalogue.featured[row]]


def _largest(values: npt.NDArray[np.float32], k: int) -> list[int]:
    """Rows of the k largest values, largest first, equal ones by row; without sorting all of them."""
    head = np.arange(len(values)) if k >= len(values) else np.argpartition(values, -k)[-k:]
    return [int(row) for row in head[np.lexsort((head, -values[head]))]]
