from __future__ import annotations

import msgspec
import numpy as np
import pytest

from bandits.bernoulli import BetaPrior
from bandits.posteriors import REWARD_MODELS
from bandits.statistics import ArmStatistics

BERNOULLI = REWARD_MODELS["bernoulli"]


def test_every_model_is_registered_under_its_kind() -> None:
    """The registry's key is the kind that the model itself states."""
    assert {kind: model.kind for kind, model in REWARD_MODELS.items()} == {kind: kind for kind in REWARD_MODELS}


def test_every_model_has_a_default_prior() -> None:
    """An arm without a prior in its specification gets the model's own."""
    assert all(isinstance(model.prior(), msgspec.Struct) for model in REWARD_MODELS.values())


@pytest.mark.parametrize(
    ("value", "accepted"),
    [(0, True), (1, True), (1.0, True), (0.5, False), (2, False), (-1, False), (float("nan"), False)],
)
def test_bernoulli_accepts_0_and_1_only(value: float, accepted: bool) -> None:  # noqa: FBT001
    """A Bernoulli reward is 0 or 1 and nothing between."""
    assert BERNOULLI.accepts(value) is accepted


def test_posterior_adds_successes_and_failures_to_the_prior() -> None:
    """Beta(α, β) becomes Beta(α + S, β + n − S), arm by arm."""
    statistics = ArmStatistics.of([[1, 1, 0], []])
    posterior = BERNOULLI.posterior(statistics, [BetaPrior(), BetaPrior(alpha=2, beta=5)])
    assert posterior.as_mapping(0) == {"alpha": 3, "beta": 2}
    assert posterior.as_mapping(1) == {"alpha": 2, "beta": 5}


@pytest.mark.parametrize(("n", "total"), [(2.0, 3.0), (2.0, -1.0)])
def test_impossible_sums_are_refused(n: float, total: float) -> None:
    """More reward than outcomes, or less than none, is a fault elsewhere and names the arm."""
    statistics = ArmStatistics(n=np.array([5, n]), sum=np.array([5, total]), sum_of_squares=np.array([5, 1]))
    with pytest.raises(ValueError, match=rf"arm 1 has {total} rewards in {n} outcomes"):
        BERNOULLI.posterior(statistics, [BetaPrior()] * 2)


def test_rounding_of_decayed_sums_is_forgiven() -> None:
    """A reward sum that exceeds its count by rounding is the count."""
    statistics = ArmStatistics(n=np.array([0.3]), sum=np.array([0.1 + 0.2]), sum_of_squares=np.array([0.3]))
    assert BERNOULLI.posterior(statistics, [BetaPrior()]).as_mapping(0)["beta"] == 1


def test_a_prior_per_arm_is_needed() -> None:
    """Too few priors are refused, not repeated."""
    with pytest.raises(ValueError, match="2 arms need one prior each, got 1"):
        BERNOULLI.posterior(ArmStatistics.zeros(2), [BetaPrior()])


@pytest.mark.parametrize("body", ['{"alpha":0.05}', '{"beta":1e10}', '{"gamma":1}', '{"alpha":"1"}'])
def test_priors_outside_their_range_are_refused(body: str) -> None:
    """A prior's limits are those of its declaration, and unknown words are refused."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=BetaPrior)
