"""Figures that alerts are judged by: bounded sums over the counted statistics, never over the log of decisions."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

__all__ = [
    "RewardSums",
    "Traffic",
    "events_received",
    "exposures_by_arm",
    "rejected",
    "reward_sums",
    "traffic",
]

# A bucket belongs to the window that its start lies in. Mature buckets are hours, and days after two days: so windows
# that reach further back begin up to a day late.
_TRAFFIC = sa.text("""
SELECT coalesce(sum(decisions), 0)::bigint AS decisions, coalesce(sum(exposures), 0)::bigint AS exposures,
       coalesce(sum(fallbacks), 0)::bigint AS fallbacks
FROM decision_counts
WHERE experiment = :experiment AND bucket >= :since AND bucket < :until AND epoch >= :epoch
""")

_EXPOSURES_BY_ARM = sa.text("""
SELECT arm, sum(exposures)::bigint FROM decision_counts
WHERE experiment = :experiment AND epoch = :epoch AND bucket >= :since GROUP BY arm
""")

_REWARD_SUMS = sa.text("""
SELECT coalesce(sum(n), 0)::bigint AS observed, coalesce(sum(sum), 0) AS sum,
       coalesce(sum(sum_of_squares), 0) AS sum_of_squares
FROM arm_statistics
WHERE experiment = :experiment AND metric = :metric AND epoch = :epoch AND bucket >= :since AND bucket < :until
""")

_OUTCOMES = sa.text("""
SELECT coalesce(sum(n), 0)::bigint FROM arm_statistics WHERE experiment = :experiment AND bucket >= :since
""")

_REJECTED = sa.text("""
SELECT count(*) FROM (
    SELECT FROM quarantine WHERE experiment = :experiment AND last_seen >= :since AND state = 'open' LIMIT 100000
) q
""")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Decisions of a window."""

    decisions: int
    exposures: int
    fallbacks: int


@dataclass(frozen=True, kw_only=True)
class RewardSums:
    """Outcomes that feedback was given for, of the exposures of a window."""

    observed: int
    sum: float
    sum_of_squares: float


def traffic(
    connection: sa.Connection, experiment: str, window: tuple[datetime, datetime], *, epoch: int = 0
) -> Traffic:
    """Decisions of a window, of an epoch and later ones."""
    since, until = window
    parameters = {"experiment": experiment, "since": since, "until": until, "epoch": epoch}
    return Traffic(**connection.execute(_TRAFFIC, parameters).mappings().one())


def exposures_by_arm(connection: sa.Connection, experiment: str, epoch: int, since: datetime) -> dict[str, int]:
    """Exposures of an epoch by arm, since a moment."""
    window = {"experiment": experiment, "epoch": epoch, "since": since}
    return dict(connection.execute(_EXPOSURES_BY_ARM, window).all())


def reward_sums(
    connection: sa.Connection, experiment: str, epoch: int, metric: str, window: tuple[datetime, datetime]
) -> RewardSums:
    """Outcomes of an epoch's exposures of a window."""
    since, until = window
    parameters = {"experiment": experiment, "epoch": epoch, "metric": metric, "since": since, "until": until}
    return RewardSums(**connection.execute(_REWARD_SUMS, parameters).mappings().one())


def events_received(connection: sa.Connection, experiment: str, since: datetime) -> int:
    """Outcomes, of all metrics, of exposures since a moment."""
    return int(connection.scalar(_OUTCOMES, {"experiment": experiment, "since": since}) or 0)


def rejected(connection: sa.Connection, experiment: str, since: datetime) -> int:
    """Open entries in quarantine that were seen since a moment; counted up to 100,000."""
    return int(connection.scalar(_REJECTED, {"experiment": experiment, "since": since}) or 0)
