"""Measurements are noted, and added up when a sink reads them."""

import threading
from collections.abc import Sequence

import pytest

from monitoring.instruments import (
    ALLOCATION_AGE,
    DECISIONS,
    FEEDBACK_DELAY,
    INSTRUMENTS,
    LEARNER_PASS,
    REQUEST_DURATION,
    Instrument,
)
from monitoring.meter import OVERFLOW, Meter, Series

Reading = dict[tuple[str, tuple[str, ...]], tuple[float, list[int]]]


def reading(meter: Meter) -> Reading:
    """What a sink sees: value and counts by name and labels."""
    seen: Reading = {}

    def sink(every: Sequence[Series]) -> None:
        seen.update({(s.instrument.name, s.labels): (s.value, list(s.counts)) for s in every})

    meter.read(sink)
    return seen


def test_counters_add_and_gauges_keep_the_last_value() -> None:
    """Each set of labels has a sum of its own; of a gauge only the newest value counts."""
    meter = Meter()
    for labels, value in (
        (("home", "a", "policy"), 1.0),
        (("home", "b", "policy"), 1.0),
        (("home", "a", "policy"), 2.0),
    ):
        meter.add(DECISIONS, labels, value)
    meter.add(ALLOCATION_AGE, (), 5.0)
    meter.add(ALLOCATION_AGE, (), 3.0)
    seen = reading(meter)
    assert seen["croupier.decision", ("home", "a", "policy")] == (3.0, [])
    assert seen["croupier.decision", ("home", "b", "policy")] == (1.0, [])
    assert seen["croupier.allocation.age", ()] == (3.0, [])
    assert reading(meter) == seen


@pytest.mark.parametrize("instrument", [REQUEST_DURATION, FEEDBACK_DELAY])
def test_a_bucket_holds_its_upper_bound(instrument: Instrument) -> None:
    """As in Prometheus: what equals a bound lies in its bucket, what is above the last in one more."""
    meter = Meter()
    labels = ("x",) * len(instrument.labels)
    for bound in instrument.buckets:
        meter.add(instrument, labels, bound)
    meter.add(instrument, labels, instrument.buckets[-1] * 2)
    total, counts = reading(meter)[instrument.name, labels]
    assert counts == [1] * (len(instrument.buckets) + 1)
    assert total == pytest.approx(sum(instrument.buckets) + instrument.buckets[-1] * 2)


def test_nothing_is_lost_between_threads() -> None:
    """Four threads note while a fifth reads: every measurement is counted once."""
    meter = Meter()

    def note() -> None:
        for _ in range(5_000):
            meter.add(LEARNER_PASS, (), 1.0)

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        reading(meter)
    assert reading(meter)[LEARNER_PASS.name, ()][0] == 20_000


def test_label_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the most label sets of an instrument further ones are counted as one, and none is lost."""
    monkeypatch.setattr("monitoring.meter._MOST_SERIES", 3)
    meter = Meter()
    for arm in range(10):
        meter.add(DECISIONS, ("home", str(arm), "policy"))
    seen = reading(meter)
    assert len(seen) == 4
    assert seen["croupier.decision", (OVERFLOW,) * 3][0] == 7


def test_what_must_be_looked_up_is_asked_before_each_reading() -> None:
    """`ask` is for values that nobody reports."""
    meter, ages = Meter(), iter((1.0, 2.0))
    meter.ask(lambda: meter.add(ALLOCATION_AGE, (), next(ages)))
    assert [reading(meter)[ALLOCATION_AGE.name, ()][0] for _ in range(2)] == [1.0, 2.0]


def test_a_meter_that_is_off_notes_nothing() -> None:
    """Without sinks nothing piles up."""
    meter = Meter(enabled=False)
    meter.add(DECISIONS, ("home", "a", "policy"))
    assert reading(meter) == {}


def test_instruments_are_told_apart() -> None:
    """Names are unique, only histograms have buckets, theirs ascend, and each has a meaning."""
    assert len({i.name for i in INSTRUMENTS}) == len(INSTRUMENTS) > 15
    for i in INSTRUMENTS:
        assert bool(i.buckets) == (i.kind == "histogram")
        assert list(i.buckets) == sorted(set(i.buckets))
        assert i.help.endswith(".")
