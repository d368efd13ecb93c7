"""What the metrics of quality cost over a million lists, and whether cost grows with the lists and nothing else.

Run with `python -m benchmarks.quality`; LISTS sets how many. All metrics at k = 10 over lists of 10 items. With
EVIDENTLY_PYTHON, the interpreter of an environment with evidently and pandas 2, Evidently runs beside it; without, its
seconds of an earlier run are compared with. Ends with exit code 1 when a bar is missed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.results import save
from monitoring import beyond_accuracy, ranking
from monitoring.lists import FloatArray, ItemSets
from monitoring.popularity import Popularity

LISTS: Final = int(os.environ.get("LISTS", "1000000"))
K: Final = 10
N_ITEMS: Final = 10_000
N_DIMENSIONS: Final = 16
HISTORY: Final = 20
RELEVANT: Final = 5
ROUNDS: Final = 3

GROWTH_BAR: Final = 12.0  # ten times as many lists
MEMORY_BAR_MB: Final = 100.0  # at once, beside the lists and sets themselves
FACTOR_BAR: Final = 20.0

# Seconds that Evidently 0.7.23 took for 5,000 lists of 10, measured beforehand.
EVIDENTLY_S: Final = {"average_precision": 0.27, "ndcg": 0.86, "intra_list_diversity": 1.3, "serendipity": 1.2}
EVIDENTLY_LISTS: Final = 5_000
EVIDENTLY_PYTHON: Final = os.environ.get("EVIDENTLY_PYTHON")


@dataclass(frozen=True, eq=False)
class Data:
    """Lists and all that they are judged by."""

    lists: npt.NDArray[np.int32]
    relevant: ItemSets
    history: ItemSets
    popularity: Popularity
    vectors: FloatArray


def data(n_lists: int) -> Data:
    """Lists of Zipf-popular items, some short, with 5 relevant items and a history of 20 each."""
    rng = np.random.default_rng(20261124)
    lists = _items(rng, (n_lists, K)).astype(np.int32)
    lists[np.arange(K) >= rng.integers(1, 3 * K, n_lists)[:, None]] = -1
    history = _sets(rng, n_lists, HISTORY)
    return Data(
        lists=lists,
        relevant=_sets(rng, n_lists, RELEVANT),
        history=history,
        popularity=Popularity.of(history, n_items=N_ITEMS),
        vectors=rng.normal(size=(N_ITEMS, N_DIMENSIONS)),
    )


def _items(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    return np.minimum(N_ITEMS ** rng.random(shape), N_ITEMS - 1).astype(np.int64)


def _sets(rng: np.random.Generator, n_lists: int, size: int) -> ItemSets:
    items = _items(rng, (n_lists, size))
    return ItemSets.from_pairs(np.repeat(np.arange(n_lists), size), items.ravel(), n_sets=n_lists)


def metrics(of: Data) -> dict[str, Callable[[], object]]:
    """Every metric of both modules, ready to be called."""
    lists, relevant = of.lists, of.relevant
    return {
        **{name: _judged(getattr(ranking, name), of) for name in ranking.__all__},
        "novelty": lambda: beyond_accuracy.novelty(lists, of.popularity, K),
        "intra_list_diversity": lambda: beyond_accuracy.intra_list_diversity(lists, of.vectors, K),
        "serendipity": lambda: beyond_accuracy.serendipity(lists, relevant, of.history, of.vectors, K),
        "coverage": lambda: beyond_accuracy.coverage(lists, K, n_items=N_ITEMS),
        "personalization": lambda: beyond_accuracy.personalization(lists, K, n_items=N_ITEMS),
        "popularity_bias": lambda: beyond_accuracy.popularity_bias(lists, of.popularity, K),
        "list_health": lambda: beyond_accuracy.list_health(lists, K, n_items=N_ITEMS),
        "cold_share": lambda: beyond_accuracy.cold_share(of.history, of.popularity),
    }


def _judged(metric: Callable[..., object], of: Data) -> Callable[[], object]:
    return lambda: metric(of.lists, of.relevant, K, n_items=N_ITEMS)


def seconds(of: Data, rounds: int = ROUNDS) -> dict[str, float]:
    """Least CPU seconds of each metric over the rounds: what a busy machine adds is no cost of ours."""
    return {name: min(_seconds(metric) for _ in range(rounds)) for name, metric in metrics(of).items()}


def peaks_mb(of: Data) -> dict[str, float]:
    """Most memory that each metric takes at once beside its input, in MB."""
    return {name: _peak_mb(metric) for name, metric in metrics(of).items()}


def _seconds(action: Callable[[], object]) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def _peak_mb(action: Callable[[], object]) -> float:
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def run(n_lists: int) -> dict[str, Any]:
    """Measure everything.

    Returns:
        `metrics`: by name seconds, MB, and growth from a tenth of the lists; `evidently`: factors; `failures`.
    """
    large, small = data(n_lists), data(n_lists // 10)
    many, few, memory = seconds(large), seconds(small), peaks_mb(large)
    compared = data(EVIDENTLY_LISTS)
    ours, theirs = seconds(compared), _evidently_seconds(compared)
    result = {
        "lists": n_lists,
        "metrics": {name: {"s": many[name], "mb": memory[name], "growth": many[name] / few[name]} for name in many},
        "total_s": sum(many.values()),
        "total_growth": sum(many.values()) / sum(few.values()),
        "evidently": {
            name: {"ours_s": ours[name], "theirs_s": theirs[name], "factor": theirs[name] / ours[name]}
            for name in EVIDENTLY_S
        },
    }
    return result | {"failures": _failures(result)}


def _evidently_seconds(of: Data) -> Mapping[str, float]:
    """CPU seconds of Evidently for the same lists."""
    if EVIDENTLY_PYTHON is None:
        return EVIDENTLY_S
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lists.npz"
        np.savez(path, lists=of.lists, relevant=_padded(of.relevant), history=_padded(of.history), vectors=of.vectors)
        script = Path(__file__).with_name("evidently_lists.py")
        done = subprocess.run([EVIDENTLY_PYTHON, script, path], stdout=subprocess.PIPE, check=True)
    found: Mapping[str, float] = json.loads(done.stdout)
    return found


def _padded(sets: ItemSets) -> npt.NDArray[np.int64]:
    width = np.arange(sets.sizes.max())
    padded = np.full((len(sets), width.size), -1)
    padded[width < sets.sizes[:, None]] = sets.items
    return padded


def _failures(result: Mapping[str, Any]) -> list[str]:
    failures = []
    if result["total_growth"] > GROWTH_BAR:
        failures.append(f"ten times the lists take {result['total_growth']:.1f} times as long")
    for name, figures in result["metrics"].items():
        if figures["mb"] > MEMORY_BAR_MB:
            failures.append(f"{name} takes {figures['mb']:.0f} MB at once")
    for name, figures in result["evidently"].items():
        if figures["factor"] < FACTOR_BAR:
            failures.append(f"{name} is only {figures['factor']:.0f} times as fast as Evidently's")
    return failures


def main() -> int:
    """Print the tables; the exit code."""
    result = run(LISTS)
    save("quality", result)
    print(f"{LISTS:,} lists of {K}, {N_ITEMS:,} items, vectors of {N_DIMENSIONS}, histories of {HISTORY}")
    print(f"{'metric':24} {'CPU s':>8} {'MB':>6} {'÷ a tenth':>10}")
    for name, figures in result["metrics"].items():
        print(f"{name:24} {figures['s']:8.2f} {figures['mb']:6.0f} {figures['growth']:9.1f}×")
    print(f"{'all':24} {result['total_s']:8.2f} {'':6} {result['total_growth']:9.1f}×")
    _print_evidently(result["evidently"])
    print(f"bars: growth ≤ {GROWTH_BAR:g}×, memory ≤ {MEMORY_BAR_MB:g} MB at once, ≥ {FACTOR_BAR:g}× Evidently")
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if not result["failures"]:
        print("passed")
    return 1 if result["failures"] else 0


def _print_evidently(factors: Mapping[str, Mapping[str, float]]) -> None:
    if EVIDENTLY_PYTHON is None:
        print("Evidently was not run (EVIDENTLY_PYTHON is not set); its seconds were measured beforehand.")
    print(f"{EVIDENTLY_LISTS:,} lists           {'ours, s':>10} {'Evidently, s':>13} {'factor':>8}")
    for name, figures in factors.items():
        print(f"{name:20} {figures['ours_s']:11.4f} {figures['theirs_s']:13.2f} {figures['factor']:7.0f}×")


if __name__ == "__main__":
    sys.exit(main())
