from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

from app.errors import ConfigurationError
from app.recommenders import AnyRecommender, CatalogueItem, Item
from app.replay.client import Decision
from app.replay.msweb import (
    Site,
    SiteVisit,
    catalogue_items,
    features,
    hit_rates,
    read_site,
    scenario,
    visitors,
)
from app.replay.scenario import Click


@pytest.fixture(scope="module")
def site() -> Site:
    """The data set."""
    return read_site()


@pytest.fixture(scope="module")
def items(site: Site) -> list[CatalogueItem]:
    """Its catalogue."""
    return catalogue_items(site)


def test_data_set_is_whole(site: Site) -> None:
    """All users, areas and visits that the data set's own page counts are read."""
    assert (len(site.train), len(site.test), len(site.titles)) == (32_711, 5_000, 294)
    visits = sum(len(areas) for users in (site.train, site.test) for areas in users.values())
    assert visits == 113_845


def test_missing_data_is_explained(tmp_path: Path) -> None:
    """Outside the repository the message says which file is missing and where it belongs."""
    with pytest.raises(ConfigurationError, match=r"visits\.csv\.gz is missing: .* data/msweb"):
        read_site(tmp_path)


def test_features_are_cosines_of_areas() -> None:
    """|i ∩ j| / √(|i|·|j|), checked by hand; an area without visits has none."""
    visits = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], dtype=np.float32)
    expected = [[1, 2 / np.sqrt(8), 0], [2 / np.sqrt(8), 1, 0], [0, 0, 0]]
    assert features(visits) == pytest.approx(np.array(expected))


def test_catalogue_comes_from_train_users_alone(site: Site, items: list[CatalogueItem]) -> None:
    """Without test users the catalogue is the same: nothing of what is replayed has been looked at."""
    blind = msgspec.structs.replace(site, test={})
    assert catalogue_items(blind) == items


def test_catalogue_has_every_area(items: list[CatalogueItem]) -> None:
    """294 areas; the nine that no train user visited have no features; the most visited is known."""
    assert len(items) == 294
    assert sum(item.features is None for item in items) == 294 - 285
    top = max(items, key=lambda item: item.popularity)
    assert (top.item_id, top.title, round(top.popularity, 2)) == ("1008", "Free Downloads", 0.33)


def test_visitors_are_test_users_with_one_visit_held_out(site: Site) -> None:
    """Each visitor is a test user; history and wanted area together are what that user visited."""
    for visit in islice(visitors(site, np.random.default_rng(3)), 500):
        areas = site.test[visit.unit.removeprefix("msweb-")]
        assert visit.wanted not in visit.history
        assert sorted((*visit.history, visit.wanted)) == sorted(areas)
        assert visit.context == {"history": visit.history}


def test_visitors_follow_the_seed(site: Site) -> None:
    """The same seed gives the same users; another seed, others."""
    first, again, other = (list(islice(visitors(site, np.random.default_rng(seed)), 20)) for seed in (1, 1, 2))
    assert first == again != other


def test_click_is_the_wanted_area_at_its_position() -> None:
    """Positions count from 1; nothing is clicked when the wanted area is not among the items."""
    visit = SiteVisit("u", ("1",), "7")
    assert visit.click(Decision("d", "a", items=(Item("3"), Item("7")))) == Click("7", 2)
    assert visit.click(Decision("d", "a", items=(Item("3"),))) is None


def test_arms_differ_clearly(site: Site, items: list[CatalogueItem]) -> None:
    """`similar` is the best arm by at least 8 points at every k, and the bad arm is bad.

    The standard error of a difference over 3,453 users is below 0.9 points, so this is no luck of the draw.
    """
    for k in (1, 3, 5):
        rates = hit_rates(site, items, k=k, rng=np.random.default_rng(1))
        assert rates["similar"] > rates["popular"] + 0.07
        assert rates["popular"] > 0.2
        assert rates["random"] < 0.04
        assert rates["unpopular"] < 0.01


def test_scenario_is_a_valid_specification(site: Site) -> None:
    """Every arm's recommender decodes as one, the control is an arm, and expectations are given for all."""
    made = scenario(site, k=3, window_s=4)
    specification = msgspec.json.decode(msgspec.json.encode(made.specification))
    keys = [arm["key"] for arm in specification["arms"]]
    assert [msgspec.convert(arm["recommender"], AnyRecommender).kind for arm in specification["arms"]] == [
        "popular",
        "similar",
        "random",
        "static",
    ]
    assert specification["control"] in keys
    assert specification["reward"]["window_s"] == 4
    assert set(made.expected) == set(keys)
    assert 3 * made.click_delay_s < 4
