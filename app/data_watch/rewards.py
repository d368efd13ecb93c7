"""Page–Hinkley over each arm's rewards: window by window it goes on where the window before has ended."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import numpy as np
import sqlalchemy as sa

from app.data_watch.features import REWARD
from app.data_watch.windows import Window
from app.store import drift_results
from app.store.drift_results import SEQUENTIAL, DriftResult
from app.store.experiments import Experiment
from monitoring.lists import FloatArray
from monitoring.page_hinkley import PageHinkley, Side, threshold_for

__all__ = ["watch_rewards"]

_LEAST: Final = 100  # rewards that a reference needs
_MATTERS: Final = 0.2  # smallest change of the mean that matters, relative
_LEAST_CHANGE: Final = 0.05  # and in standard deviations, where the mean is about 0
_WINDOWS_BETWEEN_FALSE_ALARMS: Final = 1_000.0

Sampled = Sequence[sa.RowMapping]


def watch_rewards(
    connection: sa.Connection, experiment: Experiment, window: Window, rewards: Sequence[Sampled], arms: Sequence[str]
) -> list[DriftResult]:
    """One result for each arm that has rewards to watch.

    The state is stored with the result, and found by the next pass: so that a pass that is repeated comes to the same.
    After an alarm, or a window without rewards of the arm, a detector begins anew with the reference's mean.

    Args:
        connection: where states are read.
        experiment: whose rewards they are.
        window: the closed one.
        rewards: of the reference and of the current window, in the order of time.
        arms: keys.
    """
    width = window.widths.window_s
    states = drift_results.states(connection, experiment.key, window.start - timedelta(seconds=width), width)
    results = []
    for arm in arms:
        reference, current = (_of(arm, rows) for rows in rewards)
        detector = _continued(states.get(REWARD + arm, {}), experiment.epoch) or _begun(reference, current.size)
        if detector is not None and current.size:
            results.append(_result(experiment, window, arm, (detector, detector.update(current)), current))
    return results


def _of(arm: str, rows: Sampled) -> FloatArray:
    return np.array([row["reward"] for row in rows if row["arm"] == arm], dtype=np.float64)


def _continued(state: Mapping[str, Any], epoch: int) -> PageHinkley | None:
    """The detector of the window before; None when it has given its alarm, or watched what is not comparable."""
    if state.get("epoch") != epoch:
        return None
    detector = msgspec.convert(state["detector"], PageHinkley)
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


def _result(
    experiment: Experiment, window: Window, arm: str, detectors: tuple[PageHinkley, PageHinkley], current: FloatArray
) -> DriftResult:
    before, after = detectors
    is_rise = _height(after.up) >= _height(after.down)
    since, until = window.reference
    return DriftResult(
        experiment=experiment.key,
        window_start=window.start,
        window_s=window.widths.window_s,
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
        state={"epoch": experiment.epoch, "detector": msgspec.to_builtins(after)},
    )


def _height(side: Side) -> float:
    """What the threshold is compared with."""
    return side.total - side.lowest
