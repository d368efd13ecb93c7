"""Priors from "the split to start with": what shares of traffic say about those who set them."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from bandits.posteriors import Posterior, RewardModel
from bandits.statistics import ArmStatistics, FloatArray
from bandits.winning import probability_best

MAX_ARMS: Final = 50

_SMALLEST_SHARE: Final = 1e-4
_TOLERANCE: Final = 1e-8
_ROUNDING: Final = 1e-9
_MAX_STEPS: Final = 60
_MAX_HALVINGS: Final = 12
_LONGEST_STEP: Final = 3.0  # in units of the shifts: logits, logarithms, deviations

# Points of the grid that Newton's matrix is computed on, which need not be exact; and the step of its differences.
_GRID: Final = 1000
_DIFFERENCE: Final = 1e-4


def warm_priors(
    model: RewardModel, split: npt.ArrayLike, *, mean: float, weight: float, deviation: float | None = None
) -> list[msgspec.Struct]:
    """Priors with which each arm is the best with the probability `split` gives it.

    All are worth `weight` outcomes. Their means differ by shifts t_i on the model's scale (see `prior_with`) with
    Σ split_i t_i = 0, so `mean` is about what the split has earned. The t_i are found by Newton's method on
    log P_i(t) = log split_i, in which the derivatives come from a grid and the P_i from exact quadrature.

    Args:
        model: the kind of reward.
        split: share of each arm, shape (n_arms,), each 1e-4 or more, sum 1, at most 50 arms.
        mean: usual mean reward.
        weight: how many outcomes each prior is worth, above 0.
        deviation: standard deviation of one outcome, for `gaussian` rewards.

    Returns:
        One prior per arm, within the limits of the model; P(best) equals the split to 1e-8.

    Raises:
        ValueError: when an argument is outside its range, or no priors within the limits give this split.
    """
    split = np.asarray(split, dtype=np.float64)
    _refuse_improper(split)
    shifts, usual = np.zeros(split.size), _Start(model, mean=mean, weight=weight, deviation=deviation)
    try:
        residual = _residual(usual.posterior(shifts), split)
    except msgspec.ValidationError as error:
        raise usual.unreachable() from error
    for _ in range(_MAX_STEPS):
        if np.abs(np.expm1(-residual) * split).max() <= _TOLERANCE:
            return usual.priors(shifts)
        shifts, residual = _step(usual, split, shifts, residual)
    raise usual.unreachable()


def usual_prior(model: RewardModel, *, mean: float, weight: float, deviation: float | None = None) -> msgspec.Struct:
    """The prior of an arm that the split says nothing about: as those of `warm_priors`, without a shift.

    Raises:
        ValueError: when an argument is outside its range, or the prior is outside the model's limits.
    """
    usual = _Start(model, mean=mean, weight=weight, deviation=deviation)
    try:
        return usual.priors(np.zeros(1))[0]
    except msgspec.ValidationError as error:
        raise usual.unreachable() from error


class _Start:
    """The priors as functions of the shifts."""

    def __init__(self, model: RewardModel, *, mean: float, weight: float, deviation: float | None) -> None:
        self._model, self._mean, self._weight, self._deviation = model, mean, weight, deviation

    def priors(self, shifts: FloatArray) -> list[msgspec.Struct]:
        """One prior per shift; ValidationError when one is outside the model's limits."""
        made = [self._model.prior_with(self._mean, self._weight, self._deviation, shift) for shift in shifts.tolist()]
        return [msgspec.convert(msgspec.structs.asdict(prior), self._model.prior) for prior in made]

    def posterior(self, shifts: FloatArray) -> Posterior:
        """What these priors say before any outcome."""
        return self._model.posterior(ArmStatistics.zeros(shifts.size), self.priors(shifts))

    def unreachable(self) -> ValueError:
        """What to say when the split is out of reach."""
        return ValueError(
            f"no priors within the model's limits are worth {self._weight:g} outcomes around a mean of {self._mean:g} "
            "and give this split; take more weight, or a split nearer to equal"
        )


def _refuse_improper(split: FloatArray) -> None:
    if not 1 <= split.size <= MAX_ARMS:
        raise ValueError(f"a split is over 1 to {MAX_ARMS} arms, got {split.size}")
    if not np.all(split >= _SMALLEST_SHARE):
        raise ValueError(f"each share must be {_SMALLEST_SHARE:g} or more, got {split.min():g}")
    if not abs(split.sum() - 1) <= _ROUNDING:
        raise ValueError(f"the shares must sum to 1, got {split.sum():g}")


def _residual(posterior: Posterior, split: FloatArray) -> FloatArray:
    """Log P_i − log split_i."""
    with np.errstate(divide="ignore"):
        return np.log(probability_best(posterior)) - np.log(split)


def _step(usual: _Start, split: FloatArray, shifts: FloatArray, residual: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Newton's step, halved until it helps and all priors are within their limits."""
    slopes = _slopes(usual, shifts) / (split * np.exp(residual))[:, None]
    # The last equation fixes what P(best) does not depend on: Σ split_i t_i = 0.
    matrix = np.vstack((slopes, split))
    step = np.linalg.lstsq(matrix, -np.append(residual, split @ shifts), rcond=None)[0]
    step = step * (_LONGEST_STEP / max(np.abs(step).max(), _LONGEST_STEP))
    for _ in range(_MAX_HALVINGS):
        try:
            following = _residual(usual.posterior(shifts + step), split)
        except (ValueError, ArithmeticError):
            following = np.full_like(residual, np.inf)
        if np.abs(following).max() < np.abs(residual).max():
            return shifts + step, following
        step = step / 2
    raise usual.unreachable()


def _slopes(usual: _Start, shifts: FloatArray) -> FloatArray:
    """∂P_i/∂t_j on a grid, shape (n_arms, n_arms): ∫ f_i Π_{k≠i,j} F_k ∂F_j/∂t_j dz, and columns sum to 0."""
    n_arms = shifts.size
    both = usual.posterior(np.concatenate((shifts, shifts + _DIFFERENCE)))
    lower, upper = both.support
    z = np.linspace(lower.min(), upper.max(), _GRID)[None, :]
    density = np.exp(both.log_density(z)) * (z[0, 1] - z[0, 0])
    distribution = np.maximum(np.cumsum(density, axis=1) - density / 2, 1e-30)
    moved = (distribution[n_arms:] - distribution[:n_arms]) / _DIFFERENCE / distribution[:n_arms]
    best = np.prod(distribution[:n_arms], axis=0)
    slopes: FloatArray = (density[:n_arms] / distribution[:n_arms] * best) @ moved.T
    np.fill_diagonal(slopes, 0)
    np.fill_diagonal(slopes, -slopes.sum(axis=0))
    return slopes
