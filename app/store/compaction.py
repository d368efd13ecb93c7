"""Keeps the statistics small: mature buckets become hours, and hours days; slower where a policy forgets by age.

What is summed stays the same. A late increment of a compacted bucket makes a fine row again, which the next pass
folds in. Compacted rows are of shard -1, which no writer increments, and fine ones are locked in key order, as writers
do: so the two cannot deadlock.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.specification import AnyMemory, Everything

__all__ = ["compact", "grains"]

# Older than this, hours become days, or what the memory allows.
_HOURS_KEPT = timedelta(days=2)

_EVERYTHING = Everything()
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

# Widths that memories can choose from; each divides the next, and whole days.
_WIDTHS = (*(timedelta(minutes=n) for n in (1, 5, 15)), _HOUR, 3 * _HOUR, 12 * _HOUR, _DAY)

# Every width divides the time from here to any UTC midnight.
_ORIGIN = datetime.fromisoformat("2000-01-01T00:00:00Z")

_ARM_STATISTICS = sa.text("""
WITH fine AS MATERIALIZED (
    SELECT * FROM arm_statistics
    WHERE experiment = :experiment AND bucket < :before
      AND (shard <> -1 OR bucket <> date_bin(:width, bucket, :origin))
    ORDER BY experiment, epoch, arm, metric, bucket, shard FOR UPDATE
), gone AS (
    DELETE FROM arm_statistics s USING fine f
    WHERE (s.experiment, s.epoch, s.arm, s.metric, s.bucket, s.shard)
        = (f.experiment, f.epoch, f.arm, f.metric, f.bucket, f.shard)
)
INSERT INTO arm_statistics AS s (experiment, epoch, arm, metric, bucket, shard, n, sum, sum_of_squares, corrected)
SELECT experiment, epoch, arm, metric, date_bin(:width, bucket, :origin) AS coarse, -1, sum(n), sum(sum),
       sum(sum_of_squares), sum(corrected)
FROM fine GROUP BY experiment, epoch, arm, metric, coarse ORDER BY experiment, epoch, arm, metric, coarse
ON CONFLICT (experiment, epoch, arm, metric, bucket, shard) DO UPDATE SET
    n = s.n + excluded.n, sum = s.sum + excluded.sum, sum_of_squares = s.sum_of_squares + excluded.sum_of_squares,
    corrected = s.corrected + excluded.corrected
""")

# Counts are kept per allocation until they are mature. Then the allocations are folded into one row, allocation 0,
# which keeps the sums over decisions that the allocations' probabilities are needed for (statistics of section 1):
# Σp and Σp(1−p) of every arm that could have been chosen, chosen or not.
_DECISION_COUNTS = sa.text("""
WITH fine AS MATERIALIZED (
    SELECT * FROM decision_counts
    WHERE experiment = :experiment AND bucket < :before
      AND (allocation <> 0 OR shard <> -1 OR bucket <> date_bin(:width, bucket, :origin))
    ORDER BY experiment, epoch, allocation, arm, bucket, shard FOR UPDATE
), gone AS (
    DELETE FROM decision_counts c USING fine f
    WHERE (c.experiment, c.epoch, c.allocation, c.arm, c.bucket, c.shard)
        = (f.experiment, f.epoch, f.allocation, f.arm, f.bucket, f.shard)
), dealt AS (
    SELECT epoch, allocation, date_bin(:width, bucket, :origin) AS coarse, sum(exposures) AS n
    FROM fine WHERE allocation <> 0 GROUP BY epoch, allocation, coarse
), expected AS (
    SELECT d.epoch, p.key AS arm, d.coarse, d.n * p.value::float8 AS expected,
           d.n * p.value::float8 * (1 - p.value::float8) AS variance
    FROM dealt d JOIN allocations a ON a.experiment = :experiment AND a.number = d.allocation,
        jsonb_each(a.probabilities) p
    WHERE d.n > 0
), folded AS (
    SELECT epoch, arm, date_bin(:width, bucket, :origin) AS coarse, decisions, exposures, fallbacks, expected, variance
    FROM fine
    UNION ALL
    SELECT epoch, arm, coarse, 0, 0, 0, expected, variance FROM expected
)
INSERT INTO decision_counts AS c
    (experiment, epoch, allocation, arm, bucket, shard, decisions, exposures, fallbacks, expected, variance)
SELECT :experiment, epoch, 0, arm, coarse, -1, sum(decisions), sum(exposures), sum(fallbacks), sum(expected),
       sum(variance)
FROM folded GROUP BY epoch, arm, coarse ORDER BY epoch, arm, coarse
ON CONFLICT (experiment, epoch, allocation, arm, bucket, shard) DO UPDATE SET
    decisions = c.decisions + excluded.decisions, exposures = c.exposures + excluded.exposures,
    fallbacks = c.fallbacks + excluded.fallbacks, expected = c.expected + excluded.expected,
    variance = c.variance + excluded.variance
""")

_ITEM_REWARDS = sa.text("""
WITH fine AS MATERIALIZED (
    SELECT * FROM item_rewards
    WHERE experiment = :experiment AND bucket < :before
      AND (shard <> -1 OR bucket <> date_bin(:width, bucket, :origin))
    ORDER BY experiment, metric, item_id, bucket, shard FOR UPDATE
), gone AS (
    DELETE FROM item_rewards i USING fine f
    WHERE (i.experiment, i.metric, i.item_id, i.bucket, i.shard)
        = (f.experiment, f.metric, f.item_id, f.bucket, f.shard)
)
INSERT INTO item_rewards AS i (experiment, metric, item_id, bucket, shard, rewards)
SELECT experiment, metric, item_id, date_bin(:width, bucket, :origin) AS coarse, -1, sum(rewards)
FROM fine GROUP BY experiment, metric, item_id, coarse ORDER BY experiment, metric, item_id, coarse
ON CONFLICT (experiment, metric, item_id, bucket, shard) DO UPDATE SET rewards = i.rewards + excluded.rewards
""")


def compact(
    connection: sa.Connection,
    experiment: str,
    mature_bucket: datetime,
    now: datetime,
    memory: AnyMemory = _EVERYTHING,
) -> int:
    """Folds the fine rows of one experiment; returns how many coarse rows it wrote.

    Args:
        connection: whose every statement is best a transaction of its own, so that writers wait as little as possible.
        experiment: its key.
        mature_bucket: start of the last bucket that is mature: nothing after it is touched.
        now: what is older than two days becomes days.
        memory: no bucket grows beyond a tenth of its unit before it matters no more when things were.
    """
    written = 0
    for width, before in grains(mature_bucket, now, memory):
        written += _fold(connection, (_ARM_STATISTICS, _DECISION_COUNTS), experiment, width, before)
    for width, before in grains(mature_bucket, now, _EVERYTHING):
        written += _fold(connection, (_ITEM_REWARDS,), experiment, width, before)
    return written


def _fold(
    connection: sa.Connection,
    statements: Sequence[sa.TextClause],
    experiment: str,
    width: timedelta,
    before: datetime,
) -> int:
    # Only whole coarse buckets, so that none ever holds anything immature.
    whole = before - (before - _ORIGIN) % width
    parameters = {"experiment": experiment, "before": whole, "width": width, "origin": _ORIGIN}
    return sum(connection.execute(statement, parameters).rowcount for statement in statements)


def grains(mature_bucket: datetime, now: datetime, memory: AnyMemory) -> Iterator[tuple[timedelta, datetime]]:
    """Widths of buckets, and the moments before which they are fine enough, narrow ones first.

    Args:
        mature_bucket: start of the last bucket that is mature.
        now: what is older than two days may become days.
        memory: what ages are measured by.
    """
    finest = timedelta(seconds=min(memory.unit_s / 10, _DAY.total_seconds()))
    forgotten = mature_bucket - timedelta(seconds=memory.matters_s)
    fitting = max((width for width in _WIDTHS if width <= finest), default=_HOUR)
    for width in sorted({fitting, _HOUR, _DAY}):
        before = mature_bucket if width <= finest else forgotten
        yield width, min(before, now - _HOURS_KEPT) if width > _HOUR else before
