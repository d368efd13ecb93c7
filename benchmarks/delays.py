"""Does a policy learn the right rates when clicks come late? The feedback contract, simulated.

Run with `python -m benchmarks.delays`; `RUNS` experiments, 1,000 by default. Clicks come with exponential delays
whose mean is a third of the attribution window, so 5 % miss it. Two equal arms are allocated by Thompson sampling
on what is learned. The truth is whether an exposure is *ever* clicked. Compared are four ways to count:

- contract: mature exposures only, silence counts as 0, a later click corrects it;
- uncorrected: the same, but a click after the window is ignored;
- immediate: each exposure counts as 0 until its click comes;
- eager: each click counts when it comes, silence after the window: clicks are known sooner than their absence.

The bias is a learned rate minus the share ever clicked of all exposures that are counted (for eager: of all), by
arm, in standard errors of that share. So what adaptive allocation does to sample means is not in it; that bias, of
the share ever clicked against the rate itself, which perfect feedback would have too, is shown as "adaptivity".
The contract's bias at any time is that of the clicks still missing from exposures that have just matured: those of
W/60 time units, with a window W. It vanishes as exposures grow, and is 0 once `late_until` has passed for all.
Ends with exit code 1 when the contract's is 0.1 standard errors or more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bandits.statistics import FloatArray
from benchmarks.adaptive import BATCH, World, thompson
from benchmarks.results import save

RATE: Final = 0.1
ARMS: Final = 2
BATCHES: Final = 200  # of 100 decisions, each one unit of time
WINDOW: Final = 10
LATE_UNTIL: Final = 60
READINGS: Final = (20, 50, 100, 200, BATCHES + LATE_UNTIL + 1)
JUDGED_FROM: Final = 50  # before, few exposures have been mature for long
BAR: Final = 0.1

_RUNS: Final = int(os.environ.get("RUNS", "1000"))

IntArray = npt.NDArray[np.int64]


@dataclass
class _Sums:
    """Exposures, counted clicks, and exposures among them that are ever clicked; shape (runs, n_arms)."""

    n: FloatArray
    clicks: FloatArray
    ever: FloatArray

    @classmethod
    def zeros(cls, runs: int) -> _Sums:
        return cls(*np.zeros((3, runs, ARMS)))

    def add(self, n: IntArray, clicks: IntArray, ever: IntArray) -> None:
        self.n, self.clicks, self.ever = self.n + n, self.clicks + clicks, self.ever + ever


@dataclass
class _Ledgers:
    """What each way of counting has counted."""

    contract: _Sums
    uncorrected: _Sums
    immediate: _Sums
    early: FloatArray  # clicks that have come from exposures that are not mature


def readings(runs: int, rng: np.random.Generator) -> Iterator[tuple[int, dict[str, FloatArray]]]:
    """Time and, by way of counting, the biases of all arms in standard errors, shape (runs, n_arms)."""
    world = World(rates=np.full((runs, ARMS), RATE), floor=0.1)
    # The last axis is age: clicks still to come, clicks of the cohort in all, exposures of the cohort.
    pending, clicked, exposed = (np.zeros((runs, ARMS, LATE_UNTIL + 1), dtype=np.int64) for _ in range(3))
    arrival = 1 - np.exp(-3 / WINDOW)  # within one unit of time, whatever the age
    ledgers = _Ledgers(
        contract=_Sums.zeros(runs),
        uncorrected=_Sums.zeros(runs),
        immediate=_Sums.zeros(runs),
        early=np.zeros((runs, ARMS)),
    )
    for now in range(1, max(READINGS) + 1):
        arrived = rng.binomial(pending, arrival)
        pending -= arrived
        _age(pending, clicked, exposed)
        # What has arrived since the last batch, by the age reached now; beyond `late_until` it is refused.
        arrived = np.roll(arrived, 1, axis=2)
        arrived[:, :, 0] = 0
        if now <= BATCHES:
            propensities = thompson(world, ledgers.contract.n, ledgers.contract.clicks, rng)
            exposed[:, :, 0] = rng.multinomial(BATCH, propensities)
            clicked[:, :, 0] = pending[:, :, 0] = rng.binomial(exposed[:, :, 0], RATE)
        _count(ledgers, pending, clicked, exposed, arrived)
        if now in READINGS:
            yield now, _biases(ledgers)


def _age(*cohorts: IntArray) -> None:
    for cohort in cohorts:
        cohort[:, :, 1:] = cohort[:, :, :-1].copy()
        cohort[:, :, 0] = 0


def _count(ledgers: _Ledgers, pending: IntArray, clicked: IntArray, exposed: IntArray, arrived: IntArray) -> None:
    """Count what became mature, and what arrived."""
    n, ever = exposed[:, :, WINDOW], clicked[:, :, WINDOW]
    in_time = ever - pending[:, :, WINDOW]
    ledgers.contract.add(n, in_time + arrived[:, :, WINDOW + 1 :].sum(axis=2), ever)
    ledgers.uncorrected.add(n, in_time, ever)
    ledgers.immediate.add(exposed[:, :, 0], arrived.sum(axis=2), clicked[:, :, 0])
    ledgers.early = (clicked - pending)[:, :, :WINDOW].sum(axis=2).astype(np.float64)


def _biases(ledgers: _Ledgers) -> dict[str, FloatArray]:
    eager = _Sums(ledgers.contract.n + ledgers.early, ledgers.immediate.clicks, ledgers.immediate.ever)
    every = ledgers.immediate.ever / ledgers.immediate.n
    truths = {
        "contract": (ledgers.contract, ledgers.contract.ever / ledgers.contract.n),
        "uncorrected": (ledgers.uncorrected, ledgers.uncorrected.ever / ledgers.uncorrected.n),
        "immediate": (ledgers.immediate, every),
        "eager": (eager, every),
    }
    biases = {name: (sums.clicks / sums.n - truth) / _error(sums.n) for name, (sums, truth) in truths.items()}
    mature = ledgers.contract
    return biases | {"adaptivity": (mature.ever / mature.n - RATE) / _error(mature.n)}


def _error(n: FloatArray) -> FloatArray:
    """Standard error of a rate."""
    error: FloatArray = np.sqrt(RATE * (1 - RATE) / n)
    return error


def run(runs: int = _RUNS) -> dict[str, Any]:
    """Simulate.

    Returns:
        `readings`: for each time the mean bias by way of counting, of the arm where it is larger, and its
        standard error; `failures`: missed bars.
    """
    table: list[dict[str, Any]] = []
    for now, biases in readings(runs, np.random.default_rng(20261124)):
        means = {name: bias.mean(axis=0) for name, bias in biases.items()}
        worst = {name: float(mean[np.abs(mean).argmax()]) for name, mean in means.items()}
        errors = {name: float(bias.std(axis=0).max()) / np.sqrt(runs) for name, bias in biases.items()}
        table.append({"time": now, "bias": worst, "error": errors})
    failures = [
        f"the contract's rate is off by {each['bias']['contract']:.3f} standard errors at time {each['time']}"
        for each in table
        if each["time"] >= JUDGED_FROM and not abs(each["bias"]["contract"]) < BAR
    ]
    return {"runs": runs, "window": WINDOW, "late_until": LATE_UNTIL, "readings": table, "failures": failures}


def main() -> int:
    """Print the table; the exit code."""
    result = run()
    save("delays", result)
    names = list(result["readings"][0]["bias"])
    print(f"{result['runs']} experiments, {BATCH} decisions a unit of time until {BATCHES}, window {WINDOW}")
    print("mean bias in standard errors (± its own standard error)")
    print("  time" + "".join(f"{name:>18}" for name in names))
    for each in result["readings"]:
        cells = (f"{each['bias'][name]:+9.3f} ± {each['error'][name]:.3f}" for name in names)
        print(f"{each['time']:>6}" + "".join(f"{cell:>18}" for cell in cells))
    print(
        f"bar: |bias| of the contract < {BAR} from time {JUDGED_FROM}; at the last time late_until has passed for all"
    )
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if not result["failures"]:
        print("passed")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
