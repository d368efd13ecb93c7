"""`POST /v1/recommendations`, one decision or many: each is answered once its row is safe."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec
from flask import Blueprint, Response

from app.api.codec import decode, decode_shape
from app.api.http import Names, body, caller, reply, requires, services
from app.api.ids import check_id
from app.api.problems import Problem, problem_of
from app.api.schemas import BatchRequest, RecommendationAnswer, RecommendationRequest
from app.auth import Scope, permit
from app.errors import Conflict, CroupierError
from app.ids import new_id
from app.services import Services
from app.serving.allocations import Served
from app.serving.decide import decide, items_of
from app.serving.durability import Durability
from app.serving.watching import note_decisions
from app.store.decisions import DecisionRow
from app.store.keys import KeyRecord

__all__ = ["blueprint", "recommend", "recommend_batch", "record"]

blueprint = Blueprint("recommendations", __name__)

_BATCH_PATH = "/v1/recommendations/batch"


class _Asked(NamedTuple):
    """A request that can be decided."""

    wanted: RecommendationRequest
    served: Served
    decision_id: UUID
    started: float  # `time.perf_counter()` when it arrived


@blueprint.post("/v1/recommendations")
@requires(Scope.DECIDE, Names.ITSELF)
def post_recommendation() -> Response:
    """One decision."""
    return reply(recommend(services(), caller(), body()))


@blueprint.post(_BATCH_PATH)
@requires(Scope.DECIDE, Names.ITSELF)
def post_recommendations() -> Response:
    """Many decisions."""
    return reply(recommend_batch(services(), caller(), body()))


def recommend(services: Services, key: KeyRecord, data: bytes) -> RecommendationAnswer:
    """Chooses an arm and returns its items."""
    asked = _asked(services, key, data)
    (recorded,), durability = record(services, [_decide(services, asked)])
    return _answer(asked.wanted, recorded, durability)


def recommend_batch(services: Services, key: KeyRecord, data: bytes) -> dict[str, list[RecommendationAnswer | Problem]]:
    """The same for many requests; what is wrong with one is its result, and the others are decided."""
    results: dict[int, RecommendationAnswer | Problem] = {}
    asked: dict[int, _Asked] = {}
    requests = decode_shape(data, BatchRequest).requests
    services.keys.charge(key, len(requests) - 1)
    for index, part in enumerate(requests):
        try:
            asked[index] = _asked(services, key, part)
        except CroupierError as error:
            results[index] = problem_of(error, _BATCH_PATH)
    decided: list[tuple[int, RecommendationRequest, DecisionRow]] = []
    for index, outcome in _decide_all(services, asked):
        if isinstance(outcome, CroupierError):
            results[index] = problem_of(outcome, _BATCH_PATH)
        else:
            decided.append((index, asked[index].wanted, outcome))
    results.update(_answers(services, decided))
    return {"results": [results[index] for index in sorted(results)]}


def _decide_all(services: Services, asked: Mapping[int, _Asked]) -> list[tuple[int, DecisionRow | CroupierError]]:
    """Decides each request: most one after the other, then together those that may wait for a recommender outside."""
    at_once = [(index, _try(services, one)) for index, one in asked.items() if not one.served.waits]
    waiting = [index for index, one in asked.items() if one.served.waits]
    outcomes = services.together([partial(_try, services, asked[index]) for index in waiting])
    return [*at_once, *zip(waiting, outcomes, strict=True)]


def _try(services: Services, asked: _Asked) -> DecisionRow | CroupierError:
    try:
        return _decide(services, asked)
    except CroupierError as error:
        return error


def _answers(
    services: Services, decided: Sequence[tuple[int, RecommendationRequest, DecisionRow]]
) -> list[tuple[int, RecommendationAnswer | Problem]]:
    """Records decisions together, and answers each."""
    if not decided:
        return []
    recorded, durability = record(services, [row for _, _, row in decided])
    answers: list[tuple[int, RecommendationAnswer | Problem]] = []
    for (index, wanted, _), row in zip(decided, recorded, strict=True):
        try:
            answers.append((index, _answer(wanted, row, durability)))
        except Conflict as error:
            answers.append((index, problem_of(error, _BATCH_PATH)))
    return answers


def _asked(services: Services, key: KeyRecord, data: bytes | msgspec.Raw) -> _Asked:
    """A request, decoded and checked."""
    started = time.perf_counter()
    wanted = decode(data, RecommendationRequest)
    permit(key, wanted.experiment)
    served = services.allocations.find(wanted.experiment)
    return _Asked(wanted, served, _id_of(services, wanted), started)


def _decide(services: Services, asked: _Asked) -> DecisionRow:
    """The decision that a request asks for, not yet recorded."""
    wanted = asked.wanted
    return decide(
        asked.served,
        decision_id=asked.decision_id,
        unit=wanted.unit,
        k=wanted.k,
        context=wanted.context,
        started=asked.started,
        meter=services.telemetry.meter,
    )


def _id_of(services: Services, wanted: RecommendationRequest) -> UUID:
    """The client's id, if its time is credible, or a fresh one."""
    if wanted.decision_id is None:
        return new_id()
    check_id(wanted.decision_id, services, datetime.now(UTC))
    return wanted.decision_id


def record(services: Services, rows: Sequence[DecisionRow]) -> tuple[Sequence[DecisionRow], Durability]:
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
