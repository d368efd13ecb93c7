"""One pass: a closed window against its reference, feature by feature. Loads scipy: not for web workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from app.data_watch.features import CONTEXT, REWARD, SCORE, Rows, context_columns
from app.data_watch.rewards import watch_rewards
from app.data_watch.windows import Window
from app.learning import last_mature_bucket
from app.store import samples
from app.store.drift_results import DATASET, DriftResult
from app.store.experiments import Experiment
from monitoring.columns import Column
from monitoring.drift import DriftReport, DriftRules, FeatureDrift, detect_drift, features
from monitoring.histograms import histogram

__all__ = ["drift_pass"]

_MOST_FEATURES: Final = 50  # of the context
_MOST_ARMS: Final = 50

Columns = Mapping[str, Column]
Pair = tuple[Columns, Columns]  # of the reference and of the current window
Sampled = Sequence[sa.RowMapping]


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """What is the same for all of a pass."""

    connection: sa.Connection
    experiment: Experiment
    window: Window
    arms: tuple[str, ...]


def drift_pass(connection: sa.Connection, experiment: Experiment, window: Window) -> list[DriftResult]:
    """What became of each feature in a closed window; the first result stands for the pass.

    Features are the scalars of contexts, the mean score of each active arm's lists, and each active arm's rewards: of
    the window that had become final by the end of this one.
    """
    active = [arm.key for arm in experiment.specification.arms if arm.state == "active"]
    this = _Pass(connection=connection, experiment=experiment, window=window, arms=tuple(active[:_MOST_ARMS]))
    contexts = [_read_contexts(this, sampling) for sampling in _plan(this, window)]
    reward_window = window.earlier(_until_final(experiment))
    rewards = [_read_rewards(this, sampling) for sampling in _plan(this, reward_window)]
    pairs = (_contexts(this, *contexts), _scores(this, *contexts), _rewards(this, *rewards))
    reference, current = ({name: column for pair in pairs for name, column in pair[at].items()} for at in (0, 1))
    report = detect_drift(reference, current)
    drawn = {name: histogram(windows) for name, windows in features(reference, current).items()}
    tested = [_result(this, found, drawn[found.feature]) for found in report.features]
    sequential = watch_rewards(connection, experiment, window, rewards, this.arms)
    return [_dataset(this, report, len({row["unit"] for row in contexts[1]})), *tested, *sequential]


def _plan(this: _Pass, window: Window) -> tuple[samples.Sampling, samples.Sampling]:
    return samples.plan(this.connection, this.experiment.key, window.reference, window.current)


def _read_contexts(this: _Pass, sampling: samples.Sampling) -> Sampled:
    return samples.contexts(this.connection, this.experiment.key, sampling)


def _read_rewards(this: _Pass, sampling: samples.Sampling) -> Sampled:
    reward = this.experiment.specification.reward
    default = reward.default if reward.missing == "default" else None
    return samples.rewards(this.connection, this.experiment.key, sampling, metric=reward.metric, default=default)


def _until_final(experiment: Experiment) -> timedelta:
    """How long after an exposure its outcome is final."""
    now = experiment.created_at
    return now - last_mature_bucket(experiment.specification, now)


def _contexts(this: _Pass, reference: Sampled, current: Sampled) -> Pair:
    first, second = ((_rows(this, rows), [row["context"] for row in rows]) for rows in (reference, current))
    return context_columns(first, second, most=_MOST_FEATURES)


def _scores(this: _Pass, reference: Sampled, current: Sampled) -> Pair:
    own = ([row for row in rows if row["is_current"] and row["score"] is not None] for rows in (reference, current))
    return _by_arm(this, SCORE, "score", *own)


def _rewards(this: _Pass, reference: Sampled, current: Sampled) -> Pair:
    return _by_arm(this, REWARD, "reward", reference, current)


def _by_arm(this: _Pass, prefix: str, name: str, reference: Sampled, current: Sampled) -> Pair:
    """One feature per arm that has values in both windows."""
    windows = [{arm: [row for row in rows if row["arm"] == arm] for arm in this.arms} for rows in (reference, current)]
    both = [arm for arm in this.arms if all(window[arm] for window in windows)]
    first, second = (
        {prefix + arm: _rows(this, window[arm]).column([row[name] for row in window[arm]]) for arm in both}
        for window in windows
    )
    return first, second


def _rows(this: _Pass, rows: Sampled) -> Rows:
    start, width = this.window.start, this.window.widths.window_s
    pieces = [int((row["decided_at"].timestamp()) // width) for row in rows]
    least = min(pieces, default=0)
    units = [row["unit"] for row in rows]
    return Rows(units, [piece - least for piece in pieces], seed=int(start.timestamp()))


def _result(this: _Pass, found: FeatureDrift, drawn: Mapping[str, Any]) -> DriftResult:
    window = this.window
    if found.feature.startswith(REWARD):
        window = window.earlier(_until_final(this.experiment))
    since, until = window.reference
    return DriftResult(
        experiment=this.experiment.key,
        window_start=this.window.start,
        window_s=this.window.widths.window_s,
        feature=found.feature,
        test=found.test,
        reference_start=since,
        reference_end=until,
        kind=found.kind,
        n=found.n,
        value=_finite(found.value),
        threshold=found.threshold,
        p=found.p_value,
        p_adjusted=found.p_adjusted,
        direction=found.direction,
        moved=found.moved,
        change=found.change,
        drifted=found.drifted,
        histogram=drawn,
    )


def _dataset(this: _Pass, report: DriftReport, units: int) -> DriftResult:
    """The pass itself: of the features of the context, the share that drifted."""
    rules = DriftRules()
    drifted = [found.drifted for found in report.features if found.feature.startswith(CONTEXT)]
    share = sum(drifted) / len(drifted) if drifted else None
    since, until = this.window.reference
    return DriftResult(
        experiment=this.experiment.key,
        window_start=this.window.start,
        window_s=this.window.widths.window_s,
        feature=DATASET,
        test="share",
        reference_start=since,
        reference_end=until,
        kind="dataset",
        n=units,
        value=share,
        threshold=rules.dataset_share,
        drifted=share is not None and share >= rules.dataset_share,
    )


def _finite(value: float) -> float:
    """What a distance from a constant is, infinite, as a number that JSON has."""
    return min(value, 1e9)
