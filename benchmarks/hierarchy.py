"""How often the intervals of rank correlations hold the truth, and how often verdicts on proxies are wrong.

Run with `python -m benchmarks.hierarchy`; DATASETS sets how many of each. Ends with exit code 1 when a proxy that says
nothing is trusted or said to contradict more often than the intervals' 2.5 % by more than chance explains.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.results import save
from monitoring.hierarchy import Association, Verdict, by_cells, by_units, compare_arms, judge

DATASETS: Final = int(os.environ.get("DATASETS", "400"))
BAR: Final = 0.025
ERRORS: Final = 3.0  # Monte-Carlo standard errors that a rate may lie above the bar

Floats = npt.NDArray[np.float64]
Sample = Callable[[np.random.Generator, int], Association]  # of a size: units, or days


def units(rng: np.random.Generator, n: int, *, tie: float = 0.3) -> Association:
    """Units that come often or seldom; a proxy in a tenth of the decisions, the business metric mostly after it."""
    visits = rng.geometric(0.3, n)
    proxy = rng.binomial(visits, 0.1)
    business = rng.binomial(proxy, tie) + rng.binomial(visits, 0.03)
    return by_units(proxy.astype(np.float64), business.astype(np.float64), visits, rng)


def _arms_and_days(
    rng: np.random.Generator, n_arms: int, n_days: int, effect: float, scale: float
) -> tuple[Floats, Floats]:
    """Proxy and business metric by arm and day: arms differ by up to `scale` deviations, and days move all of them."""
    arms, day = np.linspace(-scale, scale, n_arms)[:, None], rng.normal(0, 2, n_days)
    shape = (n_arms, n_days)
    return effect * arms + day + rng.normal(size=shape), arms + day + rng.normal(size=shape)


def days(n_arms: int, effect: float) -> Sample:
    """A sample of days of so many arms."""
    return lambda rng, n: by_cells(*_arms_and_days(rng, n_arms, n, effect, 1.0), rng)


SAMPLES: Final[Mapping[str, tuple[Sample, tuple[int, ...], int]]] = {
    "units, related": (units, (300, 3_000), 400_000),
    "units, unrelated": (lambda rng, n: units(rng, n, tie=0.0), (300, 3_000), 400_000),
    "2 arms, related": (days(2, 1.0), (10, 14, 28), 20_000),
    "2 arms, unrelated": (days(2, 0.0), (10, 14, 28), 20_000),
    "4 arms, related": (days(4, 1.0), (10, 14, 28), 20_000),
    "4 arms, unrelated": (days(4, 0.0), (10, 14, 28), 20_000),
}


def coverage(sample: Sample, n: int, of_truth: int, rng: np.random.Generator) -> tuple[float, float]:
    """How often plain and adjusted intervals hold what a huge sample has; one without an interval holds nothing."""
    huge, held = sample(rng, of_truth), np.zeros(2)
    for _ in range(DATASETS):
        found = sample(rng, n)
        for at, (one, truth) in enumerate(((found.plain, huge.plain), (found.adjusted, huge.adjusted))):
            if one.interval is not None and truth.rho is not None:
                held[at] += one.interval[0] <= truth.rho <= one.interval[1]
    plain, adjusted = held / DATASETS
    return float(plain), float(adjusted)


def verdict(rng: np.random.Generator, effect: float, tie: float) -> Verdict:
    """On a proxy after 14 days of four arms and 2,000 units."""
    proxy, business = _arms_and_days(rng, 4, 14, effect, 3.0)
    orders = compare_arms("abcd", proxy.mean(axis=1), business.mean(axis=1))
    return judge(units(rng, 2_000, tie=tie), by_cells(proxy, business, rng), orders)


def main() -> int:
    """Prints the tables; the exit code."""
    rng = np.random.default_rng(1)
    figures: dict[str, float] = {}
    print(f"{'held the truth, of 95 %':24} {'n':>6} {'plain':>8} {'adjusted':>9}")
    for name, (sample, sizes, of_truth) in SAMPLES.items():
        for n in sizes:
            plain, adjusted = coverage(sample, n, of_truth, rng)
            figures |= {f"{name}, {n}, plain": plain, f"{name}, {n}, adjusted": adjusted}
            print(f"{name:24} {n:6} {plain:8.1%} {adjusted:9.1%}")
    for name, effect, tie in (("unrelated", 0.0, 0.0), ("good", 1.0, 0.5), ("contradicting", -1.0, 0.5)):
        words = Counter(verdict(rng, effect, tie).word for _ in range(DATASETS))
        figures |= {f"{name}: {word}": count / DATASETS for word, count in words.items()}
        print(f"{name:14}", *(f"{word} {count / DATASETS:.1%}" for word, count in words.most_common()))
    began = time.perf_counter()
    units(rng, 10_000)
    figures["seconds for 10,000 units"] = time.perf_counter() - began
    print(f"an edge over 10,000 units: {figures['seconds for 10,000 units']:.2f} s")
    save("hierarchy", figures)
    most = BAR + ERRORS * math.sqrt(BAR * (1 - BAR) / DATASETS)
    return int(max(figures.get(f"unrelated: {word}", 0) for word in ("trust", "contradicts")) > most)


if __name__ == "__main__":
    sys.exit(main())
