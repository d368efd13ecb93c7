"""The kinds of recommenders. A new kind is one new file beside this one, and one line here."""

from typing import TypeAlias

from app.recommenders.http import Http
from app.recommenders.payload import Payload
from app.recommenders.popular import Popular
from app.recommenders.python import Python
from app.recommenders.random_draw import Random
from app.recommenders.similar import Similar
from app.recommenders.static import Static

__all__ = ["AnyRecommender"]

AnyRecommender: TypeAlias = (
    Payload  # a constant
    | Static  # a given list
    | Popular  # most popular
    | Similar  # nearest neighbours
    | Random  # drawn uniformly
    | Http  # a model server's
    | Python  # a function's
)
"""A field type: msgspec decodes `{"kind": "popular", ...}` into the struct of that kind."""
