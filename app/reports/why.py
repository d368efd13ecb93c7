"""Why an arm was chosen, in a sentence."""

from app.store.allocations import Origin
from app.store.decisions import DecisionRow

__all__ = ["why"]

_MADE = {
    "warm_up": "gives each new arm its first exposures",
    "config": "came with a change of the experiment",
    "learned": "was learned",
}


def why(decision: DecisionRow, allocation: Origin | None) -> str:
    """Why this arm: who chose it, with which probability, from what; and what came in between."""
    return f"{_chosen(decision)} {_from(decision, allocation)}".strip()


def _chosen(decision: DecisionRow) -> str:
    arm = repr(decision.arm)
    if decision.reason == "override":
        return f"An override pins the unit to arm {arm}."
    if decision.reason == "holdout":
        return f"The unit is held out, so it always gets the control arm {arm}."
    if decision.reason == "paused":
        return f"The experiment was paused, so everybody got the control arm {arm}."
    if decision.reason == "fallback":
        instead = "the fallback list" if decision.served_arm is None else f"arm {decision.served_arm!r}"
        return (
            f"Arm {arm} was chosen with probability {decision.propensity:.4g}, but its recommender did not answer:"
            f" {instead} was given instead, and nothing is learned from it."
        )
    warming_up = ", while arms warmed up" if decision.reason == "warm_up" else ""
    return f"The policy chose arm {arm} with probability {decision.propensity:.4g}{warming_up}."


def _from(decision: DecisionRow, allocation: Origin | None) -> str:
    """Where the probability comes from, if it comes from an allocation."""
    if decision.reason in ("override", "holdout", "paused"):
        return ""
    if allocation is None:
        return f"Allocation {decision.allocation} is not kept any more."
    made = _MADE.get(allocation.reason, f"was made because of {allocation.reason}")
    as_of = f"{allocation.data_as_of:%Y-%m-%d %H:%M:%S} UTC"
    return f"Allocation {allocation.number} {made}, from outcomes up to {as_of}."
