"""Allocations over time, and the explanation of one decision."""

from datetime import datetime
from typing import Any
from uuid import UUID

from app.errors import NotFound
from app.store import allocations, decisions, experiments, exposures, feedback
from app.store.allocations import AllocationRecord
from app.store.database import Database

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


def explain(database: Database, decision_id: UUID) -> dict[str, Any]:
    """One decision, why it was made, and what came of it.

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
            "allocation": allocation and _allocation_view(allocation),
            "exposure": exposures.confirmation_of(connection, decision_id),
            "feedback": feedback.events_of(connection, decision_id),
            "outcomes": feedback.outcomes_of(connection, decision_id),
        }


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
