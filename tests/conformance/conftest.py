"""The one place where each policy supplies examples; the checks in this folder then run for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fixed import Fixed
from bandits.policy import POLICIES, Policy
from bandits.thompson import ThompsonSampling

Example = Callable[[Sequence[str]], Policy]


def _graded(arms: Sequence[str]) -> Policy:
    """Shares that follow the arms' names: 1 for the first in the alphabet, 2 for the next …, of the total."""
    total = len(arms) * (len(arms) + 1) / 2
    return Fixed(probabilities={arm: rank / total for rank, arm in enumerate(sorted(arms), start=1)})


def _all_on_one(arms: Sequence[str]) -> Policy:
    return Fixed(probabilities={arm: float(arm == min(arms)) for arm in arms}, warm_up=5)


# Kind → examples by name. An example gets the experiment's arm keys, of which there are 1 to 1,000.
EXAMPLES: Mapping[str, Mapping[str, Example]] = {
    "thompson_sampling": {
        "default": lambda _: ThompsonSampling(),
        "no floor": lambda _: ThompsonSampling(min_propensity=0, warm_up=0),
        "largest floor": lambda arms: ThompsonSampling(min_propensity=1 / len(arms)),
    },
    "epsilon_greedy": {
        "default": lambda _: EpsilonGreedy(),
        "greedy": lambda _: EpsilonGreedy(epsilon=0, min_propensity=0, warm_up=0),
        "uniform": lambda _: EpsilonGreedy(epsilon=1),
    },
    "fixed": {"graded": _graded, "all on one": _all_on_one},
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests that take an `example` run for every example, those that take a `kind` for every policy."""
    if "example" in metafunc.fixturenames:
        named = {f"{kind}, {name}": example for kind in EXAMPLES for name, example in EXAMPLES[kind].items()}
        metafunc.parametrize("example", named.values(), ids=named.keys())
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", POLICIES)


@pytest.fixture
def examples() -> Mapping[str, Mapping[str, Example]]:
    """All examples by kind."""
    return EXAMPLES
