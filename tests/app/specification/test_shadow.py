"""What a shadow may be, and that it is no part of what is dealt."""

import pytest

from app.errors import InvalidInput
from app.specification import Arm, Shadow, Specification, check, epoch_changes
from bandits.fixed import Fixed
from bandits.policy import AnyPolicy
from bandits.thompson import ThompsonSampling

ARMS = (Arm(key="a"), Arm(key="b"), Arm(key="c", state="draining"))
GREEDY: AnyPolicy = ThompsonSampling(min_propensity=0.4)


@pytest.mark.parametrize(
    ("shadow", "pointer"),
    [
        (Shadow(policy=ThompsonSampling(), arms=("a", "x")), "#/shadow/arms/1"),
        (Shadow(policy=ThompsonSampling(), arms=("a", "a")), "#/shadow/arms/1"),
        (Shadow(policy=ThompsonSampling(), arms=("c",)), "#/shadow/arms"),
        (Shadow(policy=Fixed(probabilities={"a": 1}), arms=("a", "b")), "#/shadow/policy"),
        (Shadow(policy=Fixed(probabilities={"a": 0.5, "b": 0.5}), arms=("a",)), "#/shadow/policy"),
        (Shadow(policy=GREEDY), "#/shadow/policy/min_propensity"),
    ],
    ids=["unknown arm", "named twice", "none active", "share missing", "share of another arm", "floor too high"],
)
def test_a_shadow_that_does_not_fit_is_refused(shadow: Shadow, pointer: str) -> None:
    """With a pointer to what is wrong."""
    with pytest.raises(InvalidInput) as raised:
        check(Specification(arms=ARMS, shadow=shadow))
    assert pointer in [fault.pointer for fault in raised.value.faults]


def test_a_policy_need_only_fit_the_arms_that_it_may_choose() -> None:
    """A floor that is too high for three arms does for two."""
    check(Specification(arms=ARMS, shadow=Shadow(policy=GREEDY, arms=("a", "b"))))


def test_another_shadow_is_no_other_epoch() -> None:
    """Nobody is served differently, so exposures stay comparable."""
    old, new = Specification(arms=ARMS), Specification(arms=ARMS, shadow=Shadow(policy=ThompsonSampling()))
    assert not epoch_changes(old, new)
    assert epoch_changes(old, Specification(arms=ARMS, policy=GREEDY))
