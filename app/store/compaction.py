"""Keeps the statistics small: allocations are folded, mature buckets become hours, and hours days.

What is summed stays the same. A late increment of a compacted bucket makes a fine row again, which the next pass
folds in. Compacted rows are of shard -1, which no writer increments, and fine ones are locked in key order, as writers
do: so the two cannot deadlock. Two that compact one experiment could, since what one folds is what the other has
folded, so only one does.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.specification import AnyMemory, Everything
from app.store.scores import COLUMNS, CONTRACTS, SCORED

__all__ = ["compact", "grains"]

# Older than this, hours become days, or what the memory allows.
_HOURS_KEPT = timedelta(days=2)

_EVERYTHING = Everything()
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)

# Widths that memories can choose from; each divides the next, and whole days.
_WIDTHS = (*(timedelta(minutes=n) for n in (1, 5, 15)), _HOUR, 3 * _HOUR, 12 * _HOUR, _DAY)

# Of late, rows are kept as they were counted. After this time allocations are folded, each bucket in itself: a row for
# each arm in each of them would be too many in a long attribution window.
_SETTLED = timedelta(minutes=5)
_WITHIN_BUCKETS = timedelta(microseconds=1)

# Every width divides the time from here to any UTC midnight.
_ORIGIN = datetime.fromisoformat("2000-01-01T00:00:00Z")

_SCORES = ", ".join(COLUMNS)
_PERHAPS_SCORES = ", ".join(f"coalesce({name}, 0)" for name in COLUMNS)
_SUMS_OF_SCORES = ", ".join(f"sum({name})" for name in COLUMNS)
_MORE_SCORES = ", ".join(f"{name} = x.{name} + excluded.{name}" for name in COLUMNS)

# Outcomes are kept per allocation until the buckets they are in have settled. Then the allocations are folded into one
# row, allocation 0, which keeps the sums that the allocations' probabilities and means are needed for.
_ARM_STATISTICS = sa.text(f"""
WITH contracts AS ({CONTRACTS}
), fine AS MATERIALIZED (
    SELECT *, date_bin(:width, bucket, :origin) AS at FROM arm_statistics
    WHERE experiment = :experiment AND bucket < :before
      AND (allocation <> 0 OR shard <> -1 OR bucket <> date_bin(:width, bucket, :origin))
    ORDER BY experiment, epoch, arm, metric, bucket, shard, allocation, repeated FOR UPDATE
), gone AS (
    DELETE FROM arm_statistics s USING fine f
    WHERE (s.experiment, s.epoch, s.arm, s.metric, s.bucket, s.shard, s.allocation, s.repeated)
        = (f.experiment, f.epoch, f.arm, f.metric, f.bucket, f.shard, f.allocation, f.repeated)
), cells AS (
    SELECT f.epoch, f.allocation, f.at, f.arm, -fills * sum(n)::float8 AS silent, sum(n)::float8 AS n, sum(sum) AS sum,
           sum(sum_of_squares) AS sum_of_squares
    FROM fine f JOIN contracts k USING (epoch, metric)
    WHERE f.allocation <> 0 AND NOT f.repeated GROUP BY f.epoch, f.allocation, f.at, f.arm, fills
), {SCORED}, folded AS (
    SELECT epoch, arm, metric, at, repeated, n, sum, sum_of_squares, corrected, {_SCORES} FROM fine
    UNION ALL
    SELECT epoch, arm, metric, at, false, 0, 0, 0, 0, {_SCORES} FROM scored JOIN contracts USING (epoch)
)
INSERT INTO arm_statistics AS x
    (experiment, epoch, arm, metric, bucket, shard, allocation, repeated, n, sum, sum_of_squares, corrected, {_SCORES})
SELECT :experiment, epoch, arm, metric, at, -1, 0, repeated, sum(n), sum(sum), sum(sum_of_squares), sum(corrected),
       {_SUMS_OF_SCORES}
FROM folded GROUP BY epoch, arm, metric, at, repeated ORDER BY epoch, arm, metric, at, repeated
ON CONFLICT (experiment, epoch, arm, metric, bucket, shard, allocation, repeated) DO UPDATE SET
    n = x.n + excluded.n, sum = x.sum + excluded.sum, sum_of_squares = x.sum_of_squares + excluded.sum_of_squares,
    corrected = x.corrected + excluded.corrected, {_MORE_SCORES}
""")

# The same of exposures; and Σp and Σp(1−p) over choices of every arm that could have been chosen, chosen or not.
_DECISION_COUNTS = sa.text(f"""
WITH contracts AS ({CONTRACTS}
), fine AS MATERIALIZED (
    SELECT *, date_bin(:width, bucket, :origin) AS at FROM decision_counts
    WHERE experiment = :experiment AND bucket < :before
      AND (allocation <> 0 OR shard <> -1 OR bucket <> date_bin(:width, bucket, :origin))
    ORDER BY experiment, epoch, allocation, arm, bucket, shard, repeated FOR UPDATE
), gone AS (
    DELETE FROM decision_counts c USING fine f
    WHERE (c.experiment, c.epoch, c.allocation, c.arm, c.bucket, c.shard, c.repeated)
        = (f.experiment, f.epoch, f.allocation, f.arm, f.bucket, f.shard, f.repeated)
), cells AS (
    SELECT f.epoch, f.allocation, f.at, f.arm, sum(exposures)::float8 AS silent, 0::float8 AS n, 0::float8 AS sum,
           0::float8 AS sum_of_squares
    FROM fine f JOIN contracts k ON k.epoch = f.epoch AND fills = 1
    WHERE f.allocation <> 0 AND NOT f.repeated GROUP BY f.epoch, f.allocation, f.at, f.arm
), {SCORED}, drawn AS (
    SELECT epoch, allocation, at, sum(chosen)::float8 AS n
    FROM fine WHERE allocation <> 0 AND NOT repeated GROUP BY epoch, allocation, at
), expected AS (
    SELECT d.epoch, p.key AS arm, d.at, sum(d.n * p.value::float8) AS expected,
           sum(d.n * p.value::float8 * (1 - p.value::float8)) AS variance
    FROM drawn d JOIN allocations a ON a.experiment = :experiment AND a.number = d.allocation,
        jsonb_each(a.probabilities) p
    WHERE d.n > 0 GROUP BY d.epoch, p.key, d.at
), folded AS (
    SELECT epoch, arm, at, repeated, decisions, exposures, fallbacks, chosen, expected, variance, {_SCORES} FROM fine
    UNION ALL
    SELECT epoch, arm, at, false, 0, 0, 0, 0, coalesce(expected, 0), coalesce(variance, 0), {_PERHAPS_SCORES}
    FROM expected FULL JOIN scored USING (epoch, arm, at)
)
INSERT INTO decision_counts AS x
    (experiment, epoch, allocation, arm, bucket, shard, repeated, decisions, exposures, fallbacks, chosen, expected,
     variance, {_SCORES})
SELECT :experiment, epoch, 0, arm, at, -1, repeated, sum(decisions), sum(exposures), sum(fallbacks), sum(chosen),
       sum(expected), sum(variance), {_SUMS_OF_SCORES}
FROM folded GROUP BY epoch, arm, at, repeated ORDER BY epoch, arm, at, repeated
ON CONFLICT (experiment, epoch, allocation, arm, bucket, shard, repeated) DO UPDATE SET
    decisions = x.decisions + excluded.decisions, exposures = x.exposures + excluded.exposures,
    fallbacks = x.fallbacks + excluded.fallbacks, chosen = x.chosen + excluded.chosen,
    expected = x.expected + excluded.expected, variance = x.variance + excluded.variance, {_MORE_SCORES}
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
    """Folds the fine rows of one experiment; returns how many coarse rows it wrote: 0 while another does it.

    Args:
        connection: whose every statement is best a transaction of its own, so that writers wait as little as possible.
        experiment: its key.
        mature_bucket: start of the last bucket that is mature: none after it becomes part of another.
        now: what is older than two days becomes days.
        memory: no bucket grows beyond a tenth of its unit before it matters no more when things were.
    """
    name = {"name": f"compact {experiment}"}
    if not connection.scalar(sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), name):
        return 0
    try:
        return _compact(connection, experiment, mature_bucket, now, memory)
    finally:
        connection.execute(sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), name)


def _compact(
    connection: sa.Connection, experiment: str, mature_bucket: datetime, now: datetime, memory: AnyMemory
) -> int:
    counters = (_ARM_STATISTICS, _DECISION_COUNTS)
    written = _fold(connection, counters, experiment, _WITHIN_BUCKETS, now - _SETTLED)
    for width, before in grains(mature_bucket, now, memory):
        written += _fold(connection, counters, experiment, width, before)
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
