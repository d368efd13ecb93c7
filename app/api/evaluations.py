"""`/v1/experiments/{key}/evaluate`: what another policy would have earned."""

from datetime import UTC, datetime

from flask import Blueprint, Response

from app.api.http import read, reply, requires, services
from app.api.operations import describes
from app.auth import Scope
from app.evaluation.experiment import EvaluationRequest, ExperimentEvaluation, evaluate_experiment

__all__ = ["blueprint"]

blueprint = Blueprint("evaluations", __name__, url_prefix="/v1/experiments")


@blueprint.post("/<key>/evaluate")
@requires(Scope.READ)
@describes(ExperimentEvaluation, takes=EvaluationRequest, refusals=(409,))
def evaluate(key: str) -> Response:
    """What a policy, an arm or given probabilities would have earned on the experiment's own log."""
    wanted = read(EvaluationRequest)
    parts = services()
    return reply(evaluate_experiment(parts.database, key, wanted, now=datetime.now(UTC), aside=parts.aside))
