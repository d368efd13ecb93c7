from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.page_hinkley import Change, PageHinkley, threshold_for

DETECTOR = PageHinkley(delta=0.05, threshold=3.0, min_values=5)


def step_by_step(values: list[float]) -> tuple[str, int] | None:
    """The test as written down by Page and Hinkley, value by value."""
    sums, lowest, mean = [0.0, 0.0], [0.0, 0.0], 0.0
    for n, value in enumerate(values, start=1):
        mean += (value - mean) / n
        for at, sign in enumerate((1, -1)):
            sums[at] += sign * (value - mean) - DETECTOR.delta
            lowest[at] = min(lowest[at], sums[at])
            if n >= DETECTOR.min_values and sums[at] - lowest[at] > DETECTOR.threshold:
                return ("up", "down")[at], n
    return None


STREAMS = st.tuples(
    st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(0, 2**32)
)


@given(STREAMS, st.lists(st.integers(0, 120), max_size=4))
def test_streams_in_pieces_give_what_the_test_gives_step_by_step(
    stream: tuple[int, int, float, int], cuts: list[int]
) -> None:
    """However a stream is cut, the change is the one that the definition finds, and the state is the same."""
    before, after, rate, seed = stream
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.random(before) < 0.3, rng.random(after) < rate]).astype(np.float64)
    whole, pieces = DETECTOR.update(values), DETECTOR
    for piece in np.split(values, sorted(min(cut, values.size) for cut in cuts)):
        pieces = pieces.update(piece)
    expected = step_by_step(values.tolist())
    assert (whole.change and (whole.change.direction, whole.change.noticed_after)) == expected
    assert (pieces.change, pieces.n) == (whole.change, whole.n)
    assert pieces.mean == pytest.approx(whole.mean)
    assert (pieces.up.total, pieces.down.lowest) == pytest.approx((whole.up.total, whole.down.lowest))


def test_a_fall_is_noticed_and_dated() -> None:
    """A rate that falls from 0.5 to 0.1 after 1,000 values is noticed soon, and dated to within 100 values."""
    rng = np.random.default_rng(1)
    rates = np.repeat([0.5, 0.1], 1000)
    limit = threshold_for(delta=0.1, standard_deviation=0.5, values_between_false_alarms=1e6)
    change = PageHinkley(delta=0.1, threshold=limit).update(rng.random(2000) < rates).change
    assert change is not None
    assert change.direction == "down"
    assert change.noticed_after < 1200
    assert abs(change.began_after - 1000) < 100


@pytest.mark.parametrize(("rate", "delta"), [(0.5, 0.05), (0.05, 0.02)])
def test_false_alarms_are_as_rare_as_asked_for(rate: float, delta: float) -> None:
    """Over 400 unchanged streams, values until a false alarm are within a factor of 2 of 2,000 on average.

    They are nearly exponential: the mean of 400 has a standard error of 5 %, so a factor of 2 from a true mean within
    30 % of what was asked for is 6 standard errors away or more.
    """
    rng = np.random.default_rng(7)
    deviation = (rate * (1 - rate)) ** 0.5
    limit = threshold_for(delta=delta, standard_deviation=deviation, values_between_false_alarms=2000)
    detector = PageHinkley(delta=delta, threshold=limit)
    lengths = [detector.update(rng.random(40_000) < rate).n for _ in range(400)]
    assert 1000 < np.mean(lengths) < 4000


def test_a_change_stays_until_restarted() -> None:
    """What was noticed is not forgotten by later values; a restarted detector knows nothing."""
    changed = PageHinkley(delta=0.05, threshold=5.0).update([0.1] * 100).update([0.9] * 20)
    assert changed.change == Change(direction="up", noticed_after=107, began_after=100)
    assert changed.update([0.1] * 1000) == changed
    assert changed.restarted() == PageHinkley(delta=0.05, threshold=5.0)


@pytest.mark.parametrize("wrong", [{"delta": 0.0}, {"threshold": -1.0}, {"min_values": 0}, {"delta": float("nan")}])
def test_impossible_parameters_are_refused(wrong: dict[str, Any]) -> None:
    """The message names the parameter."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be above 0"):
        replace(DETECTOR, **wrong)


@pytest.mark.parametrize("values", [[np.nan], [[1.0]]])
def test_impossible_values_are_refused(values: list[float]) -> None:
    """A nan would stay in the sums for ever."""
    with pytest.raises(ValueError, match="values must be finite"):
        DETECTOR.update(values)


def test_an_impossible_design_is_refused() -> None:
    """A stream that does not vary has no false alarms to count."""
    with pytest.raises(ValueError, match="must be above 0"):
        threshold_for(delta=0.1, standard_deviation=0.0, values_between_false_alarms=10)
