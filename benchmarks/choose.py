"""What a choice costs beside drawing from posteriors, and what exact probabilities cost the learner.

Run with `python -m benchmarks.choose`. All methods take turns within one run, so a busy machine slows all of
them; figures are medians. Ends with exit code 1 when a bar is missed.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from bandits.beta import BetaPosterior
from bandits.selection import StickyRace, cumulative, uniform_choice
from bandits.winning import probability_best
from benchmarks.results import save

ARMS: Final = (2, 10, 100, 1000)
ROUNDS: Final = 31
CHOICES: Final = 1000  # uniform choices per round
STICKY_CHOICES: Final = 50
DRAWS: Final = 20

UNIFORM_BAR_US: Final = 1.0
PROBABILITY_BEST_BARS_MS: Final = {10: 5.0, 1000: 100.0}
ERROR_BAR: Final = 1e-8


def posteriors(n_arms: int) -> dict[str, BetaPosterior]:
    """Posteriors to integrate, from the usual to the hard: by name, `n_arms` arms each."""
    rng = np.random.default_rng(20261124)
    n = rng.integers(500, 10_000, n_arms).astype(np.float64)
    rate = np.clip(rng.normal(0.05, 0.01, n_arms), 0.001, 1)
    mixed = 10 ** rng.uniform(0, 7, n_arms)
    noise = np.clip(0.05 + 0.2 * rng.normal(size=n_arms) / np.sqrt(mixed), 0, 1)
    flat = np.full(n_arms, 1e6)
    flat[0] = 1.0
    shift = rng.normal(0, 500, n_arms)
    shapes = 10 ** rng.uniform(-1, 8, (2, n_arms))
    return {
        "usual": BetaPosterior(1 + n * rate, 1 + n * (1 - rate)),
        "mixed certainty": BetaPosterior(0.1 + mixed * noise, 0.1 + mixed * (1 - noise)),
        "one flat beside tight": BetaPosterior(flat + shift * (flat > 1), flat),
        "U-shaped": BetaPosterior(rng.uniform(0.1, 1, n_arms), rng.uniform(0.1, 1, n_arms)),
        "any shape": BetaPosterior(shapes[0], shapes[1]),
    }


def _seconds(repetitions: int, action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) / repetitions


def _choices(n_arms: int) -> dict[str, Callable[[], float]]:
    """Measurements by name, one round each, of the seconds that a choice among `n_arms` arms takes."""
    posterior = posteriors(n_arms)["usual"]
    probabilities = probability_best(posterior)
    sums = cumulative(probabilities)
    race = StickyRace.of(
        salt=b"salt", experiment="home", arms=[str(arm) for arm in range(n_arms)], probabilities=probabilities
    )
    rng = np.random.default_rng(1)
    numbers = rng.random(CHOICES).tolist()
    units = [f"user-{unit}" for unit in range(STICKY_CHOICES)]
    alpha, beta = posterior.alpha, posterior.beta
    return {
        "uniform": lambda: _seconds(CHOICES, lambda: [uniform_choice(sums, u) for u in numbers]),
        "sticky": lambda: _seconds(STICKY_CHOICES, lambda: [race.choose(unit) for unit in units]),
        "draw": lambda: _seconds(DRAWS, lambda: [int(rng.beta(alpha, beta).argmax()) for _ in range(DRAWS)]),
    }


def _integrations(n_arms: int) -> dict[str, Callable[[], float]]:
    """Measurements, by name of the posterior, of P(best) in seconds."""

    def measure(posterior: BetaPosterior) -> float:
        # A new posterior each time: what it caches is part of the cost.
        fresh = BetaPosterior(posterior.alpha, posterior.beta)
        return _seconds(1, lambda: probability_best(fresh))

    return {
        name: lambda posterior=posterior: measure(posterior)  # type: ignore[misc]
        for name, posterior in posteriors(n_arms).items()
    }


def _error(n_arms: int) -> float:
    """Largest difference of any probability, over all posteriors, from panels half as wide."""
    return max(
        float(np.abs(probability_best(posterior) - probability_best(posterior, resolution=2)).max())
        for posterior in posteriors(n_arms).values()
    )


def run() -> dict[str, Any]:
    """Measure everything.

    Returns:
        `arms`: for each number of arms µs per choice, ms per P(best) and its error; `failures`: missed bars.
    """
    measurements = {
        (n_arms, group, name): measure
        for n_arms in ARMS
        for group, measures in (("choice", _choices(n_arms)), ("best", _integrations(n_arms)))
        for name, measure in measures.items()
    }
    rounds = [{key: measure() for key, measure in measurements.items()} for _ in range(ROUNDS)]
    medians = {key: statistics.median(each[key] for each in rounds) for key in measurements}
    arms = {n_arms: _figures(n_arms, medians) for n_arms in ARMS}
    return {
        "arms": {str(n_arms): figures for n_arms, figures in arms.items()},
        "failures": [failure for n_arms, figures in arms.items() for failure in _failures(n_arms, figures)],
    }


def _figures(n_arms: int, medians: Mapping[tuple[int, str, str], float]) -> dict[str, Any]:
    uniform, sticky, draw = (medians[n_arms, "choice", name] * 1e6 for name in ("uniform", "sticky", "draw"))
    best = {name: medians[n_arms, "best", name] * 1e3 for name in posteriors(n_arms)}
    return {
        "uniform_us": uniform,
        "sticky_us": sticky,
        "draw_us": draw,
        "draw_over_uniform": draw / uniform,
        "draw_over_sticky": draw / sticky,
        "probability_best_ms": best,
        "probability_best_worst_ms": max(best.values()),
        "probability_best_error": _error(n_arms),
    }


def _failures(n_arms: int, figures: Mapping[str, Any]) -> list[str]:
    bars = (
        ("uniform_us", UNIFORM_BAR_US),
        ("probability_best_worst_ms", PROBABILITY_BEST_BARS_MS.get(n_arms, float("inf"))),
        ("probability_best_error", ERROR_BAR),
    )
    return [
        f"{name} at {n_arms} arms is {figures[name]:.3g}, above {bar:g}"
        for name, bar in bars
        if not figures[name] <= bar
    ]


def main() -> int:
    """Print the table; the exit code."""
    result = run()
    save("choose", result)
    print("                 µs per choice              draw over        P(best), ms      error against")
    print("  arms   uniform    sticky      draw   uniform   sticky    usual   hardest   double resolution")
    for n_arms, figures in result["arms"].items():
        print(
            f"{n_arms:>6}  {figures['uniform_us']:8.3f}  {figures['sticky_us']:8.1f}"
            f"  {figures['draw_us']:8.1f}  {figures['draw_over_uniform']:7.0f}×"
            f"  {figures['draw_over_sticky']:6.2f}×  {figures['probability_best_ms']['usual']:7.2f}"
            f"  {figures['probability_best_worst_ms']:8.2f}   {figures['probability_best_error']:.1e}"
        )
    limits = ", ".join(f"{bar:g} ms at {n_arms} arms" for n_arms, bar in PROBABILITY_BEST_BARS_MS.items())
    print(f"bars: uniform ≤ {UNIFORM_BAR_US:g} µs, P(best) ≤ {limits}, error ≤ {ERROR_BAR:g}")
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if not result["failures"]:
        print("passed")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
