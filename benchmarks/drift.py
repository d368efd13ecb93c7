"""How often drift is found where there is none, and how often where there is some.

Run with `python -m benchmarks.drift`; PASSES sets how many of each size. A pass compares two windows of 20 features,
none of which changed: it is a false alarm when any of them, or of their missing values, is said to have drifted. Beside
it stands what the same tests and thresholds say without the adjustment for many features, and by distance alone. Ends
with exit code 1 when false alarms exceed 5 % by more than chance explains.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.results import save
from monitoring.drift import DriftReport, detect_drift

PASSES: Final = int(os.environ.get("PASSES", "1000"))
SIZES: Final = ((100, 100), (2_000, 100), (300, 300), (900, 900), (1_000, 1_000), (10_000, 1_000), (10_000, 10_000))
BAR: Final = 0.05
ERRORS: Final = 3.0  # Monte-Carlo standard errors that a rate may lie above the bar
POWER_BAR: Final = 0.95  # of each shift, where both windows have 900 rows or more

Values = npt.NDArray[Any]
Feature = Callable[[np.random.Generator, int], Values]


def _words(shares: npt.ArrayLike) -> Feature:
    probabilities = np.asarray(shares, dtype=np.float64)
    labels = np.array([f"word-{at}" for at in range(probabilities.size)])
    return lambda rng, rows: labels[rng.choice(labels.size, rows, p=probabilities / probabilities.sum())]


def _flag(share: float) -> Feature:
    return lambda rng, rows: (rng.random(rows) < share).astype(np.float64)


def _with_missing(rng: np.random.Generator, rows: int) -> Values:
    return np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))


QUIET: Final[Mapping[str, Feature]] = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "normal, a tenth missing": _with_missing,
    "uniform": lambda rng, rows: rng.random(rows),
    "exponential": lambda rng, rows: rng.exponential(size=rows),
    "lognormal": lambda rng, rows: rng.lognormal(0, 1, rows),
    "lognormal, wide": lambda rng, rows: rng.lognormal(0, 2, rows),
    "Student's t, 2 degrees": lambda rng, rows: rng.standard_t(2, rows),
    "score, two decimals": lambda rng, rows: rng.beta(2, 5, rows).round(2),
    "count": lambda rng, rows: rng.poisson(4, rows),
    "sparse, 95 % zeros": lambda rng, rows: np.where(rng.random(rows) < 0.95, 0, rng.lognormal(0, 1, rows)),
    "stars": lambda rng, rows: rng.choice(5, rows, p=[0.05, 0.05, 0.15, 0.35, 0.4]),
    "flag, 50 %": _flag(0.5),
    "flag, 10 %": _flag(0.1),
    "flag, 1 %": _flag(0.01),
    "flag, 0.1 %": _flag(0.001),
    "3 categories": _words([5, 3, 2]),
    "10 categories": _words(np.ones(10)),
    "50 categories": _words(np.ones(50)),
    "50 categories, Zipf": _words(1 / np.arange(1, 51)),
    "1,000 categories, Zipf": _words(1 / np.arange(1, 1001)),
}
SHIFTED: Final[Mapping[str, Feature]] = {
    "normal": lambda rng, rows: rng.normal(0.3, 1, rows),  # by 0.3 standard deviations
    "lognormal": lambda rng, rows: 1.4 * rng.lognormal(0, 1, rows),
    "score, two decimals": lambda rng, rows: rng.beta(2.8, 5, rows).round(2),
    "flag, 10 %": _flag(0.25),
    "3 categories": _words([3.2, 4.8, 2]),
}


def false_alarms(reference_rows: int, current_rows: int, passes: int) -> dict[str, Any]:
    """Shares of quiet passes with any drift, by three rules, the error of the first, and milliseconds a pass."""
    rng = np.random.default_rng([2026, reference_rows, current_rows])
    begin = time.perf_counter()
    reports = [_report(rng, reference_rows, current_rows, QUIET) for _ in range(passes)]
    return {
        "rate": float(np.mean([any(each.drifted for each in report.features) for report in reports])),
        "error": math.sqrt(BAR * (1 - BAR) / passes),
        "features_alone": float(np.mean([any(map(_alone, report.features)) for report in reports])),
        "dataset": float(np.mean([report.drifted for report in reports])),
        "ms": (time.perf_counter() - begin) / passes * 1e3,
    }


def power(reference_rows: int, current_rows: int, passes: int) -> dict[str, float]:
    """Share of passes in which each of the shifted features is found, among the quiet ones."""
    rng = np.random.default_rng([2027, reference_rows, current_rows])
    found = dict.fromkeys(SHIFTED, 0)
    for _ in range(passes):
        for each in _report(rng, reference_rows, current_rows, {**QUIET, **SHIFTED}).features:
            if each.drifted and each.feature in SHIFTED:
                found[each.feature] += 1
    return {name: count / passes for name, count in found.items()}


def _report(rng: np.random.Generator, reference: int, current: int, now: Mapping[str, Feature]) -> DriftReport:
    return detect_drift(
        {name: feature(rng, reference) for name, feature in QUIET.items()},
        {name: now[name](rng, current) for name in QUIET},
    )


def _alone(each: Any) -> bool:  # noqa: ANN401  # a FeatureDrift
    """What is said of a feature by its own p, or by its distance, as other tools do."""
    below = each.test not in {"wasserstein", "jensen_shannon"}
    return bool(each.value < each.threshold if below else each.value >= each.threshold)


def run(passes: int) -> dict[str, Any]:
    """Measure all sizes.

    Returns:
        `sizes`: by "reference × current" the rates and powers; `failures`: missed bars.
    """
    sizes = {
        f"{reference:,} × {current:,}": false_alarms(reference, current, passes)
        | {"power": power(reference, current, max(1, passes // 10)), "n": min(reference, current)}
        for reference, current in SIZES
    }
    return {"passes": passes, "sizes": sizes, "failures": [*_failures(sizes)]}


def _failures(sizes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    failures = []
    for size, figures in sizes.items():
        if figures["rate"] > BAR + ERRORS * figures["error"]:
            failures.append(f"{figures['rate']:.1%} of quiet passes of {size} rows are false alarms")
        least = min(figures["power"].values())
        if figures["n"] >= 900 and least < POWER_BAR:
            failures.append(f"a shift is found in only {least:.0%} of passes of {size} rows")
    return failures


def main() -> int:
    """Print the table; the exit code."""
    result = run(PASSES)
    save("drift", result)
    print(f"false alarms in {PASSES:,} quiet passes over {len(QUIET)} features, and power over {PASSES // 10} passes")
    print("rows, ref. × current   false alarms  features alone  data set  ms/pass    " + "  ".join(SHIFTED))
    for size, figures in result["sizes"].items():
        powers = "  ".join(f"{share:{len(name)}.0%}" for name, share in figures["power"].items())
        print(
            f"{size:21} {figures['rate']:6.1%} ± {figures['error']:.1%} {figures['features_alone']:15.1%}"
            f" {figures['dataset']:9.1%} {figures['ms']:8.0f}    {powers}"
        )
    print(f"bars: false alarms ≤ {BAR:.0%} (+ {ERRORS:g} errors), power ≥ {POWER_BAR:.0%} from 900 rows on")
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if not result["failures"]:
        print("passed")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
