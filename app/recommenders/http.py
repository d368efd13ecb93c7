"""A model server: asked over HTTP for each decision, within a deadline."""

import time
from functools import partial
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from app.outgoing import fault_of
from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.catalogue import Catalogue
from app.recommenders.foreign import UnknownItems, recommendation
from app.recommenders.model_server import ModelServer
from app.recommenders.values import Item, Query, Recommendation

__all__ = ["Http"]

# What every JSON reader takes for a whole number without rounding it.
_SEED_BITS = 2**53 - 1


class Http(Recommender, frozen=True, tag="http"):
    """Answers with the items that a model server lists.

    It is sent `{"unit", "context", "k", "seed"}` by POST and answers `{"items": [{"item_id", "score"}, ...]}`; an item
    may be its id alone. The contract is in docs/reference.md.

    Example: `{"kind": "http", "url": "http://models.internal:9000/rank", "deadline_ms": 80}`.
    """

    url: Annotated[str, Meta(max_length=2000, description="http or https; without user name, password or fragment.")]
    deadline_ms: Annotated[
        float,
        Meta(ge=1, le=10_000, description="Within how many milliseconds the whole answer must be here."),
    ] = 80.0
    unknown_items: UnknownItems = "drop"

    def __post_init__(self) -> None:
        fault = fault_of(self.url)
        if fault is not None:
            raise ValueError(f"url {fault}")

    @property
    def waits(self) -> bool:
        """For the model server."""
        return True

    def obstacle(self, sources: Sources) -> str | None:
        """Why this service must not ask the server, if its URL says so without a name being looked up."""
        return sources.servers.guard.objection(urlsplit(self.url).hostname or "")

    def prepare(self, sources: Sources) -> Answerer:
        """Answers by asking the server, on connections that all arms with this URL share."""
        return partial(self._answer, sources.servers.at(self.url), sources.catalogue)

    def _answer(self, server: ModelServer, catalogue: Catalogue, query: Query) -> Recommendation:
        """The server's first k different items.

        Raises:
            RecommenderFailed: the server has failed, or none of its items can be given.
        """
        deadline = time.monotonic() + self.deadline_ms / 1000 * query.patience
        question = {"unit": query.unit, "context": query.context, "k": query.k, "seed": query.seed & _SEED_BITS}
        listed = server.ask(msgspec.json.encode(question), deadline, hurried=query.patience < 1)
        items = (Item(one) if isinstance(one, str) else Item(one.item_id, one.score) for one in listed)
        return recommendation(items, query, catalogue, self.unknown_items)
