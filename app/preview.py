"""A dry look at what the arms of an experiment answer: nothing is logged, counted or learned from.

The recommenders are the very ones that serving uses, with their deadlines. A model server cannot tell the difference,
so what it does badly counts in this process's circuit breaker, as it should.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct

from app.errors import InvalidInput
from app.ids import new_id
from app.recommenders import MAX_ITEMS, Item, Query, Recommendation, RecommenderFailed
from app.serving.allocations import Served
from app.serving.decide import choose
from app.specification import Key, State, UnitId

__all__ = ["MOST_ARMS", "ArmPreview", "Preview", "PreviewRequest", "ask", "preview"]

MOST_ARMS = 50
"""Of one look: each may take as long as its recommender's deadline."""


class PreviewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks, and for what."""

    unit: UnitId
    context: dict[str, Any] = {}
    k: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = 10
    arms: (
        Annotated[tuple[Key, ...], Meta(min_length=1, max_length=MOST_ARMS, description="Null: every active arm")]
        | None
    ) = None


class ArmPreview(Struct, frozen=True, kw_only=True):
    """What one arm answers."""

    arm: str
    probability: float  # that the policy chooses it, in the allocation in force
    items: tuple[Item, ...]
    payload: Any
    failure: str | None  # why its recommender did not answer: a decision would get a fallback
    latency_ms: float


class Preview(Struct, frozen=True, kw_only=True):
    """What all arms answer, and which of them the unit would get."""

    experiment: str
    state: State
    allocation: int
    chosen: str | None  # null: the policy draws an arm for each decision, or the experiment gives no recommendations
    reason: str | None  # as of a decision; null: the experiment gives no recommendations
    arms: tuple[ArmPreview, ...]


def preview(
    served: Served,
    wanted: PreviewRequest,
    *,
    together: Callable[[Sequence[Callable[[], ArmPreview]]], Sequence[ArmPreview]],
) -> Preview:
    """Asks arms as a decision would.

    Args:
        served: the experiment, in any state.
        wanted: who asks, and for what.
        together: makes calls that mostly wait, some at a time.

    Raises:
        InvalidInput: an arm does not exist, or there are too many active ones to ask them all.
    """
    arms = _arms(served, wanted.arms)
    chosen, reason = _chosen(served, wanted.unit)
    return Preview(
        experiment=served.key,
        state=served.state,
        allocation=served.number,
        chosen=chosen,
        reason=reason,
        arms=tuple(together([partial(ask, served, arm, wanted) for arm in arms])),
    )


def ask(served: Served, arm: int, wanted: PreviewRequest) -> ArmPreview:
    """Asks one arm's recommender, by the arm's index. The same unit is always the same query."""
    query = Query(unit=wanted.unit, context=wanted.context, k=wanted.k, seed=_seed_of(wanted.unit))
    answer, failure = Recommendation(), None
    began = time.perf_counter()
    try:
        answer = served.answerers[arm](query)
    except RecommenderFailed as failed:
        failure = failed.reason
    return ArmPreview(
        arm=served.arms[arm].key,
        probability=served.probabilities[arm],
        items=answer.items,
        payload=answer.payload,
        failure=failure,
        latency_ms=(time.perf_counter() - began) * 1000,
    )


def _seed_of(unit: str) -> int:
    """64 bits that stay the same, so that a list which was drawn at random changes only when its recommender does."""
    return int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest())


def _chosen(served: Served, unit: str) -> tuple[str | None, str | None]:
    """Key of the arm that a decision for the unit would get, if that is certain, and why."""
    if served.state not in {"running", "paused"}:
        return None, None
    choice = choose(served, unit, new_id())
    is_drawn = served.race is None and choice.reason in {"policy", "warm_up"}
    return None if is_drawn else served.arms[choice.arm].key, choice.reason


def _arms(served: Served, wanted: Sequence[str] | None) -> list[int]:
    """Indices of the arms to ask."""
    if wanted is None:
        active = [index for index, arm in enumerate(served.arms) if arm.state == "active"]
        if len(active) > MOST_ARMS:
            raise InvalidInput.at("#/arms", f"{len(active)} arms are active; name at most {MOST_ARMS} of them")
        return active
    index = {key: place for place, key in enumerate(served.specification.arm_keys)}
    unknown = [key for key in wanted if key not in index]
    if unknown:
        known = ", ".join(served.specification.arm_keys[:MOST_ARMS])
        raise InvalidInput.at("#/arms", f"{unknown[0]!r} is no arm of {served.key!r}; it has {known}")
    return [index[key] for key in dict.fromkeys(wanted)]
