"""What tells two specifications apart, and what starts a new epoch."""

from typing import Any

import msgspec

from app.specification.shape import Specification

__all__ = ["epoch_changes", "same"]


def epoch_changes(old: Specification, new: Specification) -> bool:
    """Whether exposures before and after the change are not comparable: other arms, policy, reward or assignment."""
    return not same(_dealt_by(old), _dealt_by(new))


def same(one: object, other: object) -> bool:
    """Whether two parts of specifications are the same JSON; to Python's `==`, true would be the same as 1."""
    return _told_apart(msgspec.to_builtins(one)) == _told_apart(msgspec.to_builtins(other))


def _dealt_by(specification: Specification) -> tuple[Any, ...]:
    """All that decides which arm a unit is given and what its outcome means."""
    arms = tuple((arm.key, arm.recommender, arm.state) for arm in specification.arms)
    s = specification
    return arms, s.control_arm, s.policy, s.reward, s.memory, s.assignment, s.exposure, s.holdout


def _told_apart(value: object) -> object:
    """A JSON value, with everything in it marked as a boolean or not."""
    if isinstance(value, dict):
        return {key: _told_apart(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_told_apart(part) for part in value]
    return isinstance(value, bool), value
