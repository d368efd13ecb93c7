"""A short form of benchmarks/validity.py and benchmarks/delays.py."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from bandits.inference import BetaMixture, ExposureShares, lifts, sample_ratio
from bandits.statistics import ArmStatistics
from benchmarks.adaptive import World
from benchmarks.delays import BAR, JUDGED_FROM, readings
from benchmarks.peeking import (
    ALPHA,
    RATIO_ALPHA,
    Experiments,
    honest_lift_excludes_0,
    honest_mean_excludes,
    ratio_alarm,
    simulate,
)
from benchmarks.validity import POWER, power

RUNS = 300

# With probability 1 − 1e-7 no more of the runs are wrong if each is with the probability promised; there are
# at most nine such comparisons here.
ALLOWED = scipy.stats.binom.isf(1e-7, RUNS, ALPHA) / RUNS
ALLOWED_ALARMS = scipy.stats.binom.isf(1e-7, RUNS, RATIO_ALPHA) / RUNS
ALLOWED_MISSES = scipy.stats.binom.isf(1e-7, RUNS, 1 - POWER) / RUNS


@pytest.fixture(scope="module")
def steady() -> Experiments:
    """Two equal arms with a constant rate."""
    world = World(rates=np.full((RUNS, 2), 0.1), floor=0.1)
    return simulate(world, np.random.default_rng(20261124))


@pytest.fixture(scope="module")
def seasonal() -> Experiments:
    """Two equal arms whose rate swings by half."""
    world = World(rates=np.full((RUNS, 2), 0.5), floor=0.1, season=0.5)
    return simulate(world, np.random.default_rng(20261125))


def test_honest_and_robust_intervals_hold_at_every_look(steady: Experiments) -> None:
    """Each is ever wrong in about 5 % of runs at most, peeked at 200 times; false alarms of all < 1e-6."""
    shares = steady.shares()
    for figure in ("honest mean", "honest lift", "robust mean", "robust lift"):
        assert shares[figure] <= ALLOWED, figure
    assert shares["sample ratio"] <= ALLOWED_ALARMS


def test_naive_intervals_do_not_hold(steady: Experiments) -> None:
    """The same simulation finds naive intervals wrong far more often: it is able to find fault."""
    assert min(steady.shares()["naive mean"], steady.shares()["naive lift"]) > 2 * ALLOWED


def test_robust_intervals_hold_while_rates_swing(seasonal: Experiments) -> None:
    """With a season of ±50 % drift-robust intervals hold, honest ones, made for constant rates, need not."""
    shares = seasonal.shares()
    assert max(shares["robust mean"], shares["robust lift"]) <= ALLOWED
    assert shares["sample ratio"] <= ALLOWED_ALARMS
    assert shares["honest lift"] > ALLOWED


def test_lost_exposures_are_found() -> None:
    """A tenth of one arm's exposures lost is found within 20,000 decisions, in 99 % of runs."""
    found = power(2, 0.1, 20_000, RUNS, np.random.default_rng(1))
    assert found >= 1 - ALLOWED_MISSES


def test_exclusion_is_what_the_intervals_say() -> None:
    """Judging by the mixture's value, as the simulation does, agrees with the ends of the public intervals."""
    rng = np.random.default_rng(2)
    n = np.floor(10 ** rng.uniform(0, 5, size=(150, 3)))
    truth = np.full_like(n, 0.1)
    ones = np.clip(np.round(n * 0.1 + np.sqrt(n * 0.09) * rng.normal(0, 6, size=n.shape)), 0, n)
    mean, lift = honest_mean_excludes(n, ones, truth), honest_lift_excludes_0(n, ones)
    assert 0.1 < mean.mean() < 0.9
    assert 0.1 < lift[:, 1:].mean() < 0.9
    for run in range(len(n)):
        arms = ArmStatistics(n=n[run], sum=ones[run], sum_of_squares=ones[run])
        assert mean[run].tolist() == (~BetaMixture().means(arms, alpha=ALPHA).contains(0.1)).tolist()
        assert lift[run, 1:].tolist() == (~lifts(BetaMixture(), arms, 0, alpha=ALPHA).contains(0))[1:].tolist()


def test_alarm_is_what_the_sample_ratio_says() -> None:
    """The simulation's check of all runs at once agrees with the public function."""
    rng = np.random.default_rng(3)
    p = rng.dirichlet([3, 3, 3], size=200)
    counts = rng.multinomial(2_000, 0.9 * p + 0.1 / 3)
    alarms = ratio_alarm(counts - 2_000 * p, 2_000 * p * (1 - p), np.full((200, 1), 2_000.0)).any(axis=1)
    verdicts = [sample_ratio(ExposureShares.of(counts[[run]], p[[run]])).ok for run in range(200)]
    assert alarms.tolist() == [not ok for ok in verdicts]
    assert 0.1 < alarms.mean() < 0.9


def test_late_clicks_do_not_bias_what_is_learned() -> None:
    """By the feedback contract the bias is below 0.1 standard errors, and 0 in the end; by other ways it is not.

    At time 50 the mean over 400 runs is −0.07 ± 0.004, and nearer to 0 later: false alarms < 1e-12.
    """
    at = {
        time: {k: np.abs(v.mean(axis=0)).max() for k, v in b.items()}
        for time, b in readings(400, np.random.default_rng(4))
    }
    assert all(biases["contract"] < BAR for time, biases in at.items() if time >= JUDGED_FROM)
    assert at[max(at)]["contract"] == pytest.approx(0, abs=1e-3)
    assert min(at[200]["uncorrected"], at[200]["immediate"], at[200]["eager"]) > 5 * BAR
