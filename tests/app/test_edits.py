"""Edits of one arm or one unit: what they make of a specification, and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.edits import add_arm, change_arm, pin, unpin
from app.errors import Conflict, InvalidInput, NotFound
from app.specification import Arm, ArmState, Override, Specification, check
from tests.app.building import flag

SPEC = Specification(arms=(flag("a", 1), flag("b", 2), flag("c", 3, state="draining")), control="b")


def stop(spec: Specification, key: str, state: ArmState = "draining") -> Specification:
    """The specification with an arm in another state."""
    return change_arm(spec, key, lambda arm: replace(arm, state=state))


def test_a_new_arm_goes_to_the_end() -> None:
    """The order of the others, which all vectors follow, stays."""
    assert add_arm(SPEC, flag("d", 4), {}).arms == (*SPEC.arms, flag("d", 4))


def test_a_retired_arm_comes_back_to_its_place() -> None:
    """With whatever prior and state it is given, but with its own recommender."""
    retired = stop(SPEC, "a", "retired")
    back = flag("a", 1, prior={"alpha": 3.0})
    assert add_arm(retired, back, {arm.key: arm for arm in retired.arms}).arms == (back, *SPEC.arms[1:])


def test_an_arm_keeps_its_place_and_key() -> None:
    """A change replaces it where it stands; another key would be another arm."""
    assert change_arm(SPEC, "a", lambda _: flag("a", 9)).arms == (flag("a", 9), *SPEC.arms[1:])
    with pytest.raises(InvalidInput, match=r"'a' keeps its key.*'x'"):
        change_arm(SPEC, "a", lambda arm: replace(arm, key="x"))
    with pytest.raises(NotFound, match="'x'; the arms are a, b, c"):
        change_arm(SPEC, "x", lambda arm: arm)


@pytest.mark.parametrize("state", ["draining", "retired"])
def test_an_arm_that_is_needed_is_neither_drained_nor_retired(state: ArmState) -> None:
    """The control arm serves in pauses and for the holdout, and somebody has to serve at all."""
    with pytest.raises(Conflict, match=f"'b' is the control arm.*{state}"):
        stop(SPEC, "b", state)
    with pytest.raises(Conflict, match="'a' is the control arm"):
        stop(replace(SPEC, control=None), "a", state)
    alone = replace(stop(SPEC, "a"), control="c")  # a drained control is left from a PUT
    with pytest.raises(Conflict, match=f"'b' is the last active one.*{state}"):
        stop(alone, "b", state)
    assert stop(SPEC, "a", state).arms[0].state == state


def test_a_control_arm_that_is_drained_can_be_changed_otherwise() -> None:
    """What a PUT has drained can get another prior, and be made active again."""
    drained = replace(SPEC, control="c")
    assert change_arm(drained, "c", lambda arm: replace(arm, prior={"alpha": 2.0})).arms[2].state == "draining"
    assert stop(drained, "c", "active").arms[2].state == "active"
    with pytest.raises(Conflict, match="control"):
        stop(drained, "c", "retired")


def test_a_pinned_unit_joins_the_override_of_its_arm() -> None:
    """There is one override per arm, made when it is needed; a share that the arm has stays."""
    one = pin(SPEC, "u", "b")
    assert one.overrides == (Override(arm="b", units=("u",)),)
    assert pin(one, "v", "b").overrides == (Override(arm="b", units=("u", "v")),)
    shared = replace(SPEC, overrides=(Override(arm="a", share=0.1),))
    assert pin(shared, "u", "a").overrides == (Override(arm="a", units=("u",), share=0.1),)


def test_a_unit_that_is_let_go_leaves_nothing_behind() -> None:
    """An override that pins nobody any more goes too; one with a share stays, in its place."""
    both = (Override(arm="a", units=("u",), share=0.1), Override(arm="b", units=("v",)))
    spec = replace(SPEC, overrides=both)
    assert unpin(spec, "u").overrides == (Override(arm="a", share=0.1), both[1])
    assert unpin(spec, "v").overrides == both[:1]
    with pytest.raises(NotFound, match="'w'"):
        unpin(spec, "w")


UNITS = st.sampled_from([f"u{n}" for n in range(6)])


@given(st.lists(st.tuples(UNITS, st.sampled_from("abx")), max_size=30))
def test_pins_are_a_mapping_from_units_to_arms(steps: list[tuple[str, str]]) -> None:
    """Whatever is pinned and let go, in whatever order: each unit is where it was pinned last, and all is valid."""
    spec = Specification(arms=(Arm(key="a"), Arm(key="b")), overrides=(Override(arm="b", share=0.1),))
    expected: dict[str, str] = {}
    for unit, arm in steps:
        if arm != "x":
            spec, expected[unit] = pin(spec, unit, arm), arm
            assert pin(spec, unit, arm) is spec
        elif expected.pop(unit, None):
            spec = unpin(spec, unit)
        check(spec)
    assert {unit: override.arm for override in spec.overrides for unit in override.units} == expected
    assert spec.overrides[0].share == 0.1
