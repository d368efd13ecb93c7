"""`POST /v1/recommendations`: one decision, answered after its row is committed."""

import time
from datetime import UTC, datetime
from uuid import UUID

from flask import Blueprint, Response

from app.api.http import read, reply, requires, services
from app.api.ids import check_id
from app.api.schemas import RecommendationAnswer, RecommendationRequest
from app.auth import Scope
from app.errors import Conflict
from app.ids import new_id
from app.serving.decide import decide, items_of
from app.store.decisions import DecisionRow

__all__ = ["blueprint"]

blueprint = Blueprint("recommendations", __name__)


@blueprint.post("/v1/recommendations")
@requires(Scope.DECIDE)
def recommend() -> Response:
    """Chooses an arm and returns its items."""
    started = time.perf_counter()
    wanted = read(RecommendationRequest)
    row = decide(
        services().allocations.find(wanted.experiment),
        decision_id=_id_of(wanted),
        unit=wanted.unit,
        k=wanted.k,
        context=wanted.context,
        started=started,
    )
    (recorded,) = services().decisions.commit([row])
    _refuse_other_request(wanted, recorded)
    return reply(_answer(recorded))


def _id_of(wanted: RecommendationRequest) -> UUID:
    """The client's id, if its time is credible, or a fresh one."""
    if wanted.decision_id is None:
        return new_id()
    check_id(wanted.decision_id, services(), datetime.now(UTC))
    return wanted.decision_id


def _refuse_other_request(wanted: RecommendationRequest, recorded: DecisionRow) -> None:
    """A retry gets the first answer; another request under the same id gets none."""
    if (recorded.experiment, recorded.unit) != (wanted.experiment, wanted.unit):
        raise Conflict(f"decision_id {recorded.decision_id} belongs to another experiment or unit; make a new one")


def _answer(row: DecisionRow) -> RecommendationAnswer:
    return RecommendationAnswer(
        decision_id=row.decision_id,
        experiment=row.experiment,
        arm=row.arm,
        served_arm=row.served_arm,
        propensity=row.propensity,
        allocation=row.allocation,
        reason=row.reason,
        items=items_of(row),
        payload=row.payload,
        durability="committed",
    )
