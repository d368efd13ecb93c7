"""What every kind of reward promises, and what each does."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.bounded import Bounded
from bandits.gaussian import NormalInverseGammaPrior
from bandits.poisson import GammaPrior
from bandits.posteriors import REWARD_MODELS, RewardModel
from bandits.statistics import ArmStatistics, FloatArray

GAUSSIAN, POISSON = REWARD_MODELS["gaussian"], REWARD_MODELS["poisson"]
STARS = REWARD_MODELS["bounded"].within((1, 5))

# Model, rewards of it, values that are none, and how to draw outcomes with a mean drawn from a prior of the model.
EXAMPLES: dict[str, tuple[RewardModel, list[float], list[float]]] = {
    "bernoulli": (REWARD_MODELS["bernoulli"], [0, 1, 1, 0], [0.5, -1, 2, math.nan]),
    "gaussian": (GAUSSIAN, [-3.5, 0, 2.25, 1e6], [math.nan, math.inf, -1e13]),
    "poisson": (POISSON, [0, 3, 1, 1e9], [0.5, -1, 2e9, math.nan, math.inf]),
    "bounded": (STARS, [1, 5, 3.3, 4], [0.99, 5.01, math.nan, math.inf]),
}
MEANS = {"bernoulli": 0.1, "gaussian": 40.0, "poisson": 2.5, "bounded": 3.0}


@pytest.fixture(params=REWARD_MODELS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each registered kind; one without an example above fails here."""
    name: str = request.param
    assert name in EXAMPLES
    return name


def _deviation(kind: str) -> float | None:
    return 7.0 if kind == "gaussian" else None


def test_a_model_accepts_its_own_values_only(kind: str) -> None:
    """What it accepts it can learn from; and its words for it name no other."""
    model, good, bad = EXAMPLES[kind]
    assert all(model.accepts(value) for value in good)
    assert not any(model.accepts(value) for value in bad)
    assert model.values
    model.posterior(ArmStatistics.of([good]), [model.prior()])


def test_a_model_that_adds_up_accepts_sums(kind: str) -> None:
    """The sum of two small rewards is a reward where the model says so, and not always where it does not."""
    model, good, _ = EXAMPLES[kind]
    sums = [a + b for a in good for b in good if max(abs(a), abs(b)) < 1e8]
    assert all(model.accepts(total) for total in sums) is model.adds_up


def test_each_prior_parameter_is_described_with_its_limits(kind: str) -> None:
    """Every parameter has words and a default within its limits."""
    prior = EXAMPLES[kind][0].prior
    assert prior.__doc__
    schema = msgspec.json.schema(prior)["$defs"][prior.__name__]["properties"]
    assert all(parameter["description"].endswith(".") for parameter in schema.values())
    assert msgspec.convert(msgspec.to_builtins(prior()), prior) == prior()


def test_without_outcomes_the_posterior_is_the_prior(kind: str) -> None:
    """Nothing seen, nothing learned: the posterior's parameters are the prior's."""
    model = EXAMPLES[kind][0]
    posterior = model.posterior(ArmStatistics.zeros(2), [model.prior()] * 2)
    assert posterior.as_mapping(1) == msgspec.to_builtins(model.prior())
    assert posterior.sample(np.random.default_rng(1), 5).shape == (5, 2)


def test_a_prior_per_arm_is_needed(kind: str) -> None:
    """Too few priors are refused, not repeated."""
    model = EXAMPLES[kind][0]
    with pytest.raises(ValueError, match="2 arms need one prior each, got 1"):
        model.posterior(ArmStatistics.zeros(2), [model.prior()])


def test_learning_twice_is_learning_once(kind: str) -> None:
    """The posterior after one set of outcomes and another is that after both."""
    model, good, _ = EXAMPLES[kind]
    prior = model.prior()
    first, second = ArmStatistics.of([good[:2]]), ArmStatistics.of([good[2:3]])
    between = msgspec.convert(model.posterior(first, [prior]).as_mapping(0), model.prior)
    stepwise, at_once = model.posterior(second, [between]), model.posterior(first.merge(second), [prior])
    for name, vector in at_once.parameters.items():
        np.testing.assert_allclose(stepwise.parameters[name], vector, rtol=1e-12, atol=1e-12)


def test_fading_statistics_lead_back_to_the_prior(kind: str) -> None:
    """Sums with ever smaller weights are accepted, and count for nothing in the end."""
    model, good, _ = EXAMPLES[kind]
    whole = ArmStatistics.of([good])
    for weight in 0.5 ** np.arange(0, 1001, 50):
        faded = ArmStatistics(n=weight * whole.n, sum=weight * whole.sum, sum_of_squares=weight * whole.sum_of_squares)
        posterior = model.posterior(faded, [model.prior()])
    assert posterior.as_mapping(0) == pytest.approx(msgspec.to_builtins(model.prior()), rel=1e-9)


def test_a_prior_with_a_mean_has_it(kind: str) -> None:
    """A prior worth 50 outcomes has the mean that was asked for, and as much evidence; a shift raises it."""
    model = EXAMPLES[kind][0]
    mean, deviation = MEANS[kind], _deviation(kind)
    prior, higher = (model.prior_with(mean, 50, deviation, shift) for shift in (0.0, 0.1))
    posterior = model.posterior(ArmStatistics.zeros(2), [prior, higher])
    assert posterior.mean[0] == pytest.approx(mean, rel=1e-12)
    assert posterior.mean[1] > mean
    # As much as 50 outcomes teach from almost nothing: the deviation falls as 1/√weight.
    heavier = model.posterior(ArmStatistics.zeros(1), [model.prior_with(mean, 5000, deviation, 0.0)])
    assert posterior.standard_deviation[0] == pytest.approx(10 * heavier.standard_deviation[0], rel=0.05)


@pytest.mark.parametrize(
    ("name", "mean", "deviation", "words"),
    [
        ("bernoulli", 1.0, None, "between 0 and 1, got 1"),
        ("bernoulli", 0.1, 1.0, "leave it out"),
        ("poisson", 0.0, None, "between 0 and"),
        ("bounded", 5.5, None, "between 1 and 5, got 5.5"),
        ("gaussian", 1.0, None, "need the standard deviation"),
        ("gaussian", math.inf, 1.0, "mean must lie between"),
    ],
)
def test_impossible_means_are_refused(name: str, mean: float, deviation: float | None, words: str) -> None:
    """A mean outside the model's, a deviation too many and one too few are told apart."""
    with pytest.raises(ValueError, match=words):
        EXAMPLES[name][0].prior_with(mean, 10, deviation, 0.0)


@pytest.mark.parametrize("name", [name for name in REWARD_MODELS if name != "bounded"])
def test_bounds_are_for_bounded_rewards(name: str) -> None:
    """Other kinds refuse bounds, and are themselves without."""
    assert REWARD_MODELS[name].within(None) is REWARD_MODELS[name]
    with pytest.raises(ValueError, match=f"{name} rewards take no bounds"):
        REWARD_MODELS[name].within((0, 1))


@pytest.mark.parametrize("bounds", [(1, 1), (2, 1), (math.nan, 1), (0, math.nan)])
def test_bounds_are_an_interval(bounds: tuple[float, float]) -> None:
    """The lower bound is below the upper one."""
    with pytest.raises(ValueError, match="must be below"):
        Bounded().within(bounds)


def test_bounded_rewards_need_bounds() -> None:
    """They have no default: nobody should learn by chance that ratings end at 1."""
    with pytest.raises(ValueError, match="need their bounds"):
        Bounded().within(None)


# --- formulas -------------------------------------------------------------------------------------------------------


def test_gaussian_posterior_is_that_of_the_formula() -> None:
    """κ, μ, a and b are those of Murphy (2007), section 6, from the outcomes themselves."""
    rewards = np.array([3.0, 5.5, 4.0, -1.0])
    prior = NormalInverseGammaPrior(mean=2, strength=3, shape=1.5, rate=0.7)
    posterior = GAUSSIAN.posterior(ArmStatistics.of([rewards]), [prior]).as_mapping(0)
    n, mean = 4, rewards.mean()
    assert posterior == pytest.approx(
        {
            "mean": (3 * 2 + rewards.sum()) / 7,
            "strength": 7,
            "shape": 1.5 + n / 2,
            "rate": 0.7 + ((rewards - mean) ** 2).sum() / 2 + 3 * n * (mean - 2) ** 2 / (2 * 7),
        },
        rel=1e-12,
    )


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e3), st.integers(1, 10**7))
def test_rounding_never_makes_a_gaussian_mean_too_certain(mean: float, deviation: float, n: int) -> None:
    """From rounded sums, the squared deviations are at least those of the outcomes, less 1e-6."""
    squares = n * (mean**2 + deviation**2) * (1 - 1e-16)
    statistics = ArmStatistics(n=np.array([n]), sum=np.array([n * mean]), sum_of_squares=np.array([squares]))
    prior = NormalInverseGammaPrior(mean=mean, rate=1e-9)
    rate = GAUSSIAN.posterior(statistics, [prior]).parameters["rate"][0]
    assert 2 * rate >= n * deviation**2 * (1 - 1e-6)


def test_gaussian_sums_that_no_outcomes_have_are_refused() -> None:
    """Σr² below (Σr)²/n can only be a bug."""
    broken = ArmStatistics(n=np.array([1, 2]), sum=np.array([1, 4]), sum_of_squares=np.array([1, 7.9]))
    with pytest.raises(ValueError, match=r"arm 1 has a sum of squares of 7\.9"):
        GAUSSIAN.posterior(broken, [NormalInverseGammaPrior()] * 2)


def test_poisson_posterior_adds_events_and_outcomes() -> None:
    """Gamma(a, b) becomes Gamma(a + S, b + n)."""
    posterior = POISSON.posterior(ArmStatistics.of([[3, 0, 4]]), [GammaPrior(shape=2, rate=5)])
    assert posterior.as_mapping(0) == {"shape": 9, "rate": 8}


def test_poisson_sums_below_0_are_refused() -> None:
    """Less than nothing was never counted."""
    broken = ArmStatistics(n=np.array([2]), sum=np.array([-1]), sum_of_squares=np.array([1]))
    with pytest.raises(ValueError, match=r"arm 0 has -1.0 events in 2.0 outcomes"):
        POISSON.posterior(broken, [GammaPrior()])


def test_bounded_rewards_are_fractions_of_a_success() -> None:
    """On [1, 5] a 4 is three quarters of a success, and the mean lies between the bounds."""
    posterior = STARS.posterior(ArmStatistics.of([[4, 4], []]), [STARS.prior()] * 2)
    assert posterior.as_mapping(0) == {"alpha": 2.5, "beta": 1.5}
    assert posterior.mean.tolist() == [1 + 4 * 2.5 / 4, 3]


@pytest.mark.parametrize("total", [1.9, 10.1])
def test_bounded_sums_outside_the_bounds_are_refused(total: float) -> None:
    """A mean outside the bounds can only be a bug."""
    broken = ArmStatistics(n=np.array([2]), sum=np.array([total]), sum_of_squares=np.array([9]))
    with pytest.raises(ValueError, match="must be a number from 1 to 5"):
        STARS.posterior(broken, [STARS.prior()])


# --- calibration ----------------------------------------------------------------------------------------------------


def _truth_and_outcomes(kind: str, rng: np.random.Generator, n_arms: int) -> tuple[FloatArray, list[FloatArray], Any]:
    """Means drawn from a prior, 1 to 60 outcomes of each, and that prior."""
    sizes = rng.integers(1, 60, n_arms)
    if kind == "gaussian":
        prior: Any = NormalInverseGammaPrior(mean=3, strength=2, shape=2.5, rate=4)
        variance = prior.rate / rng.gamma(prior.shape, size=n_arms)
        means = rng.normal(prior.mean, np.sqrt(variance / prior.strength))
        drawn = zip(means, np.sqrt(variance), sizes, strict=True)
        return means, [rng.normal(mean, deviation, size) for mean, deviation, size in drawn], prior
    if kind == "poisson":
        prior = GammaPrior(shape=2, rate=0.5)
        means = rng.gamma(prior.shape, 1 / prior.rate, n_arms)
        return means, [rng.poisson(mean, size) for mean, size in zip(means, sizes, strict=True)], prior
    prior = EXAMPLES[kind][0].prior(alpha=2, beta=6)
    rates = rng.beta(2, 6, n_arms)
    outcomes = [rng.binomial(1, rate, size) for rate, size in zip(rates, sizes, strict=True)]
    if kind == "bernoulli":
        return rates, outcomes, prior
    # Rewards at the bounds are those for which the fractional posterior is exact.
    return 1 + 4 * rates, [1 + 4 * outcome for outcome in outcomes], prior


def test_credible_intervals_cover_what_they_say(kind: str) -> None:
    """With truth drawn from the prior, 95 % intervals cover 95 % of 20,000 arms; false alarm P(|Z| > 5.5) < 4e-8."""
    rng = np.random.default_rng(95)
    model, n_arms = EXAMPLES[kind][0], 20_000
    truth, outcomes, prior = _truth_and_outcomes(kind, rng, n_arms)
    lower, upper = model.posterior(ArmStatistics.of(outcomes), [prior] * n_arms).interval(0.95)
    covered = np.mean((lower <= truth) & (truth <= upper))
    assert abs(covered - 0.95) < 5.5 * math.sqrt(0.95 * 0.05 / n_arms)


def test_intervals_of_bounded_rewards_cover_at_least_what_they_say() -> None:
    """Rewards that vary less than the bounds allow are covered more often; false alarm far below 1e-6."""
    rng = np.random.default_rng(95)
    means = rng.uniform(2, 4, 5_000)
    statistics = ArmStatistics.of([rng.uniform(mean - 1, mean + 1, 50) for mean in means])
    lower, upper = STARS.posterior(statistics, [STARS.prior()] * means.size).interval(0.95)
    assert np.mean((lower <= means) & (means <= upper)) > 0.99
