"""Do the intervals hold? Simulated experiments in which nothing is to be found, looked at all the time.

Run with `python -m benchmarks.validity`; `RUNS` experiments for each setting, 1,000 by default. Each figure is the
share of experiments in which an interval excluded the truth at *any* look, one after every 100 of 20,000 decisions,
averaged over arms that nothing tells apart. Bars allow three standard errors of the simulation. Ends with exit
code 1 when a bar is missed.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from bandits.beta import BetaPosterior
from benchmarks.adaptive import BATCH, DECISIONS, World, looks
from benchmarks.peeking import ALPHA, RATIO_ALPHA, ratio_alarm, simulate
from benchmarks.results import save

RATES: Final = (0.01, 0.1, 0.5)
FLOORS: Final = (0.01, 0.1)
ARMS: Final = (2, 3)
SEASONS: Final = (0.0, 0.5)
LOSSES: Final = {0.1: 20_000, 0.05: 80_000}  # share of one arm's exposures lost: found by so many decisions
POWER: Final = 0.99
PRIORS: Final = ((1.0, 1.0), (2.0, 38.0))

_RUNS: Final = int(os.environ.get("RUNS", "1000"))
_BARRED: Final = ("honest mean", "honest lift", "robust mean", "robust lift")


def margin(share: float, runs: int) -> float:
    """Three standard errors of a share."""
    return 3 * float(np.sqrt(share * (1 - share) / runs))


def power(n_arms: int, loss: float, decisions: int, runs: int, rng: np.random.Generator) -> float:
    """Share of runs with equal shares in which the loss of `loss` of arm 0's exposures is found in time."""
    p = np.full(n_arms, 1 / n_arms)
    kept = np.where(np.arange(n_arms) == 0, 1 - loss, 1)
    observed = np.zeros((runs, n_arms))
    found = np.zeros(runs, dtype=bool)
    for _ in range(decisions // BATCH):
        observed += rng.binomial(rng.multinomial(BATCH, p, size=runs), kept)
        n = observed.sum(axis=1, keepdims=True)
        found |= ratio_alarm(observed - n * p, n * p * (1 - p), n).any(axis=1)
    return float(found.mean())


def coverage(prior: tuple[float, float], n_arms: int, runs: int, rng: np.random.Generator) -> float:
    """Share of naive 95 % credible intervals, at the end, that contain rates drawn from the prior."""
    world = World(rates=rng.beta(*prior, size=(runs, n_arms)), floor=0.01, prior=prior)
    *_, last = looks(world, rng)
    posterior = BetaPosterior((prior[0] + last.ones).ravel(), (prior[1] + last.n - last.ones).ravel())
    lower, upper = posterior.interval(1 - ALPHA)
    truth = world.rates.ravel()
    return float(((lower <= truth) & (truth <= upper)).mean())


def run(runs: int = _RUNS) -> dict[str, Any]:
    """Simulate everything.

    Returns:
        `settings`: for each what `Experiments.report` says; `power` and `coverage`;
        `failures`: missed bars.
    """
    rng = np.random.default_rng(20261124)
    settings = []
    for n_arms, rate, floor, season in itertools.product(ARMS, RATES, FLOORS, SEASONS):
        experiments = simulate(World(rates=np.full((runs, n_arms), rate), floor=floor, season=season), rng)
        setting = {"arms": n_arms, "rate": rate, "floor": floor, "season": season}
        settings.append(setting | experiments.report())
    found = [
        {"arms": n_arms, "loss": loss, "decisions": decisions, "found": power(n_arms, loss, decisions, runs, rng)}
        for n_arms in ARMS
        for loss, decisions in LOSSES.items()
    ]
    covered = [
        {"arms": n_arms, "prior": prior, "coverage": coverage(prior, n_arms, runs, rng)}
        for n_arms in ARMS
        for prior in PRIORS
    ]
    result = {"runs": runs, "settings": settings, "power": found, "coverage": covered}
    return result | {"failures": _failures(result)}


def _failures(result: Mapping[str, Any]) -> list[str]:
    runs = result["runs"]
    failures = []
    for setting in result["settings"]:
        where = "{arms} arms, rate {rate}, floor {floor}, season {season}".format(**setting)
        # Honest intervals assume constant rates: with a season they are shown, not judged.
        judged = [name for name in _BARRED if not (setting["season"] and name.startswith("honest"))]
        bars = dict.fromkeys(judged, ALPHA) | {"sample ratio": RATIO_ALPHA}
        failures += [
            f"{name} is wrong in {setting['wrong'][name]:.2%} of runs with {where}"
            for name, bar in bars.items()
            if not setting["wrong"][name] <= bar + margin(bar, runs)
        ]
    failures += [
        "a loss of {loss:.0%} with {arms} arms is found in {found:.2%} of runs by {decisions} decisions".format(**each)
        for each in result["power"]
        if not each["found"] >= POWER - margin(POWER, runs)
    ]
    failures += [
        "credible intervals cover {coverage:.2%} with {arms} arms and prior {prior}".format(**each)
        for each in result["coverage"]
        if not abs(each["coverage"] - (1 - ALPHA)) <= margin(ALPHA, runs)
    ]
    return failures


def _print_settings(settings: list[dict[str, Any]]) -> None:
    names = [f"{kind} {figure}" for figure in ("mean", "lift") for kind in ("naive", "honest", "robust")]
    print(f"{'ever wrong, % of intervals':>53} {'half-width at the end':>44} {'robust':>19}")
    print(f"{'mean':>31} {'lift':>21} {'sample':>22} {'mean':>6} {'lift':>23} {'lifts':>14}")
    heads = ("  naive honest robust" * 2, "   ratio", "   naive  honest  robust" * 2, "   given")
    print("arms rate floor season  " + "".join(heads))
    for setting in settings:
        wrong, widths = setting["wrong"], setting["half_widths"]
        print(
            "{arms:>4} {rate:<4} {floor:<5} {season:>6.0%}  ".format(**setting)
            + " ".join(f"{wrong[name]:6.1%}" for name in names)
            + f"  {wrong['sample ratio']:6.1%}"
            + "".join("       –" if widths[name] is None else f"  {widths[name]:.4f}" for name in names)
            + f"  {setting['robust_lifts_given']:6.0%}"
        )


def main() -> int:
    """Print the tables; the exit code."""
    result = run()
    save("validity", result)
    print(f"{result['runs']} experiments a setting, {DECISIONS} decisions, a look after every {BATCH}")
    _print_settings(result["settings"])
    for each in result["power"]:
        print("{arms} arms, {loss:.0%} of one's exposures lost: found by {decisions} in {found:.1%}".format(**each))
    for each in result["coverage"]:
        print("{arms} arms, rates drawn from Beta{prior}: naive intervals cover {coverage:.1%}".format(**each))
    print(
        f"bars, ± three standard errors: wrong ≤ {ALPHA:.0%}, sample ratio ≤ {RATIO_ALPHA:.0%}, found ≥ {POWER:.0%}, "
        f"coverage {1 - ALPHA:.0%}; honest figures are not judged under a season"
    )
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if not result["failures"]:
        print("passed")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
