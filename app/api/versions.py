"""How views change experiments: meant for a version, answered with the next one."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from flask import Response, request

from app.api.http import reply, services
from app.api.schemas import ExperimentView
from app.errors import Fault, InvalidInput
from app.specification import Arm
from app.store.experiments import Experiment

__all__ = ["changed_to", "if_match", "merge_patch", "refuse_obstacles", "reply_with", "view_of"]


def changed_to(experiment: Experiment, status: int = 200) -> Response:
    """Answers a change; this worker serves by it from now on, the others within a poll interval."""
    services().allocations.reload(experiment.key)
    return reply_with(experiment, status)


def reply_with(experiment: Experiment, status: int = 200) -> Response:
    """An experiment as an answer, its version as the ETag."""
    return reply(view_of(experiment), status, {"ETag": f'"{experiment.version}"'})


def view_of(experiment: Experiment) -> dict[str, Any]:
    """The experiment as it is read: the specification's members beside those of the row."""
    row = ExperimentView(
        key=experiment.key,
        state=experiment.state,
        version=experiment.version,
        epoch=experiment.epoch,
        allocation=experiment.allocation,
        created_at=experiment.created_at,
        updated_at=experiment.updated_at,
    )
    return {**msgspec.structs.asdict(row), **msgspec.structs.asdict(experiment.specification)}


def if_match() -> int | None:
    """The version that a change is meant for; None: any."""
    tag = request.headers.get("If-Match", "*").strip()
    if tag == "*":
        return None
    found = re.fullmatch(r'(?:W/)?"(\d{1,9})"', tag)
    if found is None:
        raise InvalidInput.at("#", f"If-Match must be an ETag of this experiment, not {tag}")
    return int(found[1])


def refuse_obstacles(arms: Sequence[Arm], pointer: str = "#/arms/{}") -> None:
    """What this service's settings rule out is better heard of now than found in a log.

    Raises:
        InvalidInput: with a fault for each arm that could never answer; `pointer` says where the arms stand.
    """
    found = ((index, services().allocations.obstacle(arm)) for index, arm in enumerate(arms))
    faults = [Fault(f"{pointer.format(index)}/recommender", reason) for index, reason in found if reason is not None]
    if faults:
        raise InvalidInput(*faults)


def merge_patch(target: Any, changes: Any) -> Any:  # noqa: ANN401 - JSON
    """RFC 7396: members replace members, null removes, everything else is replaced whole."""
    if not isinstance(changes, dict):
        return changes
    merged = dict(target) if isinstance(target, dict) else {}
    for name, change in changes.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), change)
    return merged
