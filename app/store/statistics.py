"""Reads the additive statistics, summed over shards and buckets."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

__all__ = ["ArmCounts", "DecayedCounts", "arm_counts", "decayed_counts"]


@dataclass(frozen=True, kw_only=True)
class ArmCounts:
    """What is counted of one arm, for one metric. Outcomes count by the time of their exposure."""

    arm: str
    state: str
    decisions: int
    exposures: int
    fallbacks: int
    mature: int  # exposures whose attribution window has passed
    observed: int  # outcomes that feedback was given for
    corrected: int  # of these, those that were given none within the attribution window
    mature_observed: int
    sum: float
    sum_of_squares: float
    mature_sum: float
    mature_sum_of_squares: float


@dataclass(frozen=True, kw_only=True)
class DecayedCounts:
    """What is counted of one arm, each exposure with a weight that halves with its age: see `ArmCounts`."""

    arm: str
    mature: float
    observed: float
    mature_observed: float
    sum: float
    sum_of_squares: float
    mature_sum: float
    mature_sum_of_squares: float


# An arm's own `since_epoch` bounds what counts: older outcomes are those of another recommender or another reward.
_ARM_COUNTS = sa.text("""
WITH counted AS (
    SELECT a.key, sum(c.decisions)::bigint AS decisions, sum(c.exposures)::bigint AS exposures,
           sum(c.fallbacks)::bigint AS fallbacks,
           sum(c.exposures) FILTER (WHERE c.bucket <= :mature_bucket)::bigint AS mature
    FROM arms a
    JOIN decision_counts c ON c.experiment = a.experiment AND c.arm = a.key AND c.epoch >= a.since_epoch
    WHERE a.experiment = :experiment AND c.bucket >= :since
    GROUP BY a.key
), rewarded AS (
    SELECT a.key, sum(s.n)::bigint AS observed, sum(s.corrected)::bigint AS corrected,
           sum(s.sum) AS sum, sum(s.sum_of_squares) AS sum_of_squares,
           sum(s.n) FILTER (WHERE s.bucket <= :mature_bucket)::bigint AS mature_observed,
           sum(s.sum) FILTER (WHERE s.bucket <= :mature_bucket) AS mature_sum,
           sum(s.sum_of_squares) FILTER (WHERE s.bucket <= :mature_bucket) AS mature_sum_of_squares
    FROM arms a
    JOIN arm_statistics s ON s.experiment = a.experiment AND s.arm = a.key AND s.epoch >= a.since_epoch
    WHERE a.experiment = :experiment AND s.metric = :metric AND s.bucket >= :since
    GROUP BY a.key
)
SELECT a.key AS arm, a.state,
       coalesce(decisions, 0) AS decisions, coalesce(exposures, 0) AS exposures, coalesce(fallbacks, 0) AS fallbacks,
       coalesce(mature, 0) AS mature, coalesce(observed, 0) AS observed, coalesce(corrected, 0) AS corrected,
       coalesce(mature_observed, 0) AS mature_observed,
       coalesce(sum, 0) AS sum, coalesce(sum_of_squares, 0) AS sum_of_squares,
       coalesce(mature_sum, 0) AS mature_sum, coalesce(mature_sum_of_squares, 0) AS mature_sum_of_squares
FROM arms a LEFT JOIN counted USING (key) LEFT JOIN rewarded USING (key)
WHERE a.experiment = :experiment ORDER BY a.position, a.key
""")

# The sums of `_ARM_COUNTS` that a policy learns from, with the weight 2^(−age/half-life) of each bucket.
_DECAYED_COUNTS = sa.text("""
WITH weighted AS (
    SELECT a.key, c.exposures, c.bucket <= :mature_bucket AS is_mature,
           power(0.5::float8, greatest(extract(epoch FROM :as_of - c.bucket), 0)::float8 / :half_life_s) AS weight
    FROM arms a
    JOIN decision_counts c ON c.experiment = a.experiment AND c.arm = a.key AND c.epoch >= a.since_epoch
    WHERE a.experiment = :experiment AND c.bucket >= :since
), counted AS (
    SELECT key, sum(weight * exposures) FILTER (WHERE is_mature) AS mature FROM weighted GROUP BY key
), outcomes AS (
    SELECT a.key, s.n, s.sum, s.sum_of_squares, s.bucket <= :mature_bucket AS is_mature,
           power(0.5::float8, greatest(extract(epoch FROM :as_of - s.bucket), 0)::float8 / :half_life_s) AS weight
    FROM arms a
    JOIN arm_statistics s ON s.experiment = a.experiment AND s.arm = a.key AND s.epoch >= a.since_epoch
    WHERE a.experiment = :experiment AND s.metric = :metric AND s.bucket >= :since
), rewarded AS (
    SELECT key, sum(weight * n) AS observed, sum(weight * sum) AS sum, sum(weight * sum_of_squares) AS sum_of_squares,
           sum(weight * n) FILTER (WHERE is_mature) AS mature_observed,
           sum(weight * sum) FILTER (WHERE is_mature) AS mature_sum,
           sum(weight * sum_of_squares) FILTER (WHERE is_mature) AS mature_sum_of_squares
    FROM outcomes GROUP BY key
)
SELECT a.key AS arm, coalesce(mature, 0) AS mature, coalesce(observed, 0) AS observed,
       coalesce(mature_observed, 0) AS mature_observed,
       coalesce(sum, 0) AS sum, coalesce(sum_of_squares, 0) AS sum_of_squares,
       coalesce(mature_sum, 0) AS mature_sum, coalesce(mature_sum_of_squares, 0) AS mature_sum_of_squares
FROM arms a LEFT JOIN counted USING (key) LEFT JOIN rewarded USING (key)
WHERE a.experiment = :experiment ORDER BY a.position, a.key
""")

_EVER = datetime.fromisoformat("2000-01-01T00:00:00Z")


def arm_counts(
    connection: sa.Connection,
    experiment: str,
    metric: str,
    mature_bucket: datetime,
    since: datetime | None = None,
) -> list[ArmCounts]:
    """The counts of all arms that an experiment ever had, in order.

    Args:
        connection: where to read.
        experiment: its key.
        metric: whose outcomes to sum.
        mature_bucket: start of the last bucket that is mature.
        since: only exposures from buckets that start then or later.
    """
    parameters = {
        "experiment": experiment,
        "metric": metric,
        "mature_bucket": mature_bucket,
        "since": since or _EVER,
    }
    return [ArmCounts(**row) for row in connection.execute(_ARM_COUNTS, parameters).mappings()]


def decayed_counts(
    connection: sa.Connection,
    experiment: str,
    metric: str,
    mature_bucket: datetime,
    *,
    since: datetime,
    as_of: datetime,
    half_life_s: float,
) -> list[DecayedCounts]:
    """The counts that a policy learns from, each bucket's weighted by 2^(−age/half-life).

    Args:
        connection: where to read.
        experiment: its key.
        metric: whose outcomes to sum.
        mature_bucket: start of the last bucket that is mature.
        since: only exposures from buckets that start then or later; at most 1,000 half-lives ago.
        as_of: when the weight is 1; later buckets have the same.
        half_life_s: in seconds.
    """
    parameters = {
        "experiment": experiment,
        "metric": metric,
        "mature_bucket": mature_bucket,
        "since": since,
        "as_of": as_of,
        "half_life_s": half_life_s,
    }
    return [DecayedCounts(**row) for row in connection.execute(_DECAYED_COUNTS, parameters).mappings()]
