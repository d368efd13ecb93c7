"""What a log says about a target: estimates that hold, and refusals with reasons."""

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from bandits.arm_model import ModelledLog
from bandits.estimates import Estimate
from bandits.evaluation import ESTIMATORS, Refusal, evaluate, evaluate_log
from bandits.fixed import Fixed
from bandits.interval_methods import NORMAL, Bootstrap, ConfidenceSequence
from bandits.log import FoldStatistics, Log, arm_means
from bandits.logged_rows import Rows
from bandits.off_policy import dr, ips, sndr, snips
from bandits.overlap import Overlap
from bandits.posteriors import REWARD_MODELS
from bandits.statistics import ArmStatistics
from bandits.targets import Learned, OneArm, Shares, Target, Uniform
from bandits.thompson import ThompsonSampling
from bandits.weighting import drop_weights

Floats = npt.NDArray[np.float64]

ARMS = ("a", "b", "c")
MEANS = np.array([0.1, 0.3, 0.2])
LOGGING = np.array([0.5, 0.2, 0.3])


def simulated(seed: int, n: int = 4000, *, means: Floats = MEANS, propensities: float = 1.0) -> Log:
    """A log of three arms; `propensities` multiplies what it says about them."""
    rng = np.random.default_rng(seed)
    action = rng.choice(3, size=n, p=LOGGING)
    reward = (rng.random(n) < means[action]).astype(float)
    return Log(arms=ARMS, action=action, reward=reward, propensity=LOGGING[action] * propensities)


def estimates(log: Log, target: Target, **options: Any) -> dict[str, Estimate]:
    """All estimates, none refused."""
    found = evaluate_log(log, target, **options).estimates
    return {name: answer for name, answer in found.items() if isinstance(answer, Estimate)}


@pytest.mark.parametrize(
    ("target", "truth"),
    [(Uniform(), 0.2), (OneArm("b"), 0.3), (Shares({"a": 0.9, "c": 0.1}), 0.11), (Learned(ThompsonSampling()), 0.3)],
    ids=lambda value: getattr(value, "label", None),
)
def test_estimates_find_the_truth(target: Target, truth: float) -> None:
    """Each estimator, the clipped one too (no weight is above 5), is within 5.5 standard errors: false alarms 4e-8."""
    found = estimates(simulated(1, 20_000), target)
    assert found.keys() == ESTIMATORS.keys()
    for name, estimate in found.items():
        # Thompson sampling leaves 1 % for each of the others.
        assert abs(estimate.value - truth) < 5.5 * estimate.standard_error + 0.004, name
        assert 0 < estimate.standard_error < 0.02, name


def test_a_policy_may_know_its_arms() -> None:
    """Only those it knows are dealt, from their own priors; never one that is not active."""
    model = REWARD_MODELS["bernoulli"]
    usual = msgspec.convert({}, model.prior)
    sure = msgspec.convert({"alpha": 1e9, "beta": 1.0}, model.prior)
    outside = FoldStatistics.of(simulated(3), 5).outside
    policy = ThompsonSampling(warm_up=0)

    def dealt(**parts: Any) -> list[float]:
        found: list[float] = Learned(policy, **parts).probabilities(ARMS, outside).mean(axis=0).tolist()
        return found

    assert np.argmax(dealt()) == 1
    assert np.argmax(dealt(priors={"c": sure, "b": usual, "a": usual})) == 2
    assert dealt(priors={"c": usual, "a": usual})[1] == 0
    assert dealt(priors=dict.fromkeys(ARMS, usual), inactive=frozenset({"b"}))[1] == 0
    with pytest.raises(ValueError, match="'d' is no arm of the log"):
        dealt(priors={"d": usual})
    with pytest.raises(ValueError, match="bounds"):
        Learned(policy, "bernoulli", bounds=(0.0, 1.0))
    Learned(policy, "bounded", bounds=(-1.0, 1.0))


def test_tables_by_fold_give_what_whole_arrays_give() -> None:
    """The estimators see the same π and q̂ as if both had been written out for each row."""
    log, target = simulated(2), Uniform()
    found = estimates(log, target)
    outside = FoldStatistics.of(log, 5).outside
    q = np.stack([arm_means(statistics) for statistics in outside])[np.arange(log.n) % 5]
    pi = np.full((log.n, 3), 1 / 3)
    logged = (log.reward, log.propensity, np.full(log.n, 1 / 3))
    assert found["ips"] == ips(*logged)
    assert found["snips"] == snips(*logged)
    for name, estimator in (("dr", dr), ("sndr", sndr)):
        whole = estimator(*logged, log.action, q, pi)
        assert found[name].value == pytest.approx(whole.value, rel=1e-12)
        assert found[name].standard_error == pytest.approx(whole.standard_error, rel=1e-12)


def test_standard_errors_know_that_the_model_errs() -> None:
    """Over 300 logs the spread of each estimator's values is its standard error, within 25 %: 6 standard deviations.

    Without contexts the plain direct method would report an error of nearly 0.
    """
    runs = [estimates(simulated(seed, 2000), Uniform()) for seed in range(300)]
    for name in ESTIMATORS:
        spread = np.std([run[name].value for run in runs])
        assert np.mean([run[name].standard_error for run in runs]) == pytest.approx(spread, rel=0.25), name


def test_a_learned_target_is_not_flattered() -> None:
    """Of 30 equal arms the policy plays the luckiest, and the reward model knows that it was luck.

    Over 60 logs its mean error is within 5 of its standard errors (false alarms 6e-7). A model that had seen what the
    policy learned from would be 20 of them too high.
    """
    target, rng = Learned(ThompsonSampling()), np.random.default_rng(3)
    honest, flattered = [], []
    for _ in range(60):
        log = _equal_arms(rng)
        honest.append(ModelledLog.of(log, target, 5).mean(None, NORMAL).value)
        outside = FoldStatistics.of(log, 5).outside
        pi = target.probabilities(log.arms, outside)
        flattered.append(np.mean([play @ arm_means(fold) for play, fold in zip(pi, outside, strict=True)]))
    error = np.std(honest) / math.sqrt(60)
    assert abs(np.mean(honest) - 0.1) < 5 * error
    assert np.mean(flattered) - 0.1 > 15 * error


def test_standard_errors_of_a_learned_target() -> None:
    """Over 100 logs an estimator that leans on the model errs about as much as it says, though no policy is settled.

    Its intervals are too narrow then, as the warning says: in many such logs by 20 %. 35 % off would be a fault.
    """
    target, rng, weighting = Learned(ThompsonSampling()), np.random.default_rng(4), drop_weights(1000)
    answers = [ModelledLog.of(_equal_arms(rng), target, 5).mean(weighting, NORMAL) for _ in range(100)]
    spread = np.std([answer.value for answer in answers])
    assert np.mean([answer.standard_error for answer in answers]) == pytest.approx(spread, rel=0.35)


def _equal_arms(rng: np.random.Generator) -> Log:
    """A log of 30 arms with the same rate, 10 %."""
    reward = (rng.random(6000) < 0.1).astype(float)
    action = rng.integers(0, 30, 6000)
    return Log(arms=tuple(map(str, range(30))), action=action, reward=reward, propensity=np.full(6000, 1 / 30))


def test_a_learned_target_learns_outside_the_fold() -> None:
    """Its probabilities in a fold are those of its allocation from the other rows' statistics."""
    log = simulated(4)
    statistics = FoldStatistics.of(log, 5)
    pi = Learned(ThompsonSampling()).probabilities(ARMS, statistics.outside)
    assert pi.shape == (5, 3)
    for fold in range(5):
        kept = np.arange(log.n) % 5 != fold
        by_hand = ArmStatistics.of([log.reward[kept & (log.action == arm)] for arm in range(3)])
        np.testing.assert_array_equal(statistics.outside[fold].n, by_hand.n)
        np.testing.assert_array_equal(statistics.outside[fold].sum, by_hand.sum)
        again = Learned(ThompsonSampling()).probabilities(ARMS, [by_hand])
        np.testing.assert_array_equal(pi[fold], again[0])


def test_folds_add_up_to_the_log() -> None:
    """Inside and outside together are all rows; no sum of squares falls below 0 by rounding."""
    rng = np.random.default_rng(5)
    log = Log(arms=ARMS, action=rng.integers(0, 3, 101), reward=rng.normal(0, 1e8, 101), propensity=np.full(101, 1 / 3))
    statistics = FoldStatistics.of(log, 7)
    for inside, outside in zip(statistics.inside, statistics.outside, strict=True):
        np.testing.assert_array_equal(inside.n + outside.n, np.bincount(log.action, minlength=3))
        assert (outside.sum_of_squares >= 0).all()


def test_arm_means_are_drawn_towards_the_mean_of_all() -> None:
    """(S + κ r̄)/(n + κ); an arm without rows gets r̄; no rows at all give 0."""
    statistics = ArmStatistics(n=np.array([10, 0]), sum=np.array([6, 0]), sum_of_squares=np.array([6, 0]))
    np.testing.assert_allclose(arm_means(statistics, 5), [(6 + 5 * 0.6) / 15, 0.6])
    np.testing.assert_array_equal(arm_means(ArmStatistics.zeros(2)), [0, 0])


def test_an_arm_that_was_never_logged_is_missing_support() -> None:
    """The reason names the arm and what the target gives it; with no mass on it, there is nothing to refuse."""
    log = simulated(6)
    wider = Log(arms=(*ARMS, "new"), action=log.action, reward=log.reward, propensity=log.propensity)
    evaluation = evaluate_log(wider, Shares({"a": 0.75, "new": 0.25}))
    refusal = Refusal(("missing support: the target gives 0.25 of its decisions to arms that were never logged (new)",))
    assert evaluation.estimates == dict.fromkeys(ESTIMATORS, refusal)
    assert evaluation.overlap.unsupported == {"new": 0.25}
    assert evaluation.warnings == ()
    assert estimates(wider, OneArm("a")).keys() == ESTIMATORS.keys()


@pytest.mark.parametrize(("rows", "refused"), [(99, True), (100, False)])
def test_a_hundred_effective_rows_are_needed(rows: int, refused: bool) -> None:  # noqa: FBT001
    """99 rows of equal weight are refused, 100 are not."""
    log = Log(arms=("a",), action=np.zeros(rows, int), reward=np.ones(rows), propensity=np.ones(rows))
    answer = evaluate_log(log, OneArm("a"), estimators=["ips"]).estimates["ips"]
    assert isinstance(answer, Refusal) is refused


def test_a_target_that_plays_nothing_of_the_log_is_refused() -> None:
    """All weights are 0: worth no row at all, and self-normalised estimators are never asked."""
    log = Log(arms=ARMS, action=np.zeros(500, int), reward=np.ones(500), propensity=np.ones(500))
    evaluation = evaluate_log(log, OneArm("b"))
    assert evaluation.overlap.effective_sample_size == 0
    assert all(isinstance(answer, Refusal) and len(answer.reasons) == 2 for answer in evaluation.estimates.values())


def test_wrong_propensities_are_noticed() -> None:
    """Weights that do not average 1 are told; with the right propensities, they are not (false alarms 6e-7)."""
    assert evaluate_log(simulated(7), Uniform()).warnings == ()
    (warning,) = evaluate_log(simulated(7, propensities=0.8), Uniform()).warnings
    assert warning.startswith("weights average 1.2")


def test_an_unsettled_policy_is_noticed() -> None:
    """When folds lead to different allocations, intervals are too narrow, and the answer says so."""
    log = simulated(8, 2000, means=np.full(3, 0.2))
    (warning,) = evaluate_log(log, Learned(ThompsonSampling(warm_up=0))).warnings
    assert warning.startswith("the policy is not settled")
    assert evaluate_log(log, Learned(Fixed(probabilities=dict.fromkeys(ARMS, 1 / 3)))).warnings == ()


def test_few_rewards_are_noticed() -> None:
    """Below 50 rewarded rows an interval is rough, and a confidence sequence is refused."""
    action = np.arange(2000) % 2
    log = Log(
        arms=("a", "b"), action=action, reward=np.where(np.arange(2000) < 90, 1.0, 0.0), propensity=np.full(2000, 0.5)
    )
    (warning,) = evaluate_log(log, OneArm("a")).warnings
    assert warning == "only 45 rewarded rows have weight: intervals are rough below 50"
    answer = evaluate_log(log, OneArm("a"), interval=ConfidenceSequence()).estimates["dr"]
    assert answer == Refusal(("a confidence sequence needs 50 rewarded rows, and there are 45",))


def test_intervals_are_made_as_asked() -> None:
    """The method reaches every estimate and the log's own mean."""
    evaluation = evaluate_log(simulated(9), Uniform(), interval=ConfidenceSequence(level=0.9))
    plain = evaluate_log(simulated(9), Uniform())
    for name, answer in evaluation.estimates.items():
        assert isinstance(answer, Estimate)
        other = plain.estimates[name]
        assert isinstance(other, Estimate)
        assert (answer.level, answer.value) == (0.9, other.value)
        assert answer.interval[0] < other.interval[0] < other.interval[1] < answer.interval[1]
    again = evaluate_log(simulated(9), Uniform(), interval=Bootstrap(rng=np.random.default_rng(1), resamples=50))
    assert again.logged.interval != plain.logged.interval


def test_contexts_are_judged_by_the_same_bars() -> None:
    """`evaluate` takes any π and q̂, row by row, and refuses for the same reasons."""
    log, pi, q = simulated(10, 300), np.tile([0.0, 1.0, 0.0], (300, 1)), np.zeros((300, 3))
    target = (log.action == 1).astype(float)
    rows = Rows.of(log.reward, log.propensity, target).modelled(log.action, q, pi, target)
    overlap = Overlap.of(rows, log.action, pi.mean(axis=0), ARMS)
    answers = evaluate(rows, overlap, estimators=["ips", "dm"])
    assert all(isinstance(answer, Refusal) for answer in answers.values())
    assert list(answers) == ["ips", "dm"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": OneArm("z")}, "'z' is no arm of the log; the arms are a, b, c"),
        ({"target": Learned(Fixed(probabilities={"a": 1.0}))}, "probabilities lack these arms: b, c"),
        ({"estimators": ["ips", "magic"]}, "estimator 'magic' is unknown; there are ips, clipped_ips"),
        ({"n_folds": 1}, "there must be 2 folds or more, got 1"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    """Unknown arms, unknown estimators and too few folds."""
    with pytest.raises(ValueError, match=message):
        evaluate_log(simulated(11), **({"target": Uniform()} | options))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shares({"a": 0.5, "b": 0.4}), "probabilities must sum to 1, got 0.9"),
        (lambda: Shares({"a": 1.5, "b": -0.5}), "the probability of 'a' is 1.5; it lies between 0 and 1"),
        (lambda: Shares({"a": math.nan}), "the probability of 'a' is nan"),
        (lambda: Learned(ThompsonSampling(), "magic"), "reward model 'magic' is unknown; there are bernoulli"),
    ],
)
def test_bad_targets_are_refused(make: Any, message: str) -> None:
    """When they are made, before any log is read."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ("a", "a")}, "arms must differ, got a, a"),
        ({"action": [0, 2]}, "action must lie within 0 and 1"),
        ({"action": [0]}, "action must hold 2 integers"),
        ({"action": [0.0, 1.0]}, "action must hold 2 integers"),
        ({"propensity": [0.5, 0.0]}, "propensity of row 1 is 0"),
        ({"reward": [1, math.inf]}, "reward of row 1 is inf"),
        ({"reward": [], "action": [], "propensity": []}, "n at least 1"),
    ],
)
def test_bad_logs_are_refused(change: dict[str, Any], message: str) -> None:
    """A log is right, or it does not exist."""
    log: dict[str, Any] = {"arms": ("a", "b"), "action": [0, 1], "reward": [1, 0], "propensity": [0.5, 0.5]}
    with pytest.raises(ValueError, match=message):
        Log(**(log | change))


def test_a_log_does_not_change_behind_its_owner() -> None:
    """It holds read-only copies."""
    reward = np.zeros(3)
    log = Log(arms=("a",), action=np.zeros(3, int), reward=reward, propensity=np.ones(3))
    reward[0] = 1
    assert log.reward[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        log.action[0] = 1
