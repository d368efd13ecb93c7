"""Intervals of off-policy estimates: their formulas, and how often they hold the truth."""

import math
import tracemalloc
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from bandits import interval_methods
from bandits.asymptotic import boundary
from bandits.estimates import Sample
from bandits.interval_methods import Bootstrap, ConfidenceSequence, IntervalMethod, Normal
from bandits.off_policy import ips, snips

SAMPLE = Sample((np.array([0.0, 1.0, 4.0, 3.0]),))


def test_normal_closed_form() -> None:
    """The value, and z s/√n to each side."""
    radius = NormalDist().inv_cdf(0.95) * math.sqrt(10 / 3) / 2
    assert Normal(level=0.9).interval(SAMPLE) == pytest.approx((2 - radius, 2 + radius), rel=1e-14)


def test_confidence_sequence_closed_form() -> None:
    """The value, and the boundary in units of s to each side."""
    lower, upper = ConfidenceSequence().interval(SAMPLE)
    radius = math.sqrt(10 / 3) * boundary(np.array(4.0), alpha=0.05)
    assert (lower, upper) == pytest.approx((2 - radius, 2 + radius), rel=1e-9)


def test_bootstrap_is_reproducible_and_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed gives the same interval, whatever the block; memory follows the block, not the resamples."""
    sample = Sample((np.random.default_rng(1).random(1000),))
    whole = Bootstrap(rng=np.random.default_rng(2), resamples=400).interval(sample)
    monkeypatch.setattr(interval_methods, "_BLOCK", 7000)
    tracemalloc.start()
    in_blocks = Bootstrap(rng=np.random.default_rng(2), resamples=400).interval(sample)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert in_blocks == whole
    assert peak < 400 * 1000 * 8 / 4


def test_bootstrap_of_a_ratio_is_renormalised_in_each_resample() -> None:
    """Constant rewards have no spread, however much weights differ; without renormalising they would."""
    rng = np.random.default_rng(3)
    propensity = rng.uniform(0.1, 1, 200)
    method = Bootstrap(rng=rng, resamples=100)
    assert snips(np.full(200, 2.0), propensity, np.full(200, 0.1), interval=method).interval == pytest.approx((2, 2))
    lower, upper = ips(np.full(200, 2.0), propensity, np.full(200, 0.1), interval=method).interval
    assert upper - lower > 0.01


def test_bootstrap_leaves_out_resamples_without_weight() -> None:
    """With one weighted row of three, some resamples have no ratio; the others all have the same."""
    method = Bootstrap(rng=np.random.default_rng(4), resamples=200)
    assert snips([1.0, 0.0, 0.0], [0.5] * 3, [0.5, 0.0, 0.0], interval=method).interval == (1.0, 1.0)


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (lambda rng: Normal(), 0.90),  # noqa: ARG005
        (lambda rng: Bootstrap(rng=rng, resamples=200), 0.89),
        (lambda rng: ConfidenceSequence(), 0.97),  # noqa: ARG005
    ],
    ids=["normal", "bootstrap", "sequence"],
)
def test_coverage(make: Callable[[np.random.Generator], IntervalMethod], least: float) -> None:
    """The 95 % interval of IPS holds the truth in most of 1,000 logs of 1,000 rows.

    Where it does so in 94.5 % (normal), 93.5 % (bootstrap of 200) or 99 % (sequence), false alarms are below 3e-7.
    """
    rng = np.random.default_rng(20261124)
    hits = 0
    for _ in range(1000):
        first = rng.random(1000) < 0.3
        reward = (rng.random(1000) < np.where(first, 0.2, 0.4)).astype(float)
        target = np.where(first, 0.6, 0.4)
        lower, upper = ips(reward, np.where(first, 0.3, 0.7), target, interval=make(rng)).interval
        hits += lower <= 0.6 * 0.2 + 0.4 * 0.4 <= upper
    assert hits / 1000 > least


def test_confidence_sequence_survives_peeking() -> None:
    """Looking after each 100 of 10,000 rows, it excludes the truth in at most 5 % of the logs.

    At a rate of 5 % more than 45 of 400 has probability 2e-7. Normal intervals fail in 27 % of such logs; fewer
    than 55 of 400 then has probability 3e-10.
    """
    rng = np.random.default_rng(20261124)
    excluded = {"sequence": 0, "normal": 0}
    for _ in range(400):
        first = rng.random(10_000) < 0.3
        reward = (rng.random(10_000) < np.where(first, 0.2, 0.4)).astype(float)
        terms = reward * np.where(first, 0.6 / 0.3, 0.4 / 0.7)
        looks = np.arange(500, 10_001, 100)
        means = np.cumsum(terms)[looks - 1] / looks
        spreads = np.sqrt(np.cumsum(terms**2)[looks - 1] / looks - means**2)
        off = np.abs(means - 0.28)
        radii = spreads * boundary(looks.astype(np.float64), alpha=0.05)
        excluded["sequence"] += bool((off > radii).any())
        excluded["normal"] += bool((off > 1.96 * spreads / np.sqrt(looks)).any())
    assert excluded["sequence"] <= 45
    assert excluded["normal"] >= 55


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, math.nan])
def test_levels_lie_between_0_and_1(level: float) -> None:
    """Any other is refused by each method."""
    for method in (Normal, ConfidenceSequence):
        with pytest.raises(ValueError, match="a confidence level lies between 0 and 1"):
            method(level=level)
    with pytest.raises(ValueError, match="a confidence level lies between 0 and 1"):
        Bootstrap(rng=np.random.default_rng(1), level=level)


def test_a_bootstrap_needs_resamples() -> None:
    """None would leave nothing to take percentiles of."""
    with pytest.raises(ValueError, match="resamples must be 1 or more, got 0"):
        Bootstrap(rng=np.random.default_rng(1), resamples=0)
