"""Recommenders: what an arm answers with. One file per kind; parameters, and how they are prepared to answer."""

from app.recommenders.base import Answerer, Recommender, Sources
from app.recommenders.catalogue import Catalogue, CatalogueItem
from app.recommenders.functions import PythonFunctions
from app.recommenders.http import Http
from app.recommenders.model_server import ModelServers
from app.recommenders.payload import Payload
from app.recommenders.popular import Popular
from app.recommenders.python import Python
from app.recommenders.random_draw import Random
from app.recommenders.registry import AnyRecommender
from app.recommenders.similar import Similar
from app.recommenders.static import Static
from app.recommenders.values import MAX_ITEMS, Item, Query, Recommendation, RecommenderFailed

__all__ = [
    "MAX_ITEMS",
    "Answerer",
    "AnyRecommender",
    "Catalogue",
    "CatalogueItem",
    "Http",
    "Item",
    "ModelServers",
    "Payload",
    "Popular",
    "Python",
    "PythonFunctions",
    "Query",
    "Random",
    "Recommendation",
    "Recommender",
    "RecommenderFailed",
    "Similar",
    "Sources",
    "Static",
]
