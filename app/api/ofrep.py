"""OpenFeature's remote evaluation protocol, OFREP 0.3: a flag is an experiment, and a variant is an arm."""

import re
import time
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, request

from app.api.codec import decode
from app.api.http import Names, body, caller, reply, requires, services
from app.api.recommendations import record
from app.api.schemas import AllFlags, FlagAnswer, FlagMetadata, FlagRequest
from app.auth import Scope, permit
from app.errors import InvalidInput, NotFound, TargetingKeyMissing
from app.ids import new_id
from app.services import Services
from app.serving.allocations import Served
from app.serving.decide import About
from app.serving.flags import evaluate, tag_of
from app.serving.watching import EVALUATION_REASONS
from app.specification import KEY_PATTERN
from app.store.decisions import DecisionRow
from app.store.keys import KeyRecord

__all__ = ["blueprint", "evaluate_flag"]

blueprint = Blueprint("ofrep", __name__)

_FLAGS = "/ofrep/v1/evaluate/flags"
_TARGETING_KEY: Final = "targetingKey"
_LONGEST_UNIT: Final = 256
_MOST_FLAGS: Final = 1000
# The context is logged with each of the flags.
_LARGEST_BULK_BODY: Final = 16 * 1024


@blueprint.post(f"{_FLAGS}/<key>")
@requires(Scope.DECIDE, Names.ITSELF)
def post_flag(key: str) -> Response:
    """One flag."""
    return reply(evaluate_flag(services(), caller(), key, body()))


@blueprint.post(_FLAGS)
@requires(Scope.DECIDE, Names.ITSELF)
def post_flags() -> Response:
    """All flags of a unit that the key is for; nothing is decided while what it has is still to be held."""
    about, parts, only = _bulk_of(body()), services(), caller().experiments
    flags = [flag for flag in parts.allocations.every() if only is None or flag.key in only]
    tag = tag_of(flags[:_MOST_FLAGS], about.unit, datetime.now(UTC).timestamp())
    headers = {"ETag": f'W/"{tag}"'}  # weak: of two answers with the same tag each has decisions of its own
    if request.if_none_match.contains_weak(tag):
        unchanged = Response(status=304, headers=headers)
        del unchanged.headers["Content-Type"]
        return unchanged
    parts.keys.charge(caller(), min(len(flags), _MOST_FLAGS) - 1)
    return reply(_all_flags(parts, flags, about), headers=headers)


def evaluate_flag(services: Services, key: KeyRecord, flag: str, data: bytes) -> FlagAnswer:
    """Chooses an arm, and says it as a flag's value."""
    about = _about(data)
    permit(key, flag)
    (row,), _ = record(services, [evaluate(_find(services, flag), about)])
    return _answer(row)


def _all_flags(services: Services, flags: list[Served], about: About) -> AllFlags:
    """The same for all flags, the first thousand by key."""
    rows = [evaluate(one, about._replace(decision_id=new_id()), held=True) for one in flags[:_MOST_FLAGS]]
    recorded = record(services, rows)[0] if rows else ()
    left_out = len(flags) - len(rows)
    return AllFlags(
        flags=[_answer(row) for row in recorded],
        metadata={"left_out": left_out} if left_out else {},
    )


def _find(services: Services, key: str) -> Served:
    """The experiment behind a flag, if it gives anything."""
    served = services.allocations.find(key) if re.match(KEY_PATTERN, key) else None
    if served is None:
        raise NotFound(f"There is no experiment {key!r}: keys are 1 to 64 of A-Z a-z 0-9 . _ : -")
    if not served.deals:
        raise NotFound(f"Experiment {key!r} is {served.state}: use the default of your code")
    return served


def _bulk_of(data: bytes) -> About:
    """A request for all flags."""
    if len(data) > _LARGEST_BULK_BODY:
        raise InvalidInput.at(
            "#/context", f"it is logged with each flag, so the body may have {_LARGEST_BULK_BODY} bytes"
        )
    return _about(data)


def _about(data: bytes) -> About:
    """Who is served and in which context, under a fresh id."""
    started = time.perf_counter()
    context = decode(data, FlagRequest).context
    unit = _unit_of(context)
    attributes = {name: value for name, value in context.items() if name != _TARGETING_KEY}
    return About(decision_id=new_id(), unit=unit, context=attributes, started=started)


def _unit_of(context: dict[str, Any]) -> str:
    """OpenFeature calls it the targeting key."""
    unit, pointer = context.get(_TARGETING_KEY), f"#/context/{_TARGETING_KEY}"
    if unit is None or unit == "":
        raise TargetingKeyMissing.at(pointer, "is missing: it says who is served")
    if not isinstance(unit, str) or len(unit) > _LONGEST_UNIT:
        raise InvalidInput.at(pointer, f"must be a text of 1 to {_LONGEST_UNIT} characters")
    return unit


def _answer(row: DecisionRow) -> FlagAnswer:
    """A decision as OpenFeature words it."""
    return FlagAnswer(
        key=row.experiment,
        value=row.arm if row.payload is None else row.payload,
        reason=EVALUATION_REASONS.get(row.reason, "unknown").upper(),
        variant=row.arm,
        metadata=FlagMetadata(decision_id=row.decision_id, propensity=row.propensity, allocation=row.allocation),
    )
