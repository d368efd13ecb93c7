"""What every policy promises with every kind of reward, any parameters, any priors and any data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bandits.policy import AnyPolicy, Policy, floor
from bandits.posteriors import REWARD_MODELS
from bandits.statistics import ArmStatistics
from bandits.ucb import UpperConfidenceBound
from tests.conformance.experiments import Example, Sampler, configurations, experiments


def _fits(policy: Policy, arms: Sequence[str], reward: str) -> bool:
    try:
        policy.check(arms, reward)
    except ValueError:
        return False
    return True


def test_every_kind_of_reward_has_a_sampler(samplers: Mapping[str, Sampler]) -> None:
    """A registered kind of reward without a sampler would escape these checks."""
    assert samplers.keys() >= REWARD_MODELS.keys()


def test_samples_are_rewards_of_their_kind(reward: str, samplers: Mapping[str, Sampler]) -> None:
    """The reward model accepts what its sampler draws."""
    model, rng = REWARD_MODELS[reward], np.random.default_rng(1)
    assert all(model.accepts(value) for _ in range(20) for value in samplers[reward](rng, 20).tolist())


def test_kl_ucb_takes_exactly_the_rewards_with_two_ends(reward: str, samplers: Mapping[str, Sampler]) -> None:
    """What the policy accepts by name is what posteriors say of themselves at −∞ and ∞; no sample is outside."""
    model, rng = REWARD_MODELS[reward], np.random.default_rng(2)
    low, high = model.posterior(ArmStatistics.zeros(1), [model.prior()]).value(np.array([-np.inf, np.inf]))
    policy = UpperConfidenceBound(variant="kl_ucb")
    assert _fits(policy, ("arm",), reward) == bool(np.isfinite(high - low))
    assert all(low <= value <= high for value in samplers[reward](rng, 100))


@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_any_policy_with_any_reward(
    kind: str,
    reward: str,
    examples: Mapping[str, Mapping[str, Example]],
    samplers: Mapping[str, Sampler],
    data: st.DataObject,
) -> None:
    """Probabilities are finite, within [0, 1], not below the floor, and sum to 1 within 1e-12.

    Permuting arms permutes them. The same input, written as JSON and read back, gives the same bytes.
    """
    experiment = data.draw(experiments(reward, samplers[reward]))
    named = st.sampled_from([example(experiment.arms) for example in examples[kind].values()])
    policy = data.draw(named | configurations(kind, experiment.arms))
    assume(_fits(policy, experiment.arms, reward))
    found = experiment.allocate(policy)
    assert np.isfinite(found).all()
    assert ((found >= floor(policy, found.size)) & (found <= 1)).all()
    assert abs(found.sum() - 1) <= 1e-12
    order = data.draw(st.permutations(range(found.size)))
    np.testing.assert_allclose(experiment.permuted(order).allocate(policy), found[order], rtol=1e-12, atol=1e-15)
    again = msgspec.json.decode(msgspec.json.encode(policy), type=AnyPolicy)
    assert experiment.allocate(again).tobytes() == found.tobytes()
