"""Allocations over time, and the explanation of one decision."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app.errors import NotFound
from app.reports.states import exposure_of, outcome_states
from app.reports.why import why
from app.store import allocations, contracts, decisions, experiments, exposures, feedback, quarantine
from app.store.allocations import AllocationRecord
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.units import events_about

__all__ = ["explain", "history_page"]


def history_page(
    database: Database, key: str, *, since: datetime | None, before: int | None, limit: int
) -> dict[str, Any]:
    """Allocations over time, newest first.

    Raises:
        NotFound: there is no such experiment.
    """
    with database.transaction() as connection:
        if experiments.find(connection, key) is None:
            raise NotFound(f"There is no experiment {key!r}")
        page = allocations.history(connection, key, since=since, before=before, limit=limit)
    return {
        "experiment": key,
        "allocations": [_allocation_view(allocation) for allocation in page],
        "next_before": page[-1].number if len(page) == limit else None,
    }


def explain(database: Database, decision_id: UUID, now: datetime) -> dict[str, Any]:
    """One decision, why it was made, and what came of it.

    Args:
        database: where to read.
        decision_id: its id.
        now: by which attribution windows have passed.

    Raises:
        NotFound: there is no such decision.
    """
    with database.transaction(snapshot=True) as connection:
        decision = decisions.find(connection, decision_id)
        if decision is None:
            raise NotFound(f"There is no decision {decision_id}")
        allocation = allocations.find(connection, decision.experiment, decision.allocation)
        return {
            "decision": decision,
            "why": why(decision, allocation.origin if allocation else None),
            "allocation": _allocation_view(allocation) if allocation else None,
            "shadow": _shadow_view(decision, allocation) if allocation else None,
            **_what_came_of(connection, decision, now),
        }


def _what_came_of(connection: sa.Connection, decision: DecisionRow, now: datetime) -> dict[str, Any]:
    """The events about a decision, and the states of its outcomes."""
    cursor, decision_id = cursor_of(connection), decision.decision_id
    epoch = (decision.experiment, decision.epoch)
    contract = contracts.read(cursor, [epoch])[epoch]
    confirmation = exposures.confirmation_of(connection, decision_id)
    exposure = exposure_of(decision, confirmation["occurred_at"] if confirmation else None)
    outcomes = {row["metric"]: row for row in events_about(cursor, "outcomes", [decision_id])}
    rejections = quarantine.about(connection, [decision_id])
    return {
        "exposure": confirmation,
        "feedback": feedback.events_of(connection, decision_id),
        "outcomes": {metric: outcome["value"] for metric, outcome in outcomes.items()},
        "states": outcome_states(contract, exposure, outcomes, rejections, now),
        "rejections": rejections,
    }


def _shadow_view(decision: DecisionRow, allocation: AllocationRecord) -> dict[str, Any] | None:
    """What the shadow policy would have done; None where there was none."""
    if allocation.shadow is None or decision.shadow_arm is None:
        return None
    return {"arm": decision.shadow_arm, "probabilities": allocation.shadow["probabilities"]}


def _allocation_view(allocation: AllocationRecord) -> dict[str, Any]:
    """An allocation as it is read."""
    return {
        "number": allocation.number,
        "reason": allocation.reason,
        "version": allocation.version,
        "epoch": allocation.epoch,
        "probabilities": allocation.probabilities,
        "posterior": allocation.posterior,
        "evidence": allocation.evidence,
        "data_as_of": allocation.data_as_of,
        "applied_at": allocation.created_at,
    }
