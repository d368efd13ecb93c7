"""A dry look at what arms answer."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.errors import InvalidInput
from app.preview import MOST_ARMS, ArmPreview, Preview, PreviewRequest, preview
from app.recommenders import Item, Random, Static
from app.serving.allocations import Allocations
from app.specification import Arm, Override, Specification, State
from app.store.database import Database
from app.store.items import ItemRow, upsert
from bandits.fixed import Fixed
from tests.app.building import flag, put, specification


def look(database: Database, key: str, unit: str = "u", **parts: Any) -> Preview:
    """A preview by a worker that has just started."""

    def together(calls: Sequence[Callable[[], ArmPreview]]) -> Sequence[ArmPreview]:
        return [call() for call in calls]

    allocations = Allocations(database)
    allocations.refresh()
    return preview(allocations.find(key), PreviewRequest(unit=unit, **parts), together=together)


def test_it_shows_what_each_active_arm_answers_and_its_probability(shared_database: Database, key: str) -> None:
    """In the order of the specification; an arm that is named is asked though it is not active."""
    arms = (
        Arm(key="list", recommender=Static(items=("x", "y", "z"))),
        flag("red", {"colour": "red"}),
        Arm(key="old", recommender=Static(items=("w",)), state="draining"),
    )
    shares = Fixed(probabilities={"list": 0.25, "red": 0.75, "old": 0})
    put(shared_database, key, Specification(arms=arms, policy=shares))
    shown = look(shared_database, key, k=2)
    assert [(arm.arm, arm.probability, arm.items, arm.payload) for arm in shown.arms] == [
        ("list", 0.25, (Item("x"), Item("y")), None),
        ("red", 0.75, (), {"colour": "red"}),
    ]
    assert all(arm.failure is None and arm.latency_ms >= 0 for arm in shown.arms)
    assert (shown.experiment, shown.state, shown.allocation) == (key, "running", 1)
    assert (shown.chosen, shown.reason) == (None, "policy")
    (old,) = look(shared_database, key, arms=("old", "old")).arms
    assert (old.arm, old.probability, old.items) == ("old", 0, (Item("w"),))


def test_it_says_which_arm_a_unit_gets_when_that_is_certain(shared_database: Database, key: str) -> None:
    """By sticky assignment, an override, the holdout or a pause; the decision for that unit agrees."""
    put(shared_database, key, specification(assignment="unit"))
    allocations = Allocations(shared_database)
    for unit in ("u1", "u2", "u3"):
        served = allocations.find(key)
        assert look(shared_database, key, unit).chosen == served.arms[served.choose(unit, b"any")].key
    overridden = specification(overrides=(Override(arm="b", units=("vip",)),), holdout=0.999999)
    put(shared_database, key, overridden)
    assert (look(shared_database, key, "vip").chosen, look(shared_database, key, "vip").reason) == ("b", "override")
    assert (look(shared_database, key).chosen, look(shared_database, key).reason) == ("a", "holdout")


@pytest.mark.parametrize(("state", "chosen", "reason"), [("paused", "a", "paused"), ("draft", None, None)])
def test_experiments_in_any_state_can_be_looked_at(
    shared_database: Database, key: str, state: State, chosen: str | None, reason: str | None
) -> None:
    """So that a draft is tried before it starts."""
    put(shared_database, key, state=state)
    shown = look(shared_database, key)
    assert (shown.chosen, shown.reason, len(shown.arms)) == (chosen, reason, 2)


def test_the_same_unit_is_the_same_query(shared_database: Database, key: str) -> None:
    """A list that is drawn at random stays, and is another one for another unit."""
    with shared_database.transaction() as connection:
        rows = [ItemRow(item_id=f"i{n:03}", title=None, category=None, features=None, popularity=0) for n in range(200)]
        upsert(connection, rows)
    put(shared_database, key, Specification(arms=(Arm(key="a", recommender=Random()),)))
    first, again, other = (look(shared_database, key, unit).arms[0].items for unit in ("u", "u", "v"))
    assert len(first) == 10
    assert first == again != other


def test_arms_that_do_not_exist_and_too_many_of_them_are_refused(shared_database: Database, key: str) -> None:
    """The message says which there are, or how many may be named."""
    put(shared_database, key)
    with pytest.raises(InvalidInput, match=r"'c' is no arm of .*; it has a, b"):
        look(shared_database, key, arms=("a", "c"))
    put(shared_database, f"{key}-many", specification(*(f"a{n}" for n in range(MOST_ARMS + 1))))
    with pytest.raises(InvalidInput, match="51 arms are active; name at most 50"):
        look(shared_database, f"{key}-many")
