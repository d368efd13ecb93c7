"""Edits of a specification, one arm or one unit at a time: pure functions, for `app.experiments` to check and store."""

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from app.errors import Conflict, InvalidInput, NotFound
from app.specification import Arm, ArmState, Override, Specification, same

__all__ = ["add_arm", "change_arm", "pin", "ship", "unpin"]


def add_arm(specification: Specification, arm: Arm, ever: Mapping[str, Arm]) -> Specification:
    """Adds an arm at the end, or takes a retired one back.

    Args:
        specification: what to change.
        arm: the arm.
        ever: by key, each arm that the experiment ever had, as it was last.

    Raises:
        Conflict: the key is in use, or was that of another arm.
    """
    present = {known.key: known for known in specification.arms}
    known = present.get(arm.key)
    if known is not None and known.state != "retired":
        raise Conflict(f"Arm {arm.key!r} exists and is {known.state}; PATCH changes it")
    before = ever.get(arm.key)
    if before is not None and not same(before.recommender, arm.recommender):
        raise Conflict(
            f"Key {arm.key!r} was that of an arm with another recommender, and keys are not used again: choose another"
        )
    return replace(specification, arms=tuple({**present, arm.key: arm}.values()))


def change_arm(specification: Specification, key: str, changed: Callable[[Arm], Arm]) -> Specification:
    """Replaces one arm by what `changed` makes of it. Its place stays, and so must its key.

    Raises:
        NotFound: there is no such arm.
        InvalidInput: it would get another key.
        Conflict: it would stop serving though the experiment needs it.
    """
    present = {arm.key: arm for arm in specification.arms}
    old = present.get(key)
    if old is None:
        raise NotFound(f"There is no arm {key!r}; the arms are {', '.join(present)}")
    new = changed(old)
    if new.key != key:
        raise InvalidInput.at("#/key", f"arm {key!r} keeps its key; add another arm under {new.key!r} instead")
    if new.state not in ("active", old.state):
        _refuse_to_lose(specification, old, new.state)
    return replace(specification, arms=tuple({**present, key: new}.values()))


def ship(specification: Specification, key: str) -> Specification:
    """Gives one arm to everybody: it becomes the control, and no other is chosen any more.

    Raises:
        NotFound: there is no such arm.
        Conflict: it is not active.
    """
    states = {arm.key: arm.state for arm in specification.arms}
    if key not in states:
        raise NotFound(f"There is no arm {key!r}; the arms are {', '.join(states)}")
    if states[key] != "active":
        raise Conflict(f"Arm {key!r} is {states[key]}: only an active arm can be given to everybody")
    arms = tuple(
        replace(arm, state="draining") if arm.key != key and arm.state == "active" else arm
        for arm in specification.arms
    )
    return replace(specification, arms=arms, control=key)


def pin(specification: Specification, unit: str, arm: str) -> Specification:
    """Names a unit in the overrides of an arm, instead of where it was named before."""
    if _pinned(specification, unit) == arm:
        return specification
    overrides = _without(specification.overrides, unit)
    place = next((place for place, override in enumerate(overrides) if override.arm == arm), None)
    if place is None:
        overrides.append(Override(arm=arm, units=(unit,)))
    else:
        overrides[place] = replace(overrides[place], units=(*overrides[place].units, unit))
    return replace(specification, overrides=tuple(overrides))


def unpin(specification: Specification, unit: str) -> Specification:
    """Takes a unit out of the overrides that name it.

    Raises:
        NotFound: none does.
    """
    if _pinned(specification, unit) is None:
        raise NotFound(f"No override names unit {unit!r}")
    return replace(specification, overrides=tuple(_without(specification.overrides, unit)))


def _refuse_to_lose(specification: Specification, arm: Arm, state: ArmState) -> None:
    if arm.key == specification.control_arm:
        raise Conflict(
            f"Arm {arm.key!r} is the control arm, which pauses, the holdout and fallbacks need: "
            f"make another arm the control before this one is {state}"
        )
    if not any(other.state == "active" for other in specification.arms if other.key != arm.key):
        raise Conflict(f"Arm {arm.key!r} is the last active one: add or activate another before this one is {state}")


def _pinned(specification: Specification, unit: str) -> str | None:
    """The arm of the override that names a unit."""
    return next((override.arm for override in specification.overrides if unit in override.units), None)


def _without(overrides: Sequence[Override], unit: str) -> list[Override]:
    """Overrides that do not name a unit; one that would pin nobody any more is left out."""
    others = [replace(o, units=tuple(named for named in o.units if named != unit)) for o in overrides]
    return [override for override in others if override.units or override.share is not None]
