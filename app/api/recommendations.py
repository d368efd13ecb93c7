"""`POST /v1/recommendations`, one decision or many: each is answered once its row is safe."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from flask import Blueprint, Response

from app.api.codec import decode, decode_shape
from app.api.http import body, reply, requires, services
from app.api.ids import check_id
from app.api.problems import Problem, problem_of
from app.api.schemas import BatchRequest, RecommendationAnswer, RecommendationRequest
from app.auth import Scope
from app.errors import Conflict, CroupierError
from app.ids import new_id
from app.services import Services
from app.serving.decide import decide, items_of
from app.serving.durability import Durability
from app.serving.watching import note_decisions
from app.store.decisions import DecisionRow

__all__ = ["blueprint", "recommend", "recommend_batch"]

blueprint = Blueprint("recommendations", __name__)

_BATCH_PATH = "/v1/recommendations/batch"


@blueprint.post("/v1/recommendations")
@requires(Scope.DECIDE)
def post_recommendation() -> Response:
    """One decision."""
    return reply(recommend(services(), body()))


@blueprint.post(_BATCH_PATH)
@requires(Scope.DECIDE)
def post_recommendations() -> Response:
    """Many decisions."""
    return reply(recommend_batch(services(), body()))


def recommend(services: Services, data: bytes) -> RecommendationAnswer:
    """Chooses an arm and returns its items."""
    wanted, row = _decide(services, data)
    (recorded,), durability = _record(services, [row])
    return _answer(wanted, recorded, durability)


def recommend_batch(services: Services, data: bytes) -> dict[str, list[RecommendationAnswer | Problem]]:
    """The same for many requests; what is wrong with one is its result, and the others are decided."""
    results: list[RecommendationAnswer | Problem | None] = []
    decided: list[tuple[int, RecommendationRequest, DecisionRow]] = []
    for index, part in enumerate(decode_shape(data, BatchRequest).requests):
        try:
            wanted, row = _decide(services, part)
            decided.append((index, wanted, row))
            results.append(None)
        except CroupierError as error:
            results.append(problem_of(error, _BATCH_PATH))
    for index, answer in _answers(services, decided):
        results[index] = answer
    return {"results": [result for result in results if result is not None]}


def _answers(
    services: Services, decided: Sequence[tuple[int, RecommendationRequest, DecisionRow]]
) -> list[tuple[int, RecommendationAnswer | Problem]]:
    """Records decisions together, and answers each."""
    if not decided:
        return []
    recorded, durability = _record(services, [row for _, _, row in decided])
    answers: list[tuple[int, RecommendationAnswer | Problem]] = []
    for (index, wanted, _), row in zip(decided, recorded, strict=True):
        try:
            answers.append((index, _answer(wanted, row, durability)))
        except Conflict as error:
            answers.append((index, problem_of(error, _BATCH_PATH)))
    return answers


def _decide(services: Services, data: bytes | msgspec.Raw) -> tuple[RecommendationRequest, DecisionRow]:
    """The decision that a request asks for, not yet recorded."""
    started = time.perf_counter()
    wanted = decode(data, RecommendationRequest)
    row = decide(
        services.allocations.find(wanted.experiment),
        decision_id=_id_of(services, wanted),
        unit=wanted.unit,
        k=wanted.k,
        context=wanted.context,
        started=started,
        meter=services.telemetry.meter,
    )
    return wanted, row


def _id_of(services: Services, wanted: RecommendationRequest) -> UUID:
    """The client's id, if its time is credible, or a fresh one."""
    if wanted.decision_id is None:
        return new_id()
    check_id(wanted.decision_id, services, datetime.now(UTC))
    return wanted.decision_id


def _record(services: Services, rows: Sequence[DecisionRow]) -> tuple[Sequence[DecisionRow], Durability]:
    """Waits until rows are safe, unless all their experiments are content with less."""
    queued = all(services.allocations.find(row.experiment).specification.ack == "queued" for row in rows)
    recorded, durability = services.decisions.queue(rows) if queued else services.decisions.record(rows)
    note_decisions(services.telemetry, recorded)
    return recorded, durability


def _answer(wanted: RecommendationRequest, row: DecisionRow, durability: Durability) -> RecommendationAnswer:
    """The answer that is on record. A retry gets the first one; another request under the same id gets none."""
    if (row.experiment, row.unit) != (wanted.experiment, wanted.unit):
        raise Conflict(f"decision_id {row.decision_id} belongs to another experiment or unit; make a new one")
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
        durability=durability,
    )
