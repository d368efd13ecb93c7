"""Histograms of both windows: every value is counted once, however many there are and however far away."""

import numpy as np

from monitoring.columns import Column, Windows
from monitoring.histograms import histogram


def windows(reference: object, current: object) -> Windows:
    """A feature's windows."""
    return Windows.of(Column.of(reference), Column.of(current))  # type: ignore[arg-type]


def test_numbers_fall_into_twenty_bins_with_their_tails() -> None:
    """Outliers widen no bin: they are in the last one."""
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=1000), np.append(rng.normal(1, 1, 499), 1e9)
    found = histogram(windows(reference, current))
    assert len(found["edges"]) == 21
    assert found["edges"][-1] < 10
    assert (sum(found["reference"]), sum(found["current"])) == (1000, 500)
    inner = (reference >= found["edges"][5]) & (reference < found["edges"][6])
    assert found["reference"][5] == inner.sum()


def test_categories_are_counted_by_name_and_the_rest_together() -> None:
    """The most frequent first."""
    words = [f"w{number:02}" for number in range(30) for _ in range(30 - number)]
    found = histogram(windows(words, ["w00", "w29", "new"]))
    assert found["labels"][:2] == ["w00", "w01"]
    assert (len(found["labels"]), found["labels"][-1]) == (20, "(rare)")
    assert (sum(found["reference"]), sum(found["current"])) == (len(words), 3)
    assert (found["reference"][0], found["current"][0], found["current"][-1]) == (30, 1, 2)


def test_nothing_is_drawn_of_nothing() -> None:
    """A window without values has no histogram."""
    assert histogram(windows([None], [1.0])) == {}
