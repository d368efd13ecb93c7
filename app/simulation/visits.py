"""What comes of one decision: whether it is confirmed, and what the user sends. All follows from the arrival's seed."""

from collections.abc import Sequence

import msgspec
import numpy as np

from app.simulation.arms import unit_of
from app.simulation.arrivals import Arrival
from app.simulation.clicks import Action, actions, bot_actions
from app.simulation.scenarios import Conditions, Scenario
from app.simulation.world import World

__all__ = ["AGAIN", "Plan", "Sent", "Visit", "unit_and_conditions", "visit"]

AGAIN = "-again"  # ends the event_id of an event that is sent a second time


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent."""

    world: World
    scenario: Scenario
    experiment: str
    duration_s: float
    window_s: float
    k: int

    @property
    def mean_delay_s(self) -> float:
        """Of clicks after the answer, and of purchases after the click."""
        return self.window_s / 5


class Sent(msgspec.Struct, frozen=True):
    """An event that is sent, some time after the answer. It says when it occurred, however late it is sent."""

    action: Action
    event_id: str
    due_s: float


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of a decision."""

    confirmed: bool | None  # None: in this scenario nothing is
    events: tuple[Sent, ...]

    @property
    def clicked(self) -> bool:
        """Whether there is any click."""
        return any(sent.action.metric == "click" for sent in self.events)


def unit_and_conditions(plan: Plan, arrival: Arrival) -> tuple[str, Conditions]:
    """Who comes, as the service knows them, and what holds then."""
    unit = unit_of(arrival.user) if arrival.bot is None else f"bot-{arrival.bot}"
    return unit, plan.scenario.at(arrival.at_s / plan.duration_s)


def visit(plan: Plan, arrival: Arrival, *, arm: str, fell_back: bool, items: Sequence[str]) -> Visit:
    """What an arrival does with the list that it was given.

    Args:
        plan: of the simulation.
        arrival: who asked.
        arm: that was chosen.
        fell_back: whether the list is of another arm.
        items: the list, best first.
    """
    _, conditions = unit_and_conditions(plan, arrival)
    rng = np.random.default_rng(arrival.seed)
    if arrival.bot is None:
        rows = [plan.world.row(item) for item in items]
        appeal = 1 + conditions.reward_swing * plan.scenario.wave(arrival.at_s / plan.duration_s)
        appeal *= 1.0 if fell_back else conditions.appeal.get(arm, 1.0)
        done = actions(rng, plan.world, arrival.user, rows, appeal=appeal, mean_delay_s=plan.mean_delay_s)
    else:
        done = bot_actions(len(items))
    confirmed = rng.random() >= conditions.exposures_lost.get(arm, 0.0) if plan.scenario.confirmed else None
    events = tuple(sent for action in done for sent in _sent(rng, action, conditions, plan.window_s))
    return Visit(confirmed=confirmed, events=events)


def _sent(rng: np.random.Generator, action: Action, conditions: Conditions, window_s: float) -> list[Sent]:
    """The event of an action, once or twice."""
    first = Sent(action, f"{action.metric}-{action.row}", action.delay_s + conditions.lag_windows * window_s)
    again = msgspec.structs.replace(first, event_id=first.event_id + AGAIN)
    return [first, again] if rng.random() < conditions.repeated else [first]
