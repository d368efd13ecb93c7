"""Real headline tests of upworthy.com, 2013 to 2015: the headlines, how often each was shown, and how often clicked.

Viewers were assigned at random within a test, so each test is a bandit problem with real arms. Source:
data/upworthy/README.md.
"""

import csv
import gzip
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from app.errors import ConfigurationError
from bandits.simulation import RewardTables
from bandits.statistics import FloatArray
from bandits.thompson import ThompsonSampling

__all__ = ["DATA", "WINDOW_S", "Draw", "HeadlineTest", "policy", "read_tests", "specification"]

DATA = Path(__file__).parents[2] / "data" / "upworthy"
WINDOW_S = 1.0  # the shortest that the service takes: clicks come at once here, and hours pass in seconds

Draw = Literal["rate", "counts"]


class HeadlineTest(msgspec.Struct, frozen=True):
    """One test; the three tuples have an entry per arm. Arms may share a headline and differ in their image."""

    test_id: str
    headlines: tuple[str, ...]
    impressions: tuple[int, ...]
    clicks: tuple[int, ...]

    @property
    def experiment(self) -> str:
        """Key of its experiment."""
        return f"upworthy-{self.test_id}"

    @property
    def rates(self) -> FloatArray:
        """Clicks per impression of each arm, shape (n_arms,): in a replay, the true rates."""
        rates: FloatArray = np.array(self.clicks) / np.array(self.impressions)
        return rates

    def rewards(self, draw: Draw, *, horizon: int, seed: int) -> RewardTables:
        """What each viewer would do, drawn from the arms' rates, or from their counts without replacement."""
        rng = np.random.default_rng([seed, int(self.test_id, 16)])
        if draw == "counts":
            return RewardTables.of_counts(self.clicks, self.impressions, horizon=horizon, rng=rng)
        return RewardTables.of_rates(self.rates, runs=1, horizon=horizon, rng=rng)


def read_tests(test_ids: Iterable[str] = (), folder: Path = DATA) -> list[HeadlineTest]:
    """These tests of the archive; none named: the twenty of bench_tests.csv, which a rule chose, not their results.

    Raises:
        ConfigurationError: a file is missing, or there is no such test.
    """
    try:
        with (folder / "bench_tests.csv").open(newline="") as file:
            wanted = list(test_ids) or [row["test_id"] for row in csv.DictReader(file)]
        with gzip.open(folder / "packages.csv.gz", "rt", newline="", encoding="utf-8") as file:
            found = _by_test(csv.DictReader(file), frozenset(wanted))
    except FileNotFoundError as missing:
        raise ConfigurationError(
            f"{missing.filename} is missing: the replay needs the folder data/upworthy of Croupier's repository"
        ) from missing
    for test_id in wanted:
        if test_id not in found:
            raise ConfigurationError(f"There is no test {test_id!r}; data/upworthy/bench_tests.csv lists twenty")
    return [_test(test_id, found[test_id]) for test_id in wanted]


def policy() -> ThompsonSampling:
    """The service's default policy, with its floor and its warm-up: what someone gets who sets nothing."""
    return ThompsonSampling()


def specification(test: HeadlineTest) -> dict[str, Any]:
    """The body of PUT /v1/experiments/{key}: a headline is the payload of its arm."""
    arms = [
        {"key": str(arm), "recommender": {"kind": "payload", "value": headline}}
        for arm, headline in enumerate(test.headlines)
    ]
    return {
        "state": "running",
        "arms": arms,
        "policy": msgspec.to_builtins(policy()),
        "reward": {"metric": "click", "missing": "default", "window_s": WINDOW_S},
    }


def _by_test(rows: Iterable[Mapping[str, str]], wanted: frozenset[str]) -> dict[str, list[Mapping[str, str]]]:
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        if row["test_id"] in wanted:
            found.setdefault(row["test_id"], []).append(row)
    return found


def _test(test_id: str, rows: list[Mapping[str, str]]) -> HeadlineTest:
    rows = sorted(rows, key=lambda row: int(row["arm"]))
    return HeadlineTest(
        test_id,
        headlines=tuple(row["headline"] for row in rows),
        impressions=tuple(int(row["impressions"]) for row in rows),
        clicks=tuple(int(row["clicks"]) for row in rows),
    )
