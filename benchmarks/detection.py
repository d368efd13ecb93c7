"""Which alert each injected fault sets off, how soon, and whether any other fires.

Run with `python -m benchmarks.detection`; SEEDS sets how many worlds. Hours of simulated traffic go in virtual time
through the service's own code (`tests/rehearsing.py`) under the default rules. An alert is a false alarm when it is not
of the fault's, or came before it. Seasons are days of traffic in which nothing is wrong: rewards, or traffic, go up and
down with the hour. Ends with exit code 1 when a fault is not found in time or anything else fires.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import replace

from app.embedded import EmbeddedPostgres
from app.simulation import SCENARIOS, Conditions, Scenario
from app.store.database import Database
from app.store.migrate import migrate
from benchmarks.results import save
from monitoring.alert_rules import DEFAULT_RULES, AnyRule
from tests.rehearsing import Fired, Options, rehearse

SEEDS: Final = int(os.environ.get("SEEDS", "5"))
HOURS: Final = Options(hours=6)
SLOW: Final = Options(hours=8, window_s=1800, step_s=120)  # the attribution window that experiments have by default
DAYS: Final = Options(hours=96, rate=0.35, step_s=300)  # the simulator's waves are then days
# Judged from the second day on: in the first there is no day before to compare with.
# Rewards do drift by the hour, which is what `feature-drift` tells.
SEASON: Final = Scenario(
    name="days",
    fault="nothing",
    signal=None,
    accompanied=frozenset({"feature-drift"}),
    before=Conditions(reward_swing=0.4),
    starts=0.25,
)
_WITHOUT_SEASON: Final = {"reward-change": replace(DEFAULT_RULES["reward-change"], season_s=0)}


def outcome(scenario: Scenario, runs: Sequence[Sequence[Fired]]) -> dict[str, Any]:
    """What some runs of a scenario came to; times are minutes from the fault to the first firing of its alert."""
    own = {scenario.alert, *scenario.accompanied}
    times = [
        min((each.after_s / 60 for each in fired if each.rule == scenario.alert and each.after_s >= 0), default=None)
        for fired in runs
    ]
    found = [each for each in times if each is not None]
    alarms = Counter(each.rule for fired in runs for each in fired if each.rule not in own or each.after_s < 0)
    if scenario is SEASON:
        alarms = Counter(each.rule for fired in runs for each in fired if each.rule not in own and each.after_s >= 0)
    others = Counter(rule for fired in runs for rule in {each.rule for each in fired} & scenario.accompanied)
    return {
        "alert": scenario.alert,
        "runs": len(runs),
        "first_day": sum(each.after_s < 0 for fired in runs for each in fired) if scenario is SEASON else None,
        "found": len(found),
        "median_min": statistics.median(found) if found else None,
        "worst_min": max(found, default=None),
        "within_min": scenario.within_min,
        "accompanied": dict(others),
        "false_alarms": dict(alarms),
    }


def failures(name: str, figures: Mapping[str, Any]) -> Iterator[str]:
    """The claims that a row of the table does not bear out."""
    if figures["alert"] and figures["found"] < figures["runs"]:
        yield f"{name}: {figures['alert']} fired in {figures['found']} of {figures['runs']} runs"
    elif figures["alert"] and figures["worst_min"] > figures["within_min"]:
        yield f"{name}: {figures['alert']} took {figures['worst_min']:.0f} min, more than {figures['within_min']:g}"
    if figures["false_alarms"]:
        yield f"{name}: false alarms: {_told(figures['false_alarms'])}"


@contextmanager
def databases(folder: Path) -> Iterator[Callable[[], Database]]:
    """Makes migrated databases on one server."""
    postgres = EmbeddedPostgres(folder)
    url = sa.make_url(postgres.start())
    server = sa.create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> Database:
        name = f"rehearsal_{len(made)}"
        made.append(name)
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        database = Database(url.set(database=name).render_as_string(hide_password=False))
        migrate(database, datetime.now(UTC))
        return database

    try:
        yield make
    finally:
        server.dispose()
        postgres.stop()


def run(seeds: int, make: Callable[[], Database]) -> dict[str, Any]:
    """Play everything.

    Returns:
        `rows`: by name what came of it; `failures`: claims that it does not bear out.
    """
    rows: dict[str, Any] = {}

    def play(name: str, scenario: Scenario, options: Options, runs: int, rules: Mapping[str, AnyRule]) -> None:
        begin = time.perf_counter()
        fired = [_played(make, scenario, seed, options, rules) for seed in range(1, runs + 1)]
        rows[name] = outcome(scenario, fired) | {"hours": options.hours, "s": (time.perf_counter() - begin) / runs}
        print(_row(name, rows[name]), flush=True)

    for name, scenario in SCENARIOS.items():
        play(name, scenario, HOURS, seeds, {})
    for name, within_min in (("quiet", None), ("delayed_feedback", 75.0)):
        scenario = replace(SCENARIOS[name], within_min=within_min)
        play(f"{name}, window 30 min", scenario, SLOW, seeds, {})
    play("four days", SEASON, DAYS, max(1, seeds // 3), {})
    missed = [failure for name, figures in rows.items() for failure in failures(name, figures)]
    play("four days, season_s 0", SEASON, DAYS, max(1, seeds // 3), _WITHOUT_SEASON)  # what comes without: no claim
    return {"seeds": seeds, "rows": rows, "failures": missed}


def _played(
    make: Callable[[], Database], scenario: Scenario, seed: int, options: Options, rules: Mapping[str, AnyRule]
) -> list[Fired]:
    database = make()
    try:
        return rehearse(database, scenario, seed=seed, options=options, rules=rules)
    finally:
        database.close()


def _row(name: str, figures: Mapping[str, Any]) -> str:
    times = "-" if figures["median_min"] is None else f"{figures['median_min']:.0f} / {figures['worst_min']:.0f}"
    found = f"{figures['found']}/{figures['runs']}" if figures["alert"] else f"-/{figures['runs']}"
    return (
        f"{name:30} {figures['alert'] or 'none':24} {found:>6} {times:>13} {figures['within_min'] or '-':>6}"
        f" {sum(figures['false_alarms'].values()):7}  {_told(figures['accompanied'] or figures['false_alarms'])}"
    )


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{rule} {count}×" for rule, count in counts.items())


def main() -> int:
    """Print the table; the exit code."""
    print(f"default rules; {HOURS.hours:g} h of {HOURS.rate:g} decisions/s, the fault halfway; {SEEDS} worlds each")
    print(f"{'scenario':30} {'alert':24} {'found':>6} {'median/worst':>13} {'bar':>6} {'false':>7}  also fired")
    with tempfile.TemporaryDirectory() as folder, databases(Path(folder)) as make:
        result = run(SEEDS, make)
    save("detection", result)
    print("times in minutes after the fault began; the bar is what docs/simulation.md promises")
    for failure in result["failures"]:
        print(f"FAILED: {failure}")
    if not result["failures"]:
        print("passed")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
