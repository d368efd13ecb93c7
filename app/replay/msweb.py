"""Real users of www.microsoft.com in one week of 1998, and the areas of the site that they visited.

A visitor is a test user who visited at least two areas. One of them, drawn at random, is held out; the others
are the history that a request carries. The visitor clicks the held-out area when it is among the recommended
ones. Catalogue, popularity and features come from the train users alone. Source: data/msweb/README.md.
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from rich.console import Console

from app.errors import ConfigurationError
from app.recommenders import (
    Answerer,
    AnyRecommender,
    Catalogue,
    CatalogueItem,
    Popular,
    Query,
    Random,
    RecommenderFailed,
    Similar,
    Sources,
    Static,
)
from app.replay.client import Decision
from app.replay.runner import ReplayOptions, replay
from app.replay.scenario import Click, Scenario
from app.replay.tally import ReplayResult

__all__ = ["DATA", "EXPERIMENT", "Site", "SiteVisit", "hit_rates", "read_site", "replay_msweb", "scenario"]

DATA = Path(__file__).parents[2] / "data" / "msweb"
EXPERIMENT = "msweb"
LEAST_POPULAR = 10  # areas in the list of the deliberately bad arm


class Site(msgspec.Struct, frozen=True):
    """The data set: areas by id, and the areas that each user visited, by user id."""

    titles: dict[str, str]
    train: dict[str, tuple[str, ...]]
    test: dict[str, tuple[str, ...]]


class SiteVisit(msgspec.Struct, frozen=True):
    """A user who has visited `history` and would like to visit `wanted`."""

    unit: str
    history: tuple[str, ...]
    wanted: str

    @property
    def context(self) -> Mapping[str, Any]:
        """What a request says about this user."""
        return {"history": self.history}

    def click(self, decision: Decision) -> Click | None:
        """The wanted area, when it was recommended."""
        for position, item in enumerate(decision.items, start=1):
            if item.item_id == self.wanted:
                return Click(item.item_id, position)
        return None


def read_site(folder: Path = DATA) -> Site:
    """The data set in that folder.

    Raises:
        ConfigurationError: a file is missing.
    """
    visited: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    try:
        with gzip.open(folder / "visits.csv.gz", "rt", newline="") as file:
            for split, user, area in csv.reader(file):
                if split in visited:
                    visited[split].setdefault(user, []).append(area)
        with (folder / "vroots.csv").open(newline="") as file:
            titles = {row["vroot_id"]: row["title"] for row in csv.DictReader(file)}
    except FileNotFoundError as missing:
        raise ConfigurationError(
            f"{missing.filename} is missing: the replay needs the folder data/msweb of Croupier's repository"
        ) from missing
    train, test = ({user: tuple(areas) for user, areas in users.items()} for users in visited.values())
    return Site(titles, train, test)


def features(visits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Feature vectors of areas: rows of the co-occurrence matrix, normalised by both areas' popularity.

    Entry (i, j) is the cosine of areas i and j as sets of users, |i ∩ j| / √(|i|·|j|) (Sarwar et al.,
    Item-based collaborative filtering recommendation algorithms, WWW 2001, section 3.1). With users held out
    of the train split it does as well as other powers and shrinkage, and better than its truncated SVDs.

    Args:
        visits: 1 where a user visited an area, shape (n_users, n_areas).

    Returns:
        shape (n_areas, n_areas); rows of areas that nobody visited are zero.
    """
    together = visits.T @ visits
    scale = 1 / np.sqrt(np.maximum(together.diagonal(), 1))
    return np.asarray(together * scale * scale[:, None], dtype=np.float32)


def catalogue_items(site: Site) -> list[CatalogueItem]:
    """All areas, with title, popularity (share of train users) and features; computed in about 0.1 s."""
    column = {area: i for i, area in enumerate(site.titles)}
    visits = np.zeros((len(site.train), len(column)), dtype=np.float32)
    for row, areas in enumerate(site.train.values()):
        visits[row, [column[area] for area in areas]] = 1
    popularity = visits.mean(axis=0, dtype=np.float64)
    known = popularity > 0
    vectors = features(visits)[:, known].astype(np.float64).round(4)
    return [
        CatalogueItem(
            item_id=area,
            title=title,
            features=vectors[i].tolist() if known[i] else None,
            popularity=round(float(popularity[i]), 6),
        )
        for i, (area, title) in enumerate(site.titles.items())
    ]


def arms(items: list[CatalogueItem]) -> dict[str, AnyRecommender]:
    """The variants that compete: the control, a good one, a floor, and a deliberately bad one."""
    unpopular = sorted(items, key=lambda item: (item.popularity, item.item_id))[:LEAST_POPULAR]
    return {
        "popular": Popular(),
        "similar": Similar(),
        "random": Random(),
        "unpopular": Static(items=tuple(item.item_id for item in unpopular)),
    }


def visitors(site: Site, rng: np.random.Generator) -> Iterator[SiteVisit]:
    """Test users with at least two visits, drawn with replacement, without end."""
    users = [user for user, areas in site.test.items() if len(areas) >= 2]
    while True:
        user = users[rng.integers(len(users))]
        yield _visit(user, site.test[user], rng)


def hit_rates(site: Site, items: list[CatalogueItem], *, k: int, rng: np.random.Generator) -> dict[str, float]:
    """Per arm, the share of eligible test users whose held-out area is among k recommended ones.

    Asks the service's own recommenders about every user once, offline: the answer that a replay should find.
    """
    sources = Sources(catalogue=Catalogue.build(items, version=1))
    everyone = [_visit(user, areas, rng) for user, areas in site.test.items() if len(areas) >= 2]
    return {
        key: sum(_hits(answerer, visit, k, seed) for seed, visit in enumerate(everyone)) / len(everyone)
        for key, answerer in {key: arm.prepare(sources) for key, arm in arms(items).items()}.items()
    }


def scenario(site: Site, *, k: int = 3, window_s: float = 5.0, seed: int = 1) -> Scenario:
    """This data set's replay: four arms, Thompson sampling, a click within `window_s` seconds as reward."""
    items = catalogue_items(site)
    return Scenario(
        experiment=EXPERIMENT,
        specification={
            "state": "running",
            "arms": [{"key": key, "recommender": msgspec.to_builtins(arm)} for key, arm in arms(items).items()],
            "control": "popular",
            "policy": {"kind": "thompson_sampling", "warm_up": 100},
            "reward": {
                "metric": "click",
                "model": "bernoulli",
                "missing": "default",
                "default": 0,
                "window_s": window_s,
                "aggregation": "any",
            },
        },
        items=items,
        visitors=lambda rng: visitors(site, rng),
        expected=hit_rates(site, items, k=k, rng=np.random.default_rng(seed)),
        k=k,
        click_delay_s=window_s / 5,
    )


def replay_msweb(options: ReplayOptions, console: Console | None = None, folder: Path = DATA) -> ReplayResult:
    """Replay this data set against a running service, and print and return what came of it.

    Raises:
        ConfigurationError: the data set is missing.
        ServiceAway: the service did not come within `patience_s`.
        RequestRefused: it refused the catalogue or the experiment.
    """
    prepared = scenario(read_site(folder), k=options.k, window_s=options.window_s, seed=options.seed)
    return replay(prepared, options, console)


def _visit(user: str, areas: tuple[str, ...], rng: np.random.Generator) -> SiteVisit:
    """This user with one visit, drawn at random, held out."""
    held_out = int(rng.integers(len(areas)))
    return SiteVisit(f"msweb-{user}", areas[:held_out] + areas[held_out + 1 :], areas[held_out])


def _hits(answerer: Answerer, visit: SiteVisit, k: int, seed: int) -> bool:
    """Whether this arm would have recommended the held-out area."""
    query = Query(unit=visit.unit, context=visit.context, k=k, seed=seed)
    try:
        answer = answerer(query)
    except RecommenderFailed:
        return False
    return any(item.item_id == visit.wanted for item in answer.items)
