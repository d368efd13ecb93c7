"""The most popular items: what the catalogue says, corrected by the rewards that come in."""

from functools import partial
from typing import Annotated

from msgspec import Meta

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.catalogue import Catalogue
from app.recommenders.seen import seen_rows
from app.recommenders.values import Item, Query, Recommendation, RecommenderFailed

__all__ = ["Popular"]


class Popular(Recommender, frozen=True, tag="popular"):
    """Answers with the items of the highest expected share of rewards (formula: `Catalogue.with_rewards`).

    The order is computed when counts are loaded; a request takes the head of it. Counts are those of the
    whole experiment, whichever arm showed the item. What is shown more is rewarded more, so this order
    favours what is already shown: `half_life_s` bounds for how long.

    Example: `{"kind": "popular", "half_life_s": 86400}`.
    """

    half_life_s: Annotated[
        float,
        Meta(ge=60, le=315_360_000, description="After how many seconds a reward counts half. Default: 7 days."),
    ] = 604_800.0
    prior_weight: Annotated[
        float,
        Meta(gt=0, le=1e9, description="How many rewards the catalogue's popularity is worth."),
    ] = 100.0
    exclude_seen: Annotated[
        bool, Meta(description="Leave out the items named in `context.item_id` and `context.history`.")
    ] = True

    @property
    def reward_half_life_s(self) -> float:
        """Reward counts are wanted, with this half-life."""
        return self.half_life_s

    def prepare(self, sources: Sources) -> Answerer:
        """Orders the catalogue by popularity and rewards together."""
        ordered = sources.catalogue.with_rewards(sources.rewards, prior_weight=self.prior_weight)
        return partial(self._answer, ordered)

    def _answer(self, catalogue: Catalogue, query: Query) -> Recommendation:
        """The head of the catalogue's order; the score is the expected share of rewards.

        Raises:
            RecommenderFailed: the catalogue has no items, or the user has seen them all.
        """
        seen = seen_rows(query.context, catalogue) if self.exclude_seen else frozenset()
        head = catalogue.order[: query.k + len(seen)].tolist()
        rows = [row for row in head if row not in seen][: query.k]
        if not rows:
            raise RecommenderFailed("the catalogue has no items that this user has not seen")
        ids, score = catalogue.ids, catalogue.score
        return Recommendation(items=tuple(Item(ids[row], round(float(score[row]), 9)) for row in rows))
