"""Shapes of the answers about one unit."""

from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Struct

from app.reports.states import Exposure, OutcomeState

__all__ = ["Assigned", "Figures", "Summary", "UnitDecision", "UnitExperiment", "UnitItem", "UnitStory"]


class UnitItem(Struct, frozen=True, kw_only=True):
    """An item that was recommended; the title is the catalogue's of now."""

    item_id: str
    score: float | None
    title: str | None


class UnitDecision(Struct, frozen=True, kw_only=True):
    """A decision, and what came of it."""

    decision_id: UUID
    decided_at: datetime
    experiment: str
    epoch: int
    arm: str
    served_arm: str | None
    propensity: float
    reason: str
    why: str
    allocation: int
    items: list[UnitItem]
    payload: Any
    context: dict[str, Any]
    latency_ms: float
    trace_id: str | None
    shadow_arm: str | None
    exposure: Exposure
    feedback: list[dict[str, Any]]
    outcomes: dict[str, OutcomeState]
    rejections: list[dict[str, Any]]


class Figures(Struct, frozen=True, kw_only=True):
    """What is counted of a unit, or of all units; null: there is nothing to divide by, or it is not counted."""

    decisions: int
    exposures: int
    reward_rate: float | None  # outcomes of the reward metric by exposure
    value_per_decision: dict[str, float]  # by metric
    arms: dict[str, int]  # decisions
    distinct_items: int | None = None
    repeat_exposure: float | None = None  # share of list places that held an item which the unit had been given before


class Assigned(Struct, frozen=True, kw_only=True):
    """What a unit would get now; the arm is null where each request is drawn anew."""

    reason: str
    arm: str | None
    propensity: float | None


class UnitExperiment(Struct, frozen=True, kw_only=True):
    """A unit in one experiment beside everybody in it."""

    experiment: str
    metric: str
    assignment: str
    assigned: Assigned | None  # null: the experiment gives no recommendations now
    unit: Figures
    population: Figures


class Summary(Struct, frozen=True, kw_only=True):
    """Figures of the whole UTC days that the range touches."""

    since: datetime
    until: datetime
    cut: bool  # true: the unit had more decisions than are read for this
    experiments: list[UnitExperiment]


class UnitStory(Struct, frozen=True, kw_only=True):
    """The body of `GET /v1/units/{id}`."""

    unit: str
    since: datetime
    until: datetime
    summary: Summary
    decisions: list[UnitDecision]
    next_cursor: UUID | None
