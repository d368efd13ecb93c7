"""A small catalogue, and ways to ask a recommender about it."""

from collections.abc import Callable, Mapping

import pytest

from app.recommenders import Catalogue, CatalogueItem, Query, Recommendation, Recommender, Sources

Ask = Callable[..., Query]

ITEMS = [
    CatalogueItem(item_id="b", popularity=30, features=[2.0, 0.0], category="x"),
    CatalogueItem(item_id="a", popularity=50, features=[1.0, 0.1], category="x"),
    CatalogueItem(item_id="d", popularity=5, features=[0.0, 3.0], category="y"),
    CatalogueItem(item_id="c", popularity=15, features=[1.0, 1.0], category="y"),
    CatalogueItem(item_id="e", title="no features"),
]


def recommend(
    recommender: Recommender, query: Query, catalogue: Catalogue, rewards: Mapping[str, float] | None = None
) -> Recommendation:
    """What it answers from this catalogue with these rewards."""
    return recommender.prepare(Sources(catalogue=catalogue, rewards=rewards or {}))(query)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """Five items, four of them with features."""
    return Catalogue.build(ITEMS, version=3)


@pytest.fixture(scope="session")
def nothing() -> Catalogue:
    """A catalogue without items."""
    return Catalogue.build([], version=0)


@pytest.fixture(scope="session")
def ask() -> Ask:
    """Makes a query."""

    def make(context: Mapping[str, object] | None = None, k: int = 10, seed: int = 1) -> Query:
        return Query(unit="u", context=context or {}, k=k, seed=seed)

    return make
