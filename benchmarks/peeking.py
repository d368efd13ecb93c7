"""A/A experiments that are looked at all the time, and the intervals that are ever wrong.

Arm 0 is the control. All arrays have shape (runs, n_arms). Credible intervals, the naive ones, are taken in normal
approximation here.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from bandits.asymptotic import boundary
from bandits.inference import AllocationCounts, BetaMixture, Intervals, ScoreSums, contrasts, robust_means, scores
from bandits.sample_ratio import BURN_IN, SMALLEST_VARIANCE
from bandits.statistics import FloatArray
from benchmarks.adaptive import BATCH, Look, World, flat, looks, posterior_deviation, posterior_mean

ALPHA: Final = 0.05
RATIO_ALPHA: Final = 0.01

_NORMAL_QUANTILE: Final = 1.959964

BoolArray = npt.NDArray[np.bool_]
_Value = TypeVar("_Value", np.bool_, np.float64)


class Experiments:
    """A/A experiments of one setting, and which of their intervals have ever been wrong.

    Attributes:
        wrong: by figure, which of its intervals ever excluded the truth, shape (runs, n_arms); of lifts the
            first column, the control's, is always False.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: dict[str, BoolArray] = {}
        nothing = np.zeros_like(world.rates)
        self._n = self._ones = nothing
        self._scores = self._contrasts = ScoreSums(n=nothing, sum=nothing, sum_of_squares=nothing)
        self._excess = self._variance = nothing

    def look(self, look: Look) -> None:
        """Look at all intervals after one more batch."""
        self._add(look)
        for figure, wrong in self._checks(look).items():
            self.wrong[figure] = self.wrong.get(figure, np.zeros_like(wrong)) | wrong

    def report(self) -> dict[str, Any]:
        """The figures of the setting, fit for JSON.

        `wrong`: see `shares`. `half_widths`: by figure, the mean of the intervals that are given at the last look,
        None if none is. `robust_lifts_given`: share of drift-robust lifts that are past their burn-in then.
        """
        widths = {figure: _without_control(figure, widths) for figure, widths in self._half_widths().items()}
        given = {figure: width[~np.isnan(width)] for figure, width in widths.items()}
        return {
            "wrong": self.shares(),
            "half_widths": {figure: float(width.mean()) if width.size else None for figure, width in given.items()},
            "robust_lifts_given": given["robust lift"].size / widths["robust lift"].size,
        }

    def shares(self) -> dict[str, float]:
        """By figure, the share of intervals that were ever wrong; of the sample ratio, of runs."""
        shares = {figure: float(_without_control(figure, wrong).mean()) for figure, wrong in self.wrong.items()}
        return shares | {"sample ratio": float(self.wrong["sample ratio"].any(axis=1).mean())}

    def _half_widths(self) -> dict[str, FloatArray]:
        """Half-widths of all intervals at the last look."""
        n, ones = self._n, self._ones
        statistics, control = flat(n, ones, ones), flat(*(_of_control(x) for x in (n, ones, ones)))
        deviation = posterior_deviation(self.world.prior, n, ones)
        of_lift = np.sqrt(deviation**2 + _of_control(deviation) ** 2)
        intervals = {
            "honest mean": BetaMixture().means(statistics, alpha=ALPHA),
            "honest lift": BetaMixture().differences(statistics, control, alpha=ALPHA),
            "robust mean": _robust(self._scores, ones),
            "robust lift": _robust(self._contrasts, np.minimum(ones, _of_control(ones))),
        }
        widths = {name: (i.upper - i.lower).reshape(n.shape) / 2 for name, i in intervals.items()}
        return widths | {"naive mean": _NORMAL_QUANTILE * deviation, "naive lift": _NORMAL_QUANTILE * of_lift}

    def _add(self, look: Look) -> None:
        self._n, self._ones = look.n, look.ones
        counts = AllocationCounts(
            propensities=look.propensities,
            guesses=look.guesses,
            n=look.chosen,
            sum=look.rewarded,
            sum_of_squares=look.rewarded,
        )
        self._scores = _added(self._scores, scores(counts))
        self._contrasts = _added(self._contrasts, contrasts(counts, 0))
        self._excess = self._excess + look.chosen - BATCH * look.propensities
        self._variance = self._variance + BATCH * look.propensities * (1 - look.propensities)

    def _checks(self, look: Look) -> dict[str, BoolArray]:
        """By figure, which intervals exclude the truth: the running mean rate, or a lift of 0."""
        n, ones, truth = look.n, look.ones, look.mean_rates
        mean, deviation = posterior_mean(self.world.prior, n, ones), posterior_deviation(self.world.prior, n, ones)
        of_lift = np.sqrt(deviation**2 + _of_control(deviation) ** 2)
        return {
            "naive mean": np.abs(mean - truth) > _NORMAL_QUANTILE * deviation,
            "naive lift": np.abs(mean - _of_control(mean)) > _NORMAL_QUANTILE * of_lift,
            "honest mean": honest_mean_excludes(n, ones, truth),
            "honest lift": honest_lift_excludes_0(n, ones),
            "robust mean": _excludes(_robust(self._scores, ones), truth),
            "robust lift": _excludes(_robust(self._contrasts, np.minimum(ones, _of_control(ones))), 0 * truth),
            "sample ratio": ratio_alarm(self._excess, self._variance, n.sum(axis=1, keepdims=True)),
        }


def honest_mean_excludes(n: FloatArray, ones: FloatArray, truth: FloatArray) -> BoolArray:
    """Whether the honest intervals exclude rates: the mixture's value tells, ends are not needed."""
    mixture = BetaMixture().log_mixture(flat(n, ones, ones), truth.ravel())
    excluded: BoolArray = (mixture > -np.log(ALPHA)).reshape(n.shape)
    return excluded


def honest_lift_excludes_0(n: FloatArray, ones: FloatArray) -> BoolArray:
    """Whether the honest intervals of lifts over arm 0 exclude 0.

    The product of two mixtures is smallest, among equal rates, at the pooled rate.
    """
    control_n, control_ones = _of_control(n), _of_control(ones)
    # At a pooled rate of 0 or 1 nothing is excluded; just beside it, neither.
    pooled = np.clip((ones + control_ones) / np.maximum(n + control_n, 1), 1e-12, 1 - 1e-12).ravel()
    first = BetaMixture().log_mixture(flat(n, ones, ones), pooled)
    second = BetaMixture().log_mixture(flat(control_n, control_ones, control_ones), pooled)
    excluded: BoolArray = (first + second > -np.log(ALPHA)).reshape(n.shape)
    excluded[:, 0] = False
    return excluded


def ratio_alarm(excess: FloatArray, variance: FloatArray, n: FloatArray) -> BoolArray:
    """`bandits.sample_ratio` for many runs: which arms' shares are off, n of shape (runs, 1)."""
    allowed = np.sqrt(variance * n) * boundary(n, alpha=RATIO_ALPHA / excess.shape[1])
    alarm: BoolArray = (n >= BURN_IN) & (variance >= SMALLEST_VARIANCE) & (np.abs(excess) > allowed)
    return alarm


def _of_control(values: FloatArray) -> FloatArray:
    """Arm 0's values for all arms."""
    return np.broadcast_to(values[:, [0]], values.shape)


def _added(first: ScoreSums, second: ScoreSums) -> ScoreSums:
    return ScoreSums(
        n=first.n + second.n,
        sum=first.sum + second.sum,
        sum_of_squares=first.sum_of_squares + second.sum_of_squares,
    )


def _robust(sums: ScoreSums, rewarded: FloatArray) -> Intervals:
    """Drift-robust intervals of all arms of all runs in one row."""
    return robust_means(flat(sums.n, sums.sum, sums.sum_of_squares), rewarded.ravel(), alpha=ALPHA)


def _without_control(figure: str, values: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
    """The control has no lift."""
    return values[:, 1:] if figure.endswith("lift") else values


def _excludes(intervals: Intervals, truth: FloatArray) -> BoolArray:
    """nan, not given yet, excludes nothing."""
    excluded: BoolArray = ((intervals.lower > truth.ravel()) | (intervals.upper < truth.ravel())).reshape(truth.shape)
    return excluded


def simulate(world: World, rng: np.random.Generator) -> Experiments:
    """Run the experiments of a setting to their end."""
    experiments = Experiments(world)
    for look in looks(world, rng):
        experiments.look(look)
    return experiments
