"""In which state the outcomes of one decision are, and whether it counts as an exposure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from app.specification import Contract
from app.store.decisions import DecisionRow

__all__ = ["Exposure", "OutcomeState", "exposure_of", "outcome_states"]

_NEVER = "-infinity"  # of outcomes older than the column: they are in time


class Exposure(Struct, frozen=True, kw_only=True):
    """Whether a decision counts as an exposure: `excluded` ones never do, `awaiting` ones once they are confirmed."""

    state: Literal["exposed", "awaiting", "excluded"]
    at: datetime | None = None  # when the unit saw it: the attribution window begins then
    confirmed_at: datetime | None = None  # as the frontend said


class OutcomeState(Struct, frozen=True, kw_only=True):
    """The outcome of a decision for one metric.

    `state` is null while the exposure is not confirmed and nothing came: then there is nothing to wait for.
    """

    state: Literal["pending", "defaulted", "observed", "corrected", "rejected"] | None
    value: float | None = None
    events: int = 0
    late_at: datetime | None = None  # end of the attribution window


def exposure_of(decision: DecisionRow, confirmed_at: datetime | None) -> Exposure:
    """Whether and when a decision was seen, and whether the policy may learn from that."""
    at: datetime | None = decision.decided_at
    if decision.awaits_confirmation:
        at = None if confirmed_at is None else max(confirmed_at, decision.decided_at)
    state: Literal["exposed", "awaiting", "excluded"] = "exposed" if at else "awaiting"
    return Exposure(state=state if decision.learnable else "excluded", at=at, confirmed_at=confirmed_at)


def outcome_states(
    contract: Contract,
    exposure: Exposure,
    outcomes: Mapping[str, Mapping[str, Any]],
    rejections: Sequence[Mapping[str, Any]],
    now: datetime,
) -> dict[str, OutcomeState]:
    """The state of each metric that the decision's epoch declared.

    Args:
        contract: of the epoch.
        exposure: of the decision.
        outcomes: rows of `outcomes` about it, by metric.
        rejections: rows of `quarantine` about it that were not replayed since.
        now: by which windows have passed.
    """
    refused = {(r["payload"].get("metric") or contract.reward.metric) for r in rejections if r["kind"] == "feedback"}
    late_at = None if exposure.at is None else contract.late_at(exposure.at)
    return {
        metric: _observed(outcomes[metric], late_at)
        if metric in outcomes
        else _silent(contract, metric, late_at, refused=metric in refused, now=now)
        for metric in sorted(contract.metrics.keys() | outcomes.keys() | refused)
    }


def _observed(outcome: Mapping[str, Any], late_at: datetime | None) -> OutcomeState:
    first_at = outcome["first_at"]
    is_late = late_at is not None and first_at != _NEVER and datetime.fromisoformat(first_at) > late_at
    state: Literal["corrected", "observed"] = "corrected" if is_late else "observed"
    return OutcomeState(state=state, value=outcome["value"], events=outcome["events"], late_at=late_at)


def _silent(contract: Contract, metric: str, late_at: datetime | None, *, refused: bool, now: datetime) -> OutcomeState:
    """Of a metric for which nothing came that could be used."""
    if refused:
        return OutcomeState(state="rejected", late_at=late_at)
    if late_at is None:
        return OutcomeState(state=None)
    if now <= late_at or contract.reward.missing == "explicit":
        return OutcomeState(state="pending", late_at=late_at)
    default = contract.reward.default if metric == contract.reward.metric else None
    return OutcomeState(state="defaulted", value=default, late_at=late_at)
