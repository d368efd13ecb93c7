"""Contexts become columns whose values are as good as independent."""

import numpy as np

from app.data_watch.features import Rows, flat, frequent
from monitoring.two_sample import kolmogorov_smirnov


def test_a_reference_of_few_units_that_come_again_gives_no_false_alarms() -> None:
    """40 units in each of 20 stretches against 300 others of the same kind: at most 18 of 60 tests say drift.

    With 7 % each, more have P < 1e-6; taken as 800 independent rows they would say it in more than half of all.
    """
    rng, found = np.random.default_rng(1), 0
    for seed in range(60):
        of_unit = rng.normal(size=40)
        units, pieces = [str(at % 40) for at in range(800)], [at // 40 - 20 for at in range(800)]
        reference = Rows(units, pieces, seed=seed).column([of_unit[int(unit)] for unit in units])
        current = Rows([f"new-{at}" for at in range(300)], [0] * 300, seed=seed).column(rng.normal(size=300).tolist())
        assert len(current) == 300
        found += kolmogorov_smirnov(reference.known, current.known) < 0.05
    assert found <= 18


def test_contexts_are_flattened_and_bounded() -> None:
    """Nested scalars by their path; lists, names too long and leaves beyond 200 are left out, long words are cut."""
    assert flat({"a": {"b": 1, "c": [1]}, "d": None, "x" * 101: 1}) == {"a.b": 1, "d": None}
    assert len(flat({str(number): number for number in range(300)})) == 200
    assert flat({"word": "w" * 100, "huge": 10**400}) == {"word": "w" * 64, "huge": str(10**400)[:64]}
    assert frequent([{"b": 1, "a": 1}, {"b": 1, "c": 1}], most=2) == ["a", "b"]
