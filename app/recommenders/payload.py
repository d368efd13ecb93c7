"""A constant, as a feature flag's value: the frontend decides what it means."""

from typing import Annotated

from msgspec import Meta

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.values import JsonValue, Recommendation

__all__ = ["Payload"]


class Payload(Recommender, frozen=True, tag="payload"):
    """Answers every query with the same JSON value, and with no items.

    Example: `{"kind": "payload", "value": {"layout": "grid", "columns": 3}}`.
    """

    value: Annotated[
        JsonValue | None,
        Meta(description="What every answer carries as its payload; null: the arm's key says it all."),
    ] = None

    def prepare(self, sources: Sources) -> Answerer:
        """The payload, whatever is asked."""
        del sources
        answer = Recommendation(payload=self.value)
        return lambda _: answer
