"""Off-policy evaluation: what another policy would have earned, by the experiment's own log."""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from flask import Blueprint, request

from app.api.query import number
from app.console.pictures import interval_line
from app.console.rendering import rendered
from app.console.scope import Scope, of_experiment
from app.console.security import services, viewers
from app.errors import Conflict, InvalidInput
from app.evaluation.experiment import EvaluationRequest, ExperimentEvaluation, evaluate_experiment
from app.evaluation.report import notes
from app.reports.timeline import RANGES
from bandits.policy import POLICIES

__all__ = ["blueprint"]

blueprint = Blueprint("evaluate", __name__, url_prefix="/evaluate")

_RANGES: Final = ("24h", "7d", "30d", "90d")
_TARGETS: Final = {"policy": "a policy", "arm": "always one arm", "shares": "fixed shares"}
_LEVELS: Final = ("0.9", "0.95", "0.99")
_LONGEST: Final = 2000
_NAMES: Final = {
    "ips": "Inverse propensity (IPS)",
    "clipped_ips": "IPS, weights clipped",
    "snips": "Self-normalised IPS",
    "dm": "Direct method",
    "dr": "Doubly robust",
    "sndr": "Self-normalised doubly robust",
    "switch_dr": "Switch doubly robust",
    "dros": "Doubly robust, weights shrunk",
}


@blueprint.get("")
@viewers
@of_experiment(*_RANGES, usual="30d")
def show(scope: Scope) -> str:
    """The form; and what came of it, once a target is named. The URL has all of it, so that it can be sent."""
    found, fault = None, ""
    if request.args.get("target") in _TARGETS:
        try:
            found = _evaluated(scope)
        except (InvalidInput, Conflict) as error:  # beside the form, where it can be put right
            fault = "; ".join(f.detail for f in error.faults) if isinstance(error, InvalidInput) else error.detail
    return rendered(
        "evaluate.html",
        scope=scope,
        found=found,
        fault=fault,
        notes=notes(found) if found else [],
        lines=_lines(found) if found else {},
        names=_NAMES,
        targets=_TARGETS,
        policies=list(POLICIES),
        levels=_LEVELS,
        asked=request.args,
    )


def _evaluated(scope: Scope) -> ExperimentEvaluation:
    parts, reach = services(), RANGES[scope.range][0]
    asked = {**_target(request.args["target"]), "level": number("level", 0.95, low=0.01, high=0.9999)}
    try:
        wanted = msgspec.convert(asked | {"since": scope.now - reach}, EvaluationRequest)
    except msgspec.ValidationError as error:
        raise InvalidInput.at("#", f"the form cannot be used: {error}") from error
    return evaluate_experiment(parts.database, scope.experiment.key, wanted, now=scope.now, aside=parts.aside)


def _target(kind: str) -> dict[str, Any]:
    """What the form means, as the API's request has it."""
    if kind == "arm":
        return {"arm": request.args.get("arm", "")}
    if kind == "shares":
        return {"probabilities": _shares(request.args.get("shares", "")[:_LONGEST])}
    return {"policy": {"kind": request.args.get("policy", ""), **_parameters(request.args.get("parameters", ""))}}


def _parameters(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text[:_LONGEST]) if text.strip() else {}
    except ValueError as error:
        raise InvalidInput.at("#/parameters", f"the parameters are no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput.at("#/parameters", 'the parameters must be an object, as {"min_propensity": 0.05}')
    return found


def _shares(text: str) -> dict[str, float]:
    """From `a 0.7, b 0.3` or the same with equals signs."""
    found = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        arm, _, share = part.replace("=", " ").rpartition(" ")
        try:
            found[arm.strip()] = float(share)
        except ValueError:
            raise InvalidInput.at("#/shares", f"{part!r} is no share; write as in: a 0.7, b 0.3") from None
    return found


def _lines(found: ExperimentEvaluation) -> Mapping[str, Any]:
    """A picture of each estimate's interval on one axis; '' is the log itself."""
    known = {name: estimate for name, estimate in found.estimates.items() if estimate}
    ends = [*found.log.interval, *(end for estimate in known.values() for end in estimate.interval)]
    room = (max(ends) - min(ends)) * 0.05
    within = min(ends) - room, max(ends) + room
    mark = found.log.mean
    pictures = {name: interval_line(e.value, e.interval, within, mark=mark) for name, e in known.items()}
    return {"": interval_line(found.log.mean, found.log.interval, within, mark=mark), **pictures}
