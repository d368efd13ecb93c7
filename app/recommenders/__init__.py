"""Recommenders: what an arm answers with. One file per kind; pure functions of a query and a catalogue."""

from app.recommenders.base import (
    MAX_ITEMS,
    Item,
    Query,
    Recommendation,
    Recommender,
    RecommenderFailed,
)
from app.recommenders.catalogue import Catalogue, CatalogueItem
from app.recommenders.payload import Payload
from app.recommenders.popular import Popular
from app.recommenders.random_draw import Random
from app.recommenders.registry import AnyRecommender
from app.recommenders.similar import Similar
from app.recommenders.static import Static

__all__ = [
    "MAX_ITEMS",
    "AnyRecommender",
    "Catalogue",
    "CatalogueItem",
    "Item",
    "Payload",
    "Popular",
    "Query",
    "Random",
    "Recommendation",
    "Recommender",
    "RecommenderFailed",
    "Similar",
    "Static",
]
