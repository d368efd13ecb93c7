"""One pass: a closed window against its reference, feature by feature. Loads scipy: not for web workers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import sqlalchemy as sa

from app.data_watch.features import CONTEXT, REWARD, SCORE, Rows
from app.data_watch.rewards import watch_rewards
from app.data_watch.sample import Row, Sample
from app.store.drift_results import DATASET, DriftResult
from monitoring.columns import Column, Windows
from monitoring.drift import DriftReport, DriftRules, FeatureDrift, detect_drift, features
from monitoring.histograms import histogram

__all__ = ["drift_pass"]

Columns = dict[str, Column]
Pair = tuple[Sequence[Row], Sequence[Row]]


def drift_pass(connection: sa.Connection, sample: Sample) -> list[DriftResult]:
    """What became of each feature in a closed window; the first result stands for the pass.

    Features are the scalars of contexts, the mean score of each active arm's lists, and each active arm's rewards: of
    the window that had become final by the end of this one.
    """
    reference, current = _columns(sample)
    report = detect_drift(reference, current)
    pairs = features(reference, current)
    tested = [_result(sample, found, pairs[found.feature]) for found in report.features]
    return [_dataset(sample, report), *tested, *watch_rewards(connection, sample)]


def _columns(sample: Sample) -> tuple[Columns, Columns]:
    """All features of both windows."""
    pairs = [_contexts(sample)]
    pairs += [
        _of_arm(sample, SCORE + arm, _of(sample.contexts, arm), lambda row: row.score) for arm in _scoring(sample)
    ]
    pairs += [_of_arm(sample, REWARD + arm, _of(sample.exposures, arm), sample.reward_of) for arm in sample.arms]
    return {k: v for first, _ in pairs for k, v in first.items()}, {k: v for _, now in pairs for k, v in now.items()}


def _contexts(sample: Sample) -> tuple[Columns, Columns]:
    first, now = (
        {CONTEXT + name: grouped.column([row.context.get(name) for row in rows]) for name in sample.names}
        for grouped, rows in ((_rows(sample, rows), rows) for rows in sample.contexts)
    )
    return first, now


def _of_arm(sample: Sample, feature: str, pair: Pair, value: Callable[[Row], float | None]) -> tuple[Columns, Columns]:
    """A figure of an arm's rows; nothing where one of the windows has none."""
    with_value = [[row for row in rows if value(row) is not None] for rows in pair]
    if not all(with_value):
        return {}, {}
    first, now = ({feature: _rows(sample, rows).column([value(row) for row in rows])} for rows in with_value)
    return first, now


def _of(pair: Pair, arm: str) -> Pair:
    first, now = ([row for row in rows if row.arm == arm] for rows in pair)
    return first, now


def _scoring(sample: Sample) -> list[str]:
    """Arms whose scores should stay as they are. Those that count rewards have others all the time."""
    steady = {arm.key for arm in sample.experiment.specification.arms if arm.recommender.reward_half_life_s is None}
    return [arm for arm in sample.arms if arm in steady]


def _rows(sample: Sample, rows: Sequence[Row]) -> Rows:
    return Rows([row.unit for row in rows], [row.piece for row in rows], seed=int(sample.window.start.timestamp()))


def _result(sample: Sample, found: FeatureDrift, windows: Windows) -> DriftResult:
    since, until = (sample.reward_window if found.feature.startswith(REWARD) else sample.window).reference
    if found.feature.startswith((REWARD, SCORE)) and windows.numeric:  # whose direction is the mean's, however few
        found = replace(found, moved="mean", change=float(windows.current.mean() - windows.reference.mean()))
    return DriftResult(
        experiment=sample.experiment.key,
        window_start=sample.window.start,
        window_s=sample.window.widths.window_s,
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
        histogram=histogram(windows),
    )


def _dataset(sample: Sample, report: DriftReport) -> DriftResult:
    """The pass itself: of the features of the context, the share that drifted."""
    rules = DriftRules()
    drifted = [found.drifted for found in report.features if found.feature.startswith(CONTEXT)]
    share = sum(drifted) / len(drifted) if drifted else None
    since, until = sample.window.reference
    return DriftResult(
        experiment=sample.experiment.key,
        window_start=sample.window.start,
        window_s=sample.window.widths.window_s,
        feature=DATASET,
        test="share",
        reference_start=since,
        reference_end=until,
        kind="dataset",
        n=min(len({row.unit for row in rows}) for rows in sample.contexts),
        value=share,
        threshold=rules.dataset_share,
        drifted=share is not None and share >= rules.dataset_share,
    )


def _finite(value: float) -> float:
    """What a distance from a constant is, infinite, as a number that JSON has."""
    return min(value, 1e9)
