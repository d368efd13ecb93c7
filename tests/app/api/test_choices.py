"""A word that is unknown or missing is answered with those that could stand in its place."""

from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest

from app.api.choices import choices
from app.api.codec import decode
from app.errors import Fault, InvalidInput
from app.recommenders import AnyRecommender
from app.specification import ExperimentRequest
from bandits.policy import POLICIES

RECOMMENDERS = [str(kind.__struct_config__.tag) for kind in get_args(AnyRecommender)]


def fault(**members: Any) -> Fault:
    """What is wrong with an experiment of one arm that has these members."""
    with pytest.raises(InvalidInput) as caught:
        decode(msgspec.json.encode({"arms": [{"key": "a"}], **members}), ExperimentRequest)
    (found,) = caught.value.faults
    return found


def named(detail: str) -> set[str]:
    """The words after "choose one of"."""
    return set(detail.partition("; choose one of ")[2].split(", "))


def test_an_unknown_policy_is_answered_with_those_there_are() -> None:
    """The detail repeats the word and names every kind of policy."""
    found = fault(policy={"kind": "luck"})
    assert found.pointer == "#/policy/kind"
    assert found.detail.startswith("Invalid value 'luck'; choose one of ")
    assert named(found.detail) == set(POLICIES)


def test_an_unknown_recommender_is_answered_with_those_there_are() -> None:
    """The same inside a list."""
    found = fault(arms=[{"key": "a"}, {"key": "b", "recommender": {"kind": "oracle"}}])
    assert found.pointer == "#/arms/1/recommender/kind"
    assert named(found.detail) == set(RECOMMENDERS)


def test_a_missing_kind_is_answered_with_those_there_are() -> None:
    """Who leaves the kind out learns which there are, too."""
    found = fault(policy={"epsilon": 0.1})
    assert found.pointer == "#/policy"
    assert found.detail.startswith("Object missing required field `kind`; choose one of ")
    assert named(found.detail) == set(POLICIES)


def test_a_word_that_is_none_of_a_literal_is_answered_with_its_words() -> None:
    """Literals are told like kinds: of one policy only, and of the request itself."""
    assert named(fault(policy={"kind": "ucb", "variant": "ucb2"}).detail) == {"ucb1", "kl_ucb"}
    assert named(fault(arms=[{"key": "a", "state": "gone"}]).detail) == {"active", "draining", "retired"}
    assert named(fault(state="asleep").detail) == {"draft", "running", "paused", "stopped"}


@pytest.mark.parametrize("members", [{"policy": {"kind": 3}}, {"arms": [{}]}, {"holdout": 2}, {"policy": 1}])
def test_other_faults_name_no_choices(members: dict[str, Any]) -> None:
    """Where any text or number may stand there is nothing to list."""
    assert "choose one of" not in fault(**members).detail


class _Leaf(msgspec.Struct, tag="leaf", tag_field="kind"):
    size: Annotated[Literal["small", "large"] | None, msgspec.Meta(description="How large.")] = None


class _Tree(msgspec.Struct, tag="tree", tag_field="kind"):
    children: list["_Tree | _Leaf"] = []


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["kind"], {"leaf", "tree"}),
        (["children", "3", "kind"], {"leaf", "tree"}),
        (["children", "0", "children", "1", "size"], {"small", "large"}),
        (["nothing", "like", "it"], set()),
        ([], set()),
    ],
)
def test_choices_are_found_at_any_depth(steps: list[str], words: set[str]) -> None:
    """Types that hold themselves, optional words and described ones included."""
    assert set(choices(_Tree | _Leaf, steps)) == words
