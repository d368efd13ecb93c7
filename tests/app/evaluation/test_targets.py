"""Targets as callers write them."""

from pathlib import Path

import pytest

from app.errors import InvalidInput
from app.evaluation import target_of
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.targets import Learned, OneArm, Shares, Target, Uniform


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("uniform", Uniform()),
        ("arm=als-v2", OneArm("als-v2")),
        ("arm=a=b", OneArm("a=b")),
        ('probabilities={"a": 0.7, "b": 0.3}', Shares({"a": 0.7, "b": 0.3})),
        ('policy={"kind": "epsilon_greedy", "epsilon": 0.2}', Learned(EpsilonGreedy(epsilon=0.2))),
    ],
)
def test_each_form_is_understood(text: str, target: Target) -> None:
    """Uniform, one arm, given probabilities, a policy that learns."""
    assert target_of(text) == target


def test_json_may_stand_in_a_file(tmp_path: Path) -> None:
    """Long ones do not fit on a command line."""
    path = tmp_path / "shares.json"
    path.write_text('{"a": 1}')
    assert target_of(f"probabilities={path}") == Shares({"a": 1.0})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("best", "'best' is no target; give uniform, arm=KEY"),
        ("arm=", "'arm=' is no target"),
        ("probabilities={", "The target's probabilities cannot be used: Input data was truncated"),
        ('probabilities={"a": 0.5}', "probabilities must sum to 1, got 0.5"),
        ("probabilities=nowhere.json", "'nowhere.json' is neither a JSON object nor a file"),
        ('policy={"kind": "magic"}', "The target's policy cannot be used: Invalid value 'magic'"),
        ('policy={"kind": "epsilon_greedy", "epsilon": 2}', r"Expected `float` <= 1.0 - at `\$.epsilon`"),
    ],
)
def test_others_are_refused(text: str, message: str) -> None:
    """With what is wrong, and the forms there are."""
    with pytest.raises(InvalidInput, match=message):
        target_of(text)
