"""Users with latent tastes and a catalogue of items: what exists before anybody asks for anything."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from app.recommenders import CatalogueItem
from app.simulation.scenarios import Audience

__all__ = ["Floats", "World", "build_world", "item_id"]

Floats = npt.NDArray[np.float64]

DIMENSIONS = 8
HISTORY = 3
_PREFIX = "simulated-"
CATEGORIES = ("news", "sport", "music", "travel", "food", "science", "film", "games")
BIAS, WEIGHT, APPEAL_DEVIATION, FEATURE_NOISE = -4.0, 6.0, 0.3, 0.1


class World(msgspec.Struct, frozen=True):
    """Everything that is drawn once. The service sees features, popularity and context, never tastes or attraction."""

    attraction: Floats  # probability of a click when examined, shape (n_users, n_items)
    features: Floats  # item vectors with noise, shape (n_items, DIMENSIONS)
    history: npt.NDArray[np.int64]  # items that a user liked, shape (n_users, HISTORY)
    traits: Floats  # quantiles of device and country, shape (n_users, 2)
    age_scores: Floats  # of a standard normal, shape (n_users,)

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return len(self.attraction)

    def items(self) -> list[CatalogueItem]:
        """The catalogue; the popularity of an item is its mean attraction."""
        popularity = self.attraction.mean(axis=0)
        return [
            CatalogueItem(
                item_id=item_id(number),
                title=f"Item {number}",
                category=CATEGORIES[int(vector.argmax())],
                features=vector.round(4).tolist(),
                popularity=round(float(popularity[number]), 6),
            )
            for number, vector in enumerate(self.features)
        ]

    def row(self, item: str) -> int:
        """The number of an item; −1 if it is not of this world, so that nobody clicks it."""
        number = item.removeprefix(_PREFIX)
        known = item.startswith(_PREFIX) and number.isdecimal() and int(number) < len(self.features)
        return int(number) if known else -1

    def context(self, user: int, audience: Audience) -> Mapping[str, Any]:
        """What a request says about a user; another audience gives the same user other features."""
        device, country = self.traits[user]
        age = audience.age_mean + audience.age_deviation * self.age_scores[user]
        return {
            "device": _inverse(audience.device, device),
            "country": _inverse(audience.country, country),
            "age": round(float(np.clip(age, 18, 90)), 1),
            "history": [item_id(number) for number in self.history[user].tolist()],
        }


def build_world(rng: np.random.Generator, *, n_users: int, n_items: int) -> World:
    """Draw a world: attraction is σ(b + w·⟨taste, item⟩ + appeal), tastes and items are uniform on the unit sphere.

    Users' histories are HISTORY items drawn without replacement in proportion to attraction (Gumbel top-k, Kool et
    al., Stochastic beams and where to find them, ICML 2019, section 2.3).
    """
    tastes, vectors = _on_sphere(rng, n_users), _on_sphere(rng, n_items)
    appeal = rng.normal(0, APPEAL_DEVIATION, n_items)
    attraction = 1 / (1 + np.exp(-(BIAS + WEIGHT * tastes @ vectors.T + appeal)))
    drawn = np.log(attraction) + rng.gumbel(size=attraction.shape)
    return World(
        attraction=attraction,
        features=vectors + rng.normal(0, FEATURE_NOISE, vectors.shape),
        history=np.argsort(-drawn, axis=1)[:, :HISTORY],
        traits=rng.random((n_users, 2)),
        age_scores=rng.standard_normal(n_users),
    )


def item_id(number: int) -> str:
    """How the service knows an item."""
    return f"{_PREFIX}{number}"


def _on_sphere(rng: np.random.Generator, n: int) -> Floats:
    vectors = rng.standard_normal((n, DIMENSIONS))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _inverse(shares: Mapping[str, float], quantile: float) -> str:
    """The value at this quantile of a categorical distribution."""
    bounds = np.cumsum(list(shares.values()))
    return list(shares)[min(int(bounds.searchsorted(quantile, side="right")), len(shares) - 1)]
