"""An experiment over time: shares, reward rates and lifts by arm, and what was changed meanwhile; all bounded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from app.errors import NotFound
from app.inference import infer
from app.learning import last_mature_bucket
from app.specification import Reward
from app.store import experiments, timeline
from app.store.database import Database
from app.store.experiments import Experiment
from app.store.inference import EpochSums
from app.store.timeline import ArmStep, Steps

__all__ = [
    "RANGES",
    "Series",
    "events",
    "lift_over_time",
    "range_for",
    "rates_over_time",
    "shares_over_time",
    "steps_of",
]

# Name → how far back, and the width of a step; at most 100 steps each.
RANGES: Final[Mapping[str, tuple[timedelta, timedelta]]] = {
    "10m": (timedelta(minutes=10), timedelta(seconds=10)),
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "6h": (timedelta(hours=6), timedelta(minutes=5)),
    "24h": (timedelta(hours=24), timedelta(minutes=15)),
    "7d": (timedelta(days=7), timedelta(hours=2)),
    "30d": (timedelta(days=30), timedelta(hours=12)),
    "90d": (timedelta(days=90), timedelta(days=1)),
}
_MOST_EVENTS: Final = 100
_LOOKS: Final = 20  # of the lift, which is worked out anew at each
_BAND: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class Series:
    """One arm's figures at the times of a chart; None where there is none."""

    arm: str
    values: Sequence[float | None]
    lower: Sequence[float | None] = ()
    upper: Sequence[float | None] = ()


def range_for(experiment: Experiment, now: datetime) -> str:
    """The shortest range that shows all of a young experiment, a week of an old one."""
    age = now - experiment.created_at
    return next((name for name, (reach, _) in RANGES.items() if age <= reach or name == "7d"), "7d")


def steps_of(name: str, now: datetime) -> Steps:
    """The steps of a range that ends now; they begin on whole multiples of their width."""
    reach, width = RANGES[name]
    seconds = width.total_seconds()
    since = datetime.fromtimestamp((now - reach).timestamp() // seconds * seconds, UTC)
    return Steps(since=since, until=now, width_s=seconds)


def shares_over_time(
    database: Database, key: str, steps: Steps, arms: Sequence[str]
) -> tuple[list[float], list[Series]]:
    """Times in seconds since 1970, and the propensity of each arm in the allocation then in force."""
    with database.transaction() as connection:
        rows = timeline.allocation_steps(connection, key, steps)
    if not rows:
        return [], []
    times = [max(row["created_at"], steps.since).timestamp() for row in rows] + [steps.until.timestamp()]
    rows = [*rows, rows[-1]]  # still in force
    return times, [Series(arm=arm, values=[row["probabilities"].get(arm, 0.0) for row in rows]) for arm in arms]


def rates_over_time(
    database: Database, key: str, steps: Steps, arms: Sequence[str], now: datetime
) -> tuple[list[float], list[Series]]:
    """Times, and each arm's mean reward of each step's exposures alone, with a normal 95 % interval.

    Of `missing: default` only what is mature counts, so a step's rate does not rise while its clicks come in.
    """
    experiment, found = _read(database, key, steps)
    reward = experiment.specification.reward
    last = _last_step(experiment, steps, now)
    cells: dict[tuple[str, int], tuple[float, float, float]] = {}
    for row in found:
        if row.step <= last:
            sums = np.add(cells.get((row.arm, row.step), (0, 0, 0)), _sums(reward, row))
            cells[row.arm, row.step] = tuple(sums.tolist())
    present = sorted({step for _, step in cells})
    times = [steps.since.timestamp() + step * steps.width_s for step in present]
    return times, [_rates(arm, [cells.get((arm, step), (0.0, 0.0, 0.0)) for step in present]) for arm in arms]


def lift_over_time(
    database: Database,
    key: str,
    steps: Steps,
    arms: Sequence[str],
    *,
    now: datetime,
    aside: Callable[[Callable[[], Any]], Any] = lambda compute: compute(),
) -> tuple[list[float], list[Series]]:
    """Times, and what each arm earned more than the control in the present epoch up to then, with honest intervals.

    It is worked out anew at each time: `aside` does that so that it does not hold up requests.
    """
    whole = _whole(steps)
    experiment, found = _read(database, key, whole)
    shown = [row for row in found if row.epoch == experiment.epoch and not row.repeated]
    last = _last_step(experiment, whole, now)
    first = round((steps.since - whole.since).total_seconds() / steps.width_s) - 1
    present = sorted({row.step for row in shown if first <= row.step <= last})
    looks = present[:: -(-len(present) // _LOOKS)] if present else []
    points = aside(lambda: [_lifts(experiment, [row for row in shown if row.step <= step], arms) for step in looks])
    times = [whole.since.timestamp() + (step + 1) * whole.width_s for step in looks]
    return times, [
        Series(arm=arm, **{name: [point[name][j] for point in points] for name in ("values", "lower", "upper")})
        for j, arm in enumerate(arms)
        if arm != experiment.specification.control_arm
    ]


def events(database: Database, key: str, steps: Steps) -> list[dict[str, Any]]:
    """Changes of the configuration and flips of alerts, the oldest first: `at`, `kind` and `text`."""
    with database.transaction() as connection:
        changed = timeline.changes(connection, key, steps, most=_MOST_EVENTS)
        flipped = timeline.flips(connection, key, steps, most=_MOST_EVENTS)
    found = [{"at": row["at"], "kind": "change", "text": f"{row['action']} by {row['actor']}"} for row in changed]
    found += [
        {"at": row["at"], "kind": row["after"], "text": f"{row['rule']} {row['after']}", "alert": row["alert"]}
        for row in flipped
    ]
    return sorted(found, key=lambda event: event["at"])


def _read(database: Database, key: str, steps: Steps) -> tuple[Experiment, list[ArmStep]]:
    with database.transaction(snapshot=True) as connection:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise NotFound(f"There is no experiment {key!r}")
        return experiment, timeline.arm_steps(connection, key, experiment.specification.reward.metric, steps)


def _whole(steps: Steps) -> Steps:
    """The same steps from the beginning on: the lift is of all outcomes, whichever part of it is shown."""
    longest = max(reach for reach, _ in RANGES.values())
    count = int(longest.total_seconds() // steps.width_s)
    return replace(steps, since=steps.since - timedelta(seconds=count * steps.width_s))


def _last_step(experiment: Experiment, steps: Steps, now: datetime) -> int:
    """The last step that has mature exposures."""
    explicit = experiment.specification.reward.missing == "explicit"
    end = now if explicit else last_mature_bucket(experiment.specification, now)
    return int((end - steps.since).total_seconds() // steps.width_s) - (0 if explicit else 1)


def _sums(reward: Reward, row: ArmStep) -> tuple[float, float, float]:
    """Count, sum and sum of squares of the outcomes that count."""
    if reward.missing == "explicit":
        return row.n, row.sum, row.sum_of_squares
    silent = row.exposures - row.n
    return row.exposures, row.sum + silent * reward.default, row.sum_of_squares + silent * reward.default**2


def _rates(arm: str, cells: Sequence[tuple[float, float, float]]) -> Series:
    means = [total / n if n > 0 else None for n, total, _ in cells]
    factor = NormalDist().inv_cdf((1 + _BAND) / 2)
    margins = [
        None if mean is None else factor * sqrt(max(squares / n - mean**2, 0) / n)
        for mean, (n, _, squares) in zip(means, cells, strict=True)
    ]
    pairs = list(zip(means, margins, strict=True))
    lower = [None if mean is None or margin is None else mean - margin for mean, margin in pairs]
    upper = [None if mean is None or margin is None else mean + margin for mean, margin in pairs]
    return Series(arm=arm, values=means, lower=lower, upper=upper)


def _lifts(experiment: Experiment, rows: Sequence[ArmStep], arms: Sequence[str]) -> dict[str, list[float | None]]:
    """The lifts by what had been counted when these rows were all."""
    control = experiment.specification.control_arm
    wanted = dict.fromkeys((*arms, control))
    sums = [_epoch_sums(experiment, arm, [row for row in rows if row.arm == arm]) for arm in wanted]
    found = infer(experiment, list(arms), sums, level=_BAND)
    figures = {"values": found.lift_mean, "lower": found.lift_honest.lower, "upper": found.lift_honest.upper}
    return {name: [float(x) if np.isfinite(x) else None for x in vector] for name, vector in figures.items()}


def _epoch_sums(experiment: Experiment, arm: str, rows: Sequence[ArmStep]) -> EpochSums:
    """As the honest lift needs them: it rests on outcomes alone, not on scores."""
    exposures = float(sum(row.exposures for row in rows))
    nothing = dict.fromkeys(("eligible", "score", "score_squares", "paired", "contrast", "contrast_squares"), 0.0)
    return EpochSums(
        epoch=experiment.epoch,
        arm=arm,
        is_current=True,
        control=experiment.specification.control_arm,
        chosen=exposures,
        expected=max(exposures, 1.0),
        variance=0.0,
        exposures=exposures,
        observed=float(sum(row.n for row in rows)),
        sum=sum(row.sum for row in rows),
        sum_of_squares=sum(row.sum_of_squares for row in rows),
        **nothing,
    )
