"""The one place where each policy and each kind of reward supplies examples; the checks here then run for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from bandits.epsilon_greedy import DecreasingEpsilon, EpsilonGreedy
from bandits.fixed import Fixed
from bandits.policy import POLICIES, Policy
from bandits.posteriors import REWARD_MODELS
from bandits.softmax import Softmax
from bandits.thompson import ThompsonSampling
from bandits.top_two import TopTwo
from bandits.ucb import UpperConfidenceBound
from tests.conformance.experiments import Example, Sampler


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
    "top_two": {
        "default": lambda _: TopTwo(),
        "seconds only": lambda _: TopTwo(beta=0, min_propensity=0, warm_up=0),
        "mostly firsts": lambda arms: TopTwo(beta=0.9, min_propensity=0.5 / len(arms)),
    },
    "epsilon_greedy": {
        "default": lambda _: EpsilonGreedy(),
        "decreasing": lambda _: EpsilonGreedy(epsilon=DecreasingEpsilon(c=1, d=0.05), min_propensity=0),
        "greedy": lambda _: EpsilonGreedy(epsilon=0, min_propensity=0, warm_up=0),
        "uniform": lambda _: EpsilonGreedy(epsilon=1),
    },
    "ucb": {
        "default": lambda _: UpperConfidenceBound(),
        "ucb1": lambda _: UpperConfidenceBound(variant="ucb1"),
        "ucb1, no floor": lambda _: UpperConfidenceBound(variant="ucb1", min_propensity=0, warm_up=0),
        "kl_ucb, no floor": lambda _: UpperConfidenceBound(variant="kl_ucb", min_propensity=0, warm_up=0),
    },
    "softmax": {
        "default": lambda _: Softmax(),
        "cold": lambda _: Softmax(temperature=1e-6, min_propensity=0, warm_up=0),
        "hot": lambda _: Softmax(temperature=1e6),
    },
    "fixed": {"graded": _graded, "all on one": _all_on_one},
}


# Kind of reward → rewards of one arm, drawn with a quality of its own. More kinds than there are do no harm.
SAMPLERS: Mapping[str, Sampler] = {
    "bernoulli": lambda rng, size: rng.binomial(1, rng.beta(0.5, 2), size).astype(np.float64),
    "bounded": lambda rng, size: rng.beta(rng.uniform(0.2, 5), rng.uniform(0.2, 5), size),
    "poisson": lambda rng, size: rng.poisson(rng.gamma(1, 2), size).astype(np.float64),
    "gaussian": lambda rng, size: rng.normal(rng.normal(0, 3), rng.uniform(0.1, 5), size),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests run for each `example`, for each `kind` of policy and for each kind of `reward` that they take."""
    if "example" in metafunc.fixturenames:
        named = {f"{kind}, {name}": example for kind in EXAMPLES for name, example in EXAMPLES[kind].items()}
        metafunc.parametrize("example", named.values(), ids=named.keys())
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", POLICIES)
    if "reward" in metafunc.fixturenames:
        metafunc.parametrize("reward", REWARD_MODELS)


@pytest.fixture(scope="session")
def examples() -> Mapping[str, Mapping[str, Example]]:
    """All examples by kind of policy."""
    return EXAMPLES


@pytest.fixture(scope="session")
def samplers() -> Mapping[str, Sampler]:
    """Rewards by kind."""
    return SAMPLERS
