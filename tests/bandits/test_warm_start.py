from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.posteriors import REWARD_MODELS, RewardModel
from bandits.statistics import ArmStatistics, FloatArray
from bandits.warm_start import MAX_ARMS, warm_priors
from bandits.winning import probability_best

USUAL: dict[str, dict[str, Any]] = {
    "bernoulli": {"mean": 0.1},
    "gaussian": {"mean": -40.0, "deviation": 25.0},
    "poisson": {"mean": 3.0},
    "bounded": {"mean": 0.6},
}


def _best(model: RewardModel, priors: list[msgspec.Struct]) -> FloatArray:
    return probability_best(model.posterior(ArmStatistics.zeros(len(priors)), priors))


@pytest.mark.parametrize("split", [[1.0], [0.7, 0.3], [0.5, 0.5], [0.98, 0.01, 0.01], [0.6, 0.25, 0.1, 0.05]])
@pytest.mark.parametrize("weight", [30, 1000, 1e6])
@pytest.mark.parametrize("kind", REWARD_MODELS)
def test_the_priors_say_what_the_split_says(kind: str, split: list[float], weight: float) -> None:
    """P(best) of the priors is the split, to 1e-7, and their mean weighted by the split is about the usual one."""
    model = REWARD_MODELS[kind]
    priors = warm_priors(model, split, weight=weight, **USUAL[kind])
    np.testing.assert_allclose(_best(model, priors), split, rtol=0, atol=1e-7)
    posterior = model.posterior(ArmStatistics.zeros(len(split)), priors)
    off = abs(posterior.mean @ np.array(split) - USUAL[kind]["mean"])
    assert off < 0.2 * posterior.standard_deviation.max()


@given(st.lists(st.floats(0.02, 1), min_size=1, max_size=8), st.sampled_from(list(REWARD_MODELS)))
@settings(max_examples=40, deadline=None)
def test_any_moderate_split_can_be_reached(parts: list[float], kind: str) -> None:
    """With a weight of 1,000 outcomes every split of shares that differ by up to 50 times is met."""
    model, split = REWARD_MODELS[kind], np.array(parts) / sum(parts)
    priors = warm_priors(model, split, weight=1000, **USUAL[kind])
    np.testing.assert_allclose(_best(model, priors), split, rtol=0, atol=1e-7)


def test_as_many_arms_as_are_allowed_can_be_split() -> None:
    """Fifty arms of very different shares work."""
    shares = np.random.default_rng(4).dirichlet(np.full(MAX_ARMS, 0.5)) + 2e-4
    split = shares / shares.sum()
    model = REWARD_MODELS["bernoulli"]
    priors = warm_priors(model, split, mean=0.1, weight=10_000)
    np.testing.assert_allclose(_best(model, priors), split, rtol=0, atol=1e-7)


def test_every_prior_is_worth_the_weight() -> None:
    """α + β is the weight for rates: arms differ in their means and not in their certainty."""
    priors = warm_priors(REWARD_MODELS["bernoulli"], [0.7, 0.2, 0.1], mean=0.1, weight=200)
    assert [sum(msgspec.structs.astuple(prior)) for prior in priors] == pytest.approx([200] * 3)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ([0.7, 0.2], "must sum to 1, got 0.9"),
        ([1.0, 0.0], "each share must be 0.0001 or more, got 0"),
        ([1.5, -0.5], "each share"),
        ([0.5, float("nan")], "each share"),
        ([1 / 51] * 51, "1 to 50 arms, got 51"),
        ([], "1 to 50 arms, got 0"),
    ],
)
def test_what_is_no_split_is_refused(split: list[float], words: str) -> None:
    """Shares are positive, sum to 1, and are not too many; the message has the value."""
    with pytest.raises(ValueError, match=words):
        warm_priors(REWARD_MODELS["bernoulli"], split, mean=0.1, weight=100)


@pytest.mark.parametrize(("split", "weight"), [([0.9, 0.1], 1), ([0.99, 0.005, 0.005], 15), ([0.5, 0.5], 0.5)])
def test_a_split_out_of_reach_is_refused_with_advice(split: list[float], weight: float) -> None:
    """Where priors would leave the model's limits, the message says what to change."""
    with pytest.raises(ValueError, match="take more weight, or a split nearer to equal"):
        warm_priors(REWARD_MODELS["bernoulli"], split, mean=0.1, weight=weight)
