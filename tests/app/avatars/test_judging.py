"""What is found wrong with a list."""

from typing import Any

import msgspec
import pytest

from app.avatars.judging import judged
from app.avatars.shape import AvatarRequest, Expectation
from app.preview import ArmPreview
from app.recommenders import Item
from app.store.avatars import NEVER, Before


def answer(items: str = "abc", **more: Any) -> ArmPreview:
    """What arm "a" answered in 10 ms; items are letters."""
    parts = {"arm": "a", "probability": 0.5, "payload": None, "failure": None, "latency_ms": 10.0}
    return ArmPreview(items=tuple(Item(item) for item in items), **{**parts, **more})


def before(items: str, **more: Any) -> Before:
    """An earlier list."""
    return Before(**{"items": tuple(items), "payload": None, "faults": 0, **more})


@pytest.mark.parametrize(
    ("expect", "fault"),
    [
        ({"min_items": 4}, "3 items, expected at least 4"),
        ({"must_include": ("a", "x", "y")}, "without x, y"),
        ({"must_not_include": ("c", "x")}, "with c"),
        ({"min_overlap": 0.6}, "overlap of 0.5 with the list before, expected at least 0.6"),
        ({"max_latency_ms": 5}, "took 10.0 ms, expected at most 5"),
        ({"min_items": 4, "max_latency_ms": 5}, "3 items, expected at least 4; took 10.0 ms, expected at most 5"),
        ({"min_items": 3, "must_include": ("b",), "must_not_include": ("d",), "min_overlap": 0.5}, None),
    ],
)
def test_each_expectation_that_is_broken_is_told(expect: dict[str, Any], fault: str | None) -> None:
    """All of them, in words."""
    assert judged(Expectation(**expect), answer(), before("bcd")).fault == fault


def test_a_failure_is_a_fault_that_replaces_all_others() -> None:
    """There is no list to compare; the one before stays the one to compare with."""
    look = judged(Expectation(min_items=3), answer("", failure="no connection"), before("abc", faults=2))
    assert (look.fault, look.faults) == ("no list: no connection", 3)
    assert (look.overlap, look.came, look.went) == (None, None, None)


def test_a_failure_is_told_as_far_as_it_can_be_stored() -> None:
    """A function may raise anything."""
    look = judged(Expectation(), answer("", failure="a\0b" + "x" * 5000), NEVER)
    assert look.failure == "ab" + "x" * 997


def test_a_list_tells_what_came_and_what_went() -> None:
    """Against the list before; the first one has nothing to compare with."""
    look = judged(Expectation(), answer("abc"), before("bcd", faults=2))
    assert (look.came, look.went, look.overlap, look.faults) == (("a",), ("d",), 0.5, 0)
    first = judged(Expectation(min_overlap=1), answer("abc"), NEVER)
    assert (first.came, first.went, first.overlap, first.fault) == (None, None, None, None)


def test_payloads_are_compared_where_there_are_no_items() -> None:
    """An arm that answers with another constant has changed."""
    constant = answer("", payload={"colour": "red"})
    assert judged(Expectation(), constant, before("", payload={"colour": "red"})).overlap == 1
    assert judged(Expectation(), constant, before("", payload={"colour": "blue"})).overlap == 0


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ('{"unit": "u", "every_s": 59}', "every_s"),
        ('{"unit": ""}', "unit"),
        ('{"unit": "u", "k": 2, "expect": {"min_items": 3}}', "k=2 cannot hold the 3 items"),
        ('{"unit": "u", "k": 1, "expect": {"must_include": ["a", "b"]}}', "k=1 cannot hold the 2 items"),
        ('{"unit": "u", "expect": {"must_include": ["a"], "must_not_include": ["a"]}}', "'a' is both"),
        ('{"unit": "u", "expect": {"min_overlap": 1.5}}', "min_overlap"),
        ('{"unit": "u", "expect": {"overlap": "cosine"}}', "overlap"),
        ('{"unit": "u", "expect": {"colour": 1}}', "colour"),
        ('{"unit": "u", "arms": []}', "arms"),
    ],
)
def test_what_can_never_be_is_refused(sent: str, told: str) -> None:
    """With the value and what is wrong with it."""
    with pytest.raises(msgspec.ValidationError, match=told):
        msgspec.json.decode(sent, type=AvatarRequest)
