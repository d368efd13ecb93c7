"""The story of one unit: what it was given, why, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.errors import NotFound
from app.reports.states import exposure_of, outcome_states
from app.reports.why import why
from app.serving.allocations import Allocations
from app.specification import Contract
from app.store import contracts, experiments, units
from app.store.allocations import Origin, origins_of
from app.store.contracts import EpochKey
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.quarantine import about
from app.store.units import Range
from app.units.shapes import UnitDecision, UnitItem, UnitStory
from app.units.summary import summarise

__all__ = ["Asked", "unit_story"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for. A decision belongs to the moment of its id, which is when the request was made."""

    unit: str
    since: datetime
    until: datetime
    experiment: str | None = None
    cursor: UUID | None = None  # only decisions before this one
    limit: int = 50


@dataclass(frozen=True, kw_only=True)
class _Around:
    """What is known about the decisions of a page; rows by decision id."""

    contracts: Mapping[EpochKey, Contract]
    origins: Mapping[tuple[str, int], Origin]
    titles: Mapping[str, str]
    exposures: Mapping[str, Sequence[Mapping[str, Any]]]
    feedback: Mapping[str, Sequence[Mapping[str, Any]]]
    outcomes: Mapping[str, Sequence[Mapping[str, Any]]]
    rejections: Mapping[str, Sequence[Mapping[str, Any]]]


def unit_story(database: Database, allocations: Allocations, asked: Asked, now: datetime) -> UnitStory:
    """A page of a unit's decisions, the newest first, and a summary of all in the range.

    Args:
        database: where to read.
        allocations: what the unit would get now is chosen from.
        asked: which decisions.
        now: by which attribution windows have passed.

    Raises:
        NotFound: nothing is known of the unit, no decision, whenever made, and no override; or there is no such
            experiment.
    """
    within = Range.between(asked.since, asked.until)
    page = within if asked.cursor is None else within.before(asked.cursor)
    with database.transaction(snapshot=True) as connection:
        if asked.experiment is not None and experiments.find(connection, asked.experiment) is None:
            raise NotFound(f"There is no experiment {asked.experiment!r}")
        cursor = cursor_of(connection)
        found = units.newest(cursor, asked.unit, page, experiment=asked.experiment, limit=asked.limit + 1)
        if not found and not units.is_known(connection, asked.unit):
            raise NotFound(f"Nothing is known of unit {asked.unit!r}: it has no decision, and no override names it")
        decisions = found[: asked.limit]
        around = _around(connection, decisions)
        summary = summarise(
            connection,
            allocations,
            unit=asked.unit,
            since=asked.since,
            until=asked.until,
            experiment=asked.experiment,
        )
    return UnitStory(
        unit=asked.unit,
        since=asked.since,
        until=asked.until,
        summary=summary,
        decisions=[_view(decision, around, now) for decision in decisions],
        next_cursor=decisions[-1].decision_id if len(found) > asked.limit else None,
    )


def _around(connection: sa.Connection, decisions: Sequence[DecisionRow]) -> _Around:
    cursor = cursor_of(connection)
    ids = [decision.decision_id for decision in decisions]
    return _Around(
        contracts=contracts.read(cursor, {(d.experiment, d.epoch) for d in decisions}),
        origins=origins_of(connection, {(d.experiment, d.allocation) for d in decisions}),
        titles=units.titles(connection, sorted({item for d in decisions for item in d.items})),
        exposures=_by_decision(units.events_about(cursor, "exposures", ids)),
        feedback=_by_decision(units.events_about(cursor, "feedback", ids)),
        outcomes=_by_decision(units.events_about(cursor, "outcomes", ids)),
        rejections=_by_decision(about(connection, ids)),
    )


def _by_decision(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row["decision_id"]), []).append(row)
    return found


def _view(decision: DecisionRow, around: _Around, now: datetime) -> UnitDecision:
    mine = str(decision.decision_id)
    exposure = exposure_of(decision, _confirmed_at(around.exposures.get(mine, ())))
    rejections = around.rejections.get(mine, ())
    outcomes = {row["metric"]: row for row in around.outcomes.get(mine, ())}
    contract = around.contracts[decision.experiment, decision.epoch]
    return UnitDecision(
        decision_id=decision.decision_id,
        decided_at=decision.decided_at,
        experiment=decision.experiment,
        epoch=decision.epoch,
        arm=decision.arm,
        served_arm=decision.served_arm,
        propensity=decision.propensity,
        reason=decision.reason,
        why=why(decision, around.origins.get((decision.experiment, decision.allocation))),
        allocation=decision.allocation,
        items=_items(decision, around.titles),
        payload=decision.payload,
        context=decision.context,
        latency_ms=decision.latency_ms,
        trace_id=decision.trace_id,
        shadow_arm=decision.shadow_arm,
        exposure=exposure,
        feedback=[_without_id(event) for event in around.feedback.get(mine, ())],
        outcomes=outcome_states(contract, exposure, outcomes, rejections, now),
        rejections=[_without_id(entry) for entry in rejections],
    )


def _confirmed_at(rows: Sequence[Mapping[str, Any]]) -> datetime | None:
    """A decision has one confirmation at most."""
    return datetime.fromisoformat(rows[0]["occurred_at"]).astimezone(UTC) if rows else None


def _items(decision: DecisionRow, titles: Mapping[str, str]) -> list[UnitItem]:
    return [
        UnitItem(item_id=item_id, score=score, title=titles.get(item_id))
        for item_id, score in zip(decision.items, decision.scores, strict=True)
    ]


def _without_id(row: Mapping[str, Any]) -> dict[str, Any]:
    """It stands beside the decision already."""
    return {name: value for name, value in row.items() if name != "decision_id"}
