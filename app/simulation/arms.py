"""The arms that compete, and the truth about them: what each would earn, known without any traffic."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from app.recommenders import (
    Answerer,
    Catalogue,
    Popular,
    Query,
    Random,
    Recommendation,
    Recommender,
    Similar,
    Sources,
    Static,
)
from app.recommenders.values import Item
from app.simulation.clicks import reward_probability
from app.simulation.scenarios import Conditions
from app.simulation.world import World, item_id

__all__ = ["ModelRanking", "local_arms", "specification", "truth", "unit_of"]

WORST = 20  # items in the list of the deliberately bad arm


class ModelRanking:
    """What the simulator's model server knows: attraction, blurred by noise of a given size."""

    def __init__(self, world: World, rng: np.random.Generator, *, noise: float = 1.0) -> None:
        logits = np.log(world.attraction / (1 - world.attraction))
        self._order = np.argsort(-(logits + rng.normal(0, noise, logits.shape)), axis=1)

    def __call__(self, unit: str, k: int) -> list[str]:
        """The best k items for a unit; for one that it does not know, those for the first user."""
        user = int(unit.removeprefix("user-")) if unit.startswith("user-") else 0
        return [item_id(row) for row in self._order[user, :k].tolist()]


def local_arms(world: World) -> dict[str, Recommender]:
    """Arms that the service answers by itself; the first is the control.

    The popularity of the catalogue outweighs what traffic says, so that the truth about `popular` stands still.
    """
    worst = np.argsort(world.attraction.mean(axis=0))[:WORST].tolist()
    return {
        "popular": Popular(prior_weight=1e9),
        "similar": Similar(),
        "random": Random(),
        "unpopular": Static(items=tuple(item_id(row) for row in worst)),
    }


def truth(
    world: World, conditions: Conditions, k: int, users: Sequence[int], model: ModelRanking | None = None
) -> dict[str, float]:
    """Expected reward rate of each arm: the mean over users of the probability of at least one click.

    The service's own recommenders are asked for each user once; clicks are not drawn but averaged analytically.
    """
    sources = Sources(catalogue=Catalogue.build(world.items(), version=1))
    answerers: dict[str, Answerer] = {key: arm.prepare(sources) for key, arm in local_arms(world).items()}
    if model:
        answerers["model"] = lambda query: Recommendation(
            items=tuple(Item(item) for item in model(query.unit, query.k))
        )

    def mean_reward(arm: str, answer: Answerer) -> float:
        appeal, total = conditions.appeal.get(arm, 1.0), 0.0
        for user in users:
            context = world.context(user, conditions.audience)
            shown = answer(Query(unit=unit_of(user), context=context, k=k, seed=user)).items
            total += reward_probability(world, user, [world.row(item.item_id) for item in shown], appeal)
        return total / len(users)

    return {key: mean_reward(key, answer) for key, answer in answerers.items()}


def unit_of(user: int) -> str:
    """How the service knows a user."""
    return f"user-{user}"


def specification(
    arms: Mapping[str, Recommender], *, model: Mapping[str, object] | None, window_s: float, confirmed: bool
) -> dict[str, object]:
    """The experiment: Thompson sampling on clicks, with revenue as its business metric.

    Args:
        arms: that the service answers by itself.
        model: the recommender of the arm `model`; None: there is no such arm.
        window_s: attribution window, seconds.
        confirmed: whether exposures are confirmed.
    """
    listed = [{"key": key, "recommender": msgspec.to_builtins(arm)} for key, arm in arms.items()]
    if model:
        listed.append({"key": "model", "recommender": dict(model)})
    return {
        "state": "running",
        "arms": listed,
        "control": next(iter(arms)),
        "exposure": "confirmed" if confirmed else "decision",
        "policy": {"kind": "thompson_sampling"},
        "reward": {"metric": "click", "window_s": window_s},
        "metrics": [{"key": "revenue", "level": "business", "aggregation": "sum"}],
    }
