"""What operators do to an experiment: confirmed on a page of its own, done by the API's functions, and audited."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from app import edits, experiments
from app.errors import InvalidInput
from app.specification import Arm, Specification, UnitId
from app.store.database import Database
from app.store.experiments import Experiment

__all__ = ["ACTIONS", "Action", "Subject", "perform", "possible"]

Needs = Literal["arm", "unit"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What an action is about, beside the experiment."""

    arm: str = ""
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action.

    Attributes:
        title: on its button.
        consequence: what will happen, for the confirmation.
        done: what has happened, afterwards.
        needs: what must be named.
        states: of the experiment, in which it can be done.
        is_grave: whether it cannot simply be taken back.
        edit: of the specification; None: it is a move to another state.
    """

    title: str
    consequence: str
    done: str
    states: tuple[str, ...]
    needs: tuple[Needs, ...] = ()
    is_grave: bool = False
    edit: Callable[[Specification, Subject], Specification] | None = None


def _drained(arm: Arm) -> Arm:
    return msgspec.structs.replace(arm, state="draining")


_LIVE: Final = ("draft", "running", "paused")

ACTIONS: Final[Mapping[str, Action]] = {
    "start": Action(
        title="Start",
        consequence="The policy begins to choose arms.",
        done="The experiment has started.",
        states=("draft",),
    ),
    "pause": Action(
        title="Pause",
        consequence="Everybody gets the control arm until it is resumed. Feedback still counts.",
        done="The experiment is paused: everybody gets the control arm.",
        states=("running",),
    ),
    "resume": Action(
        title="Resume",
        consequence="The policy chooses arms again.",
        done="The experiment runs again.",
        states=("paused",),
    ),
    "stop": Action(
        title="Stop",
        consequence="The experiment ends: requests for it get an error, and it cannot be started again.",
        done="The experiment is stopped.",
        states=_LIVE,
        is_grave=True,
    ),
    "drain": Action(
        title="Drain",
        consequence="The policy no longer chooses the arm. Feedback for its decisions is still taken.",
        done="The arm is draining.",
        states=_LIVE,
        needs=("arm",),
        edit=lambda specification, to: edits.change_arm(specification, to.arm, _drained),
    ),
    "pin": Action(
        title="Override",
        consequence="The unit gets this arm, whatever the policy says. Its decisions are never learned from.",
        done="The unit is pinned to the arm.",
        states=_LIVE,
        needs=("unit", "arm"),
        edit=lambda specification, to: edits.pin(specification, to.unit, to.arm),
    ),
    "unpin": Action(
        title="Let go",
        consequence="The policy chooses for the unit again.",
        done="The policy chooses for the unit again.",
        states=_LIVE,
        needs=("unit",),
        edit=lambda specification, to: edits.unpin(specification, to.unit),
    ),
    "ship": Action(
        title="Ship the winner",
        consequence="The arm becomes the control arm and every other arm is drained: from now on everybody gets it.",
        done="The winner is shipped: everybody gets it.",
        states=_LIVE,
        needs=("arm",),
        is_grave=True,
        edit=lambda specification, to: edits.ship(specification, to.arm),
    ),
}


def possible(experiment: Experiment, *needs: Needs) -> dict[str, Action]:
    """The actions that the experiment's state allows and that need just this."""
    return {name: a for name, a in ACTIONS.items() if experiment.state in a.states and a.needs == needs}


def perform(
    database: Database, key: str, name: str, subject: Subject, *, version: int | None, actor: str
) -> Experiment:
    """Does it, in one transaction with its entry in the audit log.

    Args:
        database: where the experiment is.
        key: the experiment's.
        name: of the action.
        subject: what it is about.
        version: of the experiment that the operator saw; None: whichever.
        actor: who does it.

    Raises:
        InvalidInput: what it needs is not named.
        PreconditionFailed: somebody has changed the experiment meanwhile.
        NotFound, Conflict: as the API's.
    """
    action = ACTIONS[name]
    for need in action.needs:
        if not getattr(subject, need):
            raise InvalidInput.at(f"#/{need}", f"name the {need}")
    if "unit" in action.needs:
        _check_unit(subject.unit)
    edit = action.edit
    if edit is None:
        return experiments.change_state(database, key, name, actor=actor)  # type: ignore[arg-type] # its own words
    return experiments.patch(
        database, key, lambda specification: edit(specification, subject), if_match=version, actor=actor
    )


def _check_unit(unit: str) -> None:
    try:
        msgspec.convert(unit, UnitId)
    except msgspec.ValidationError as error:
        raise InvalidInput.at("#/unit", f"the unit {unit[:50]!r} is none: {error}") from error
