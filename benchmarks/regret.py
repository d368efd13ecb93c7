"""What policies lose against always dealing the best arm, dealt from allocations as the service does.

Run with `python -m benchmarks.regret`; with `--http` also against a real service. Ten arms with rates 0.10, 0.09 …
0.01; 100,000 decisions, a new allocation after every 100. Every policy meets the same rewards: the n-th pull of an arm
gives each of them the same. The bar: Thompson sampling from allocations loses at most 5 % more than Thompson sampling
as in a textbook, which draws from the posteriors for each decision and learns at once.

SEEDS (200) and HORIZON (100,000) in the environment make it shorter. Nearly all of its time, minutes on two cores, is
P(best): a millisecond for each allocation of each seed.

Over HTTP 5,000 decisions are dealt in each of ten experiments, a batch of 100 from each allocation; the next one is
waited for. The service plays the same game when its probabilities are those of `bandits.policy.allocate` for the same
outcomes, and when the experiments' mean regret is within the 99 % range of what they lose in process, on the same
rewards.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from app.replay.bulk import batches
from bandits.policy import AnyPolicy
from bandits.simulation import RewardTables, deal_by_allocations, deal_by_draws, regret, uniform_regret
from bandits.statistics import FloatArray
from benchmarks.lockstep import Lockstep
from benchmarks.results import save
from benchmarks.servers import croupier

RATES: Final = np.arange(10, 0, -1) / 100
EVERY: Final = 100  # decisions from one allocation to the next
CHUNK: Final = 20  # seeds that one task simulates
BAR: Final = 1.05
RESAMPLES: Final = 10_000

# The two that are compared have no floor and no warm-up, as in the textbook.
PLAIN: Final = {"min_propensity": 0, "warm_up": 0}
IMMEDIATE: Final = "Thompson sampling, a draw per decision"
BATCHED: Final = "Thompson sampling from allocations"
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    BATCHED: {"kind": "thompson_sampling", **PLAIN},
    "  with the default floor": {"kind": "thompson_sampling", "warm_up": 0},
    "  with the default warm-up": {"kind": "thompson_sampling", "min_propensity": 0},
    "  with both: the service's default": {"kind": "thompson_sampling"},
    "top-two, β = ½": {"kind": "top_two", **PLAIN},
    "KL-UCB": {"kind": "ucb", "variant": "kl_ucb", **PLAIN},
    "UCB1": {"kind": "ucb", "variant": "ucb1", **PLAIN},
    "ε-greedy, ε = 0.1": {"kind": "epsilon_greedy", "epsilon": 0.1, **PLAIN},
    "ε-greedy, ε = min(1, 5K/(0.1² t))": {"kind": "epsilon_greedy", "epsilon": {"c": 5, "d": 0.1}, **PLAIN},
    "softmax, τ = 0.01": {"kind": "softmax", "temperature": 0.01, **PLAIN},
    "uniform": {"kind": "fixed", "probabilities": {str(arm): 1 / RATES.size for arm in range(RATES.size)}},
}

HTTP_HORIZON: Final = 5000
HTTP_EXPERIMENTS: Final = 10
HTTP_PLAYS: Final = 40  # in process, of the same experiments
T_QUANTILE: Final = 2.708  # 99.5 % of Student's t with 39 degrees of freedom
LARGEST_DIFFERENCE: Final = 1e-9


@dataclass(frozen=True)
class Task:
    """Some seeds of one policy."""

    name: str
    chunk: int
    seeds: int
    horizon: int


def run_task(task: Task) -> FloatArray:
    """The regret of each seed; rewards depend on the chunk alone."""
    rng = np.random.default_rng([1, task.chunk])
    tables = RewardTables.of_rates(RATES, runs=task.seeds, horizon=task.horizon, rng=rng)
    dealing = np.random.default_rng([2, task.chunk, zlib.crc32(task.name.encode())])
    if task.name == IMMEDIATE:
        return regret(deal_by_draws(tables, rng=dealing), RATES)
    policy = msgspec.convert(POLICIES[task.name], AnyPolicy)
    return regret(deal_by_allocations(policy, tables, every=EVERY, rng=dealing)[:, -1], RATES)


def simulate(names: Sequence[str], seeds: int, horizon: int) -> dict[str, FloatArray]:
    """Regret of each seed, by name; all cores work."""
    sizes = batches(seeds, CHUNK)
    tasks = [Task(name, chunk, size, horizon) for name in names for chunk, size in enumerate(sizes)]
    with Pool(os.cpu_count()) as pool:
        regrets = pool.map(run_task, tasks, chunksize=1)
    chunks = len(sizes)
    return {name: np.concatenate(regrets[i * chunks : (i + 1) * chunks]) for i, name in enumerate(names)}


def ratio_interval(numerator: FloatArray, denominator: FloatArray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the ratio of the means of paired values: their percentile bootstrap (Efron, 1979)."""
    chosen = rng.integers(numerator.size, size=(RESAMPLES, numerator.size))
    ratios = numerator[chosen].mean(axis=1) / denominator[chosen].mean(axis=1)
    lower, upper = np.quantile(ratios, (0.025, 0.975))
    return float(lower), float(upper)


def rows(regrets: Mapping[str, FloatArray], horizon: int) -> dict[str, dict[str, float]]:
    """The figures of each policy, by name; ratios are to the textbook's, on the same seeds."""
    rng = np.random.default_rng(3)
    textbook = regrets[IMMEDIATE]
    figures = {}
    for name, values in regrets.items():
        lower, upper = ratio_interval(values, textbook, rng)
        figures[name] = {
            "seeds": values.size,
            "regret": float(values.mean()),
            "standard_error": float(values.std(ddof=1) / np.sqrt(values.size)),
            "ratio": float(values.mean() / textbook.mean()),
            "ratio_lower": lower,
            "ratio_upper": upper,
            "of_uniform": float(values.mean()) / uniform_regret(RATES, horizon),
        }
    return figures


def http_tables() -> RewardTables:
    """The rewards of the experiments over HTTP."""
    return RewardTables.of_rates(RATES, runs=HTTP_EXPERIMENTS, horizon=HTTP_HORIZON, rng=np.random.default_rng(4))


def play_again(seed: int) -> float:
    """Mean regret of the same experiments with the same rewards, dealt in process."""
    policy = msgspec.convert(POLICIES[BATCHED], AnyPolicy)
    course = deal_by_allocations(policy, http_tables(), every=EVERY, rng=np.random.default_rng([5, seed]))
    return float(regret(course[:, -1], RATES).mean())


def over_http() -> dict[str, Any]:
    """Regrets of experiments dealt by a real service, and what the same experiments lose in process."""
    policy = msgspec.convert(POLICIES[BATCHED], AnyPolicy)
    with tempfile.TemporaryDirectory(prefix="croupier-bench-") as folder, croupier(Path(folder)) as (url, key):
        game = Lockstep(url, key, policy, http_tables())
        game.play(every=EVERY)
        game.close()
    with Pool(os.cpu_count()) as pool:
        in_process = np.array(pool.map(play_again, range(HTTP_PLAYS)))
    reach = T_QUANTILE * float(in_process.std(ddof=1)) * np.sqrt(1 + 1 / HTTP_PLAYS)
    return {
        "regrets": regret(game.pulls, RATES).tolist(),
        "mean": float(regret(game.pulls, RATES).mean()),
        "mean_in_process": float(in_process.mean()),
        "range": [float(in_process.mean() - reach), float(in_process.mean() + reach)],
        "largest_difference_of_a_probability": game.largest_difference,
        "largest_excess": float(np.abs(game.excess).max()),
        "stale": game.stale,
    }


def http_failures(figures: Mapping[str, Any]) -> list[str]:
    """Prints the comparison; what is not the same game."""
    lower, upper = figures["range"]
    print(
        f"\nover HTTP, {HTTP_EXPERIMENTS} experiments of {HTTP_HORIZON:,} decisions: mean regret {figures['mean']:.1f};"
        f" in process, on the same rewards, {figures['mean_in_process']:.1f}, 99 % range {lower:.1f} to {upper:.1f}\n"
        f"largest difference of a probability from allocate(): {figures['largest_difference_of_a_probability']:.1e}; "
        f"of a count from its probabilities: {figures['largest_excess']:.1f} standard deviations; "
        f"{figures['stale']} decisions were from an older allocation"
    )
    failures = []
    if not lower <= figures["mean"] <= upper:
        failures.append(f"the mean regret over HTTP, {figures['mean']:.1f}, is outside the range")
    if not figures["largest_difference_of_a_probability"] <= LARGEST_DIFFERENCE:
        failures.append("the service's probabilities differ from allocate()'s")
    return failures


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; the exit code."""
    seeds, horizon = int(os.environ.get("SEEDS", "200")), int(os.environ.get("HORIZON", "100000"))
    figures = rows(simulate((IMMEDIATE, *POLICIES), seeds, horizon), horizon)
    print(f"{f'{horizon:,} decisions':38} {'seeds':>5} {'regret':>8} {'± s.e.':>7} {'ratio':>7}  95 % interval")
    for name, row in figures.items():
        print(
            f"{name:38} {row['seeds']:5} {row['regret']:8.1f} {row['standard_error']:7.1f} {row['ratio']:7.3f}"
            f"  {row['ratio_lower']:.3f} to {row['ratio_upper']:.3f}"
        )
    ratio = figures[BATCHED]["ratio"]
    failures = [f"the ratio {ratio:.3f} is above {BAR}"] if not ratio <= BAR else []
    http = over_http() if "--http" in arguments else None
    save("regret", {"horizon": horizon, "policies": figures, "http": http})
    failures += http_failures(http) if http else []
    print(f"bar: Thompson sampling from allocations ≤ {BAR} × the textbook's")
    print("\n".join(f"FAILED: {failure}" for failure in failures) or "passed")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
