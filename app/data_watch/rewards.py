"""Page–Hinkley over each arm's rewards: window by window it goes on where the window before has ended."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import numpy as np
import sqlalchemy as sa

from app.data_watch.features import REWARD
from app.data_watch.sample import Row, Sample
from app.store import drift_results
from app.store.drift_results import SEQUENTIAL, DriftResult
from monitoring.lists import FloatArray
from monitoring.page_hinkley import PageHinkley, Side, threshold_for

__all__ = ["watch_rewards"]

_LEAST: Final = 100  # rewards that a reference needs
_MATTERS: Final = 0.2  # smallest change of the mean that matters, relative
_LEAST_CHANGE: Final = 0.05  # and in standard deviations, where the mean is about 0
_WINDOWS_BETWEEN_FALSE_ALARMS: Final = 1_000.0


def watch_rewards(connection: sa.Connection, sample: Sample) -> list[DriftResult]:
    """One result for each arm that has rewards to watch.

    The state is stored with the result, and found by the next pass: so that a pass that is repeated comes to the same.
    After an alarm, or a window without rewards of the arm, a detector begins anew with the reference's mean.

    Args:
        connection: where states are read.
        sample: of the closed window and its reference.
    """
    window, experiment = sample.window, sample.experiment
    width = window.widths.window_s
    states = drift_results.states(connection, experiment.key, window.start - timedelta(seconds=width), width)
    results = []
    for arm in sample.arms:
        reference, current = (_rewards(sample, arm, rows) for rows in sample.exposures)
        detector = _continued(states.get(REWARD + arm, {}), experiment.epoch) or _begun(reference, current.size)
        if detector is not None and current.size:
            results.append(_result(sample, arm, (detector, detector.update(current)), current))
    return results


def _rewards(sample: Sample, arm: str, rows: Sequence[Row]) -> FloatArray:
    found = (sample.reward_of(row) for row in rows if row.arm == arm)
    return np.array([reward for reward in found if reward is not None], dtype=np.float64)


def _continued(state: Mapping[str, Any], epoch: int) -> PageHinkley | None:
    """The detector of the window before; None when it has given its alarm, or watched what is not comparable."""
    if state.get("epoch") != epoch:
        return None
    try:
        detector = msgspec.convert(state["detector"], PageHinkley)
    except msgspec.ValidationError:  # of another version of this program
        return None
    return None if detector.change else detector


def _begun(reference: FloatArray, per_window: int) -> PageHinkley | None:
    """A detector that knows the reference's mean; None when there are too few rewards, or all are equal."""
    deviation = float(reference.std()) if reference.size >= _LEAST else 0.0
    if not deviation or not per_window:
        return None
    delta = max(_MATTERS * abs(float(reference.mean())), _LEAST_CHANGE * deviation) / 2
    between = _WINDOWS_BETWEEN_FALSE_ALARMS * max(per_window, _LEAST)
    threshold = threshold_for(delta=delta, standard_deviation=deviation, values_between_false_alarms=between)
    return PageHinkley(delta=delta, threshold=threshold, n=reference.size, mean=float(reference.mean()))


def _result(sample: Sample, arm: str, detectors: tuple[PageHinkley, PageHinkley], current: FloatArray) -> DriftResult:
    before, after = detectors
    is_rise = _height(after.up) >= _height(after.down)
    since, until = sample.reward_window.reference
    return DriftResult(
        experiment=sample.experiment.key,
        window_start=sample.window.start,
        window_s=sample.window.widths.window_s,
        feature=REWARD + arm,
        test=SEQUENTIAL,
        reference_start=since,
        reference_end=until,
        kind="numeric",
        n=current.size,
        value=_height(after.up if is_rise else after.down),
        threshold=after.threshold,
        direction="up" if is_rise else "down",
        moved="mean",
        change=float(current.mean()) - before.mean,
        drifted=after.change is not None,
        state={"epoch": sample.experiment.epoch, "detector": msgspec.to_builtins(after)},
    )


def _height(side: Side) -> float:
    """What the threshold is compared with."""
    return side.total - side.lowest
