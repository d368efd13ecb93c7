"""The quality of a closed window's data, as figures of level `data`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from app.data_watch.sample import Sample
from app.recommenders import Payload
from app.store import data_counts
from app.store.metric_values import MetricValue
from monitoring import data_quality
from monitoring.data_quality import Share

__all__ = ["quality_pass"]

# Events later than so many attribution windows are not looked for.
_ATTRIBUTION_WINDOWS: Final = 4


def quality_pass(connection: sa.Connection, sample: Sample) -> list[MetricValue]:
    """Each figure with its count and denominator; those of one feature are named `<figure>/<feature>`."""
    contexts, events, lists = _of_contexts(sample), _of_events(connection, sample), _of_lists(connection, sample)
    silent = sum(row.outcome is None for row in sample.exposures[1])
    of_exposures = {"silent_share": Share(count=silent, of=len(sample.exposures[1]))}
    shares = {**contexts, **events, **lists, **of_exposures}
    return [_value(sample, name, share) for name, share in shares.items()]


def _of_contexts(sample: Sample) -> dict[str, Share]:
    reference, current = ([row.context for row in rows] for rows in sample.contexts)
    found = {
        "missing_share": data_quality.missing(current, sample.names),
        "unseen_share": data_quality.unseen(reference, current, sample.names),
    }
    by_feature = {f"{name}/{feature}": share for name, own in found.items() for feature, share in own.items()}
    return {name: data_quality.total(own.values()) for name, own in found.items()} | by_feature


def _of_lists(connection: sa.Connection, sample: Sample) -> Mapping[str, Share]:
    key = sample.experiment.key
    arms = [arm.key for arm in sample.experiment.specification.arms if not isinstance(arm.recommender, Payload)]
    lengths = [data_counts.lists(connection, key, plan, arms) for plan in sample.plans]
    items = [data_counts.shown(connection, key, plan) for plan in sample.plans]
    return {
        **data_quality.lists(*lengths),
        "unknown_item_share": data_quality.unknown_items(*items),
        "fallback_share": data_counts.fallbacks(connection, key, sample.plans[1]),
    }


def _of_events(connection: sa.Connection, sample: Sample) -> Mapping[str, Share]:
    reward = sample.experiment.specification.reward
    counts = data_counts.event_counts(
        connection,
        sample.experiment.key,
        sample.window.current,
        metric=reward.metric,
        window_s=reward.window_s,
        reach=timedelta(seconds=min(_ATTRIBUTION_WINDOWS * reward.window_s, reward.late_until_s)),
    )
    return data_quality.events(counts)


def _value(sample: Sample, metric: str, share: Share) -> MetricValue:
    return MetricValue(
        experiment=sample.experiment.key,
        level="data",
        window_start=sample.window.start,
        window_s=sample.window.widths.window_s,
        metric=metric,
        value=share.value,
        n=share.of,
        detail={"count": share.count},
    )
