"""Checks that every stored statistic equals the fold of the event log, and that what is counted of it is true."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from app.ids import first_id_at
from app.store.database import Database

__all__ = ["Discrepancy", "verify"]


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """A stored figure that differs from what the log says."""

    check: str
    where: str
    stored: float | None
    expected: float | None


# Since when the log of an experiment is whole. A day's margin on either side: an id may be a day older than its bucket,
# and older still where exposures are confirmed.
_KEPT = """
    WITH kept AS (
        SELECT key AS experiment, greatest(
            '{since}'::timestamptz,
            date_trunc('day', now(), 'UTC') - make_interval(days => (specification ->> 'retention_days')::int - 2)
        ) + CASE specification ->> 'exposure' WHEN 'confirmed'
            THEN make_interval(secs => (specification -> 'reward' ->> 'late_until_s')::float8) ELSE interval '0'
        END AS since FROM experiments
    )"""

# Exposures and when their attribution windows end: the learnable decisions, where it takes a confirmation those that
# have one. Nothing is seen before it is decided.
_EXPOSED = """
    , exposed AS (
        SELECT d.decision_id, d.experiment, d.epoch, d.arm,
            CASE WHEN d.awaits_confirmation THEN x.bucket ELSE d.bucket END AS bucket,
            CASE WHEN d.awaits_confirmation THEN greatest(x.occurred_at, d.decided_at) ELSE d.decided_at END
                + make_interval(secs => (c.contract -> 'reward' ->> 'window_s')::float8) AS late_at
        FROM decisions d
        LEFT JOIN exposures x USING (decision_id)
        LEFT JOIN contracts c ON c.experiment = d.experiment AND c.epoch = d.epoch
        WHERE d.learnable AND (d.awaits_confirmation IS NOT TRUE OR x.decision_id IS NOT NULL)
    )"""

# Exact in a double.
_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::float8"

# Each check pairs stored figures with those folded from the log, by key, and keeps what differs. Sums are taken over
# shards, since it does not matter which worker counted, and over a UTC day, since compaction makes days of buckets.
_CHECKS = {
    "decision_counts": _KEPT
    + _EXPOSED
    + """
        SELECT concat_ws(' / ', experiment, 'epoch ' || epoch, arm, day, figure), s.value, e.value
        FROM (
            SELECT experiment, epoch, arm, date_trunc('day', bucket, 'UTC') AS day, figure, sum(v)::float8 AS value
            FROM decision_counts LEFT JOIN kept USING (experiment),
                LATERAL (VALUES ('decisions', decisions), ('exposures', exposures),
                                ('fallbacks', fallbacks)) f(figure, v)
            WHERE bucket >= coalesce(kept.since, '-infinity') GROUP BY 1, 2, 3, 4, 5
        ) s FULL JOIN (
            SELECT experiment, epoch, arm, date_trunc('day', bucket, 'UTC') AS day, figure, sum(v)::float8 AS value
            FROM (
                SELECT experiment, epoch, arm, bucket, figure, v
                FROM decisions, LATERAL (VALUES ('decisions', 1), ('fallbacks', (served_arm IS DISTINCT FROM arm)::int))
                    f(figure, v)
                UNION ALL
                SELECT experiment, epoch, arm, bucket, 'exposures', 1 FROM exposed
            ) log LEFT JOIN kept USING (experiment)
            WHERE bucket >= coalesce(kept.since, '-infinity') GROUP BY 1, 2, 3, 4, 5
        ) e USING (experiment, epoch, arm, day, figure)
        WHERE {differs}""",
    "arm_statistics": _KEPT
    + _EXPOSED
    + """
        SELECT concat_ws(' / ', experiment, 'epoch ' || epoch, arm, metric, day, figure), s.value, e.value
        FROM (
            SELECT experiment, epoch, arm, metric, date_trunc('day', bucket, 'UTC') AS day, figure, sum(v) AS value
            FROM arm_statistics LEFT JOIN kept USING (experiment),
                LATERAL (VALUES ('n', n::float8), ('sum', sum), ('sum_of_squares', sum_of_squares),
                                ('corrected', corrected::float8)) f(figure, v)
            WHERE bucket >= coalesce(kept.since, '-infinity') GROUP BY 1, 2, 3, 4, 5, 6
        ) s FULL JOIN (
            SELECT experiment, epoch, arm, metric, date_trunc('day', bucket, 'UTC') AS day, figure, sum(v) AS value
            FROM outcomes JOIN exposed USING (decision_id) LEFT JOIN kept USING (experiment),
                LATERAL (VALUES ('n', 1::float8), ('sum', value), ('sum_of_squares', value ^ 2),
                                ('corrected', coalesce(first_at > late_at, false)::int::float8)) f(figure, v)
            WHERE bucket >= coalesce(kept.since, '-infinity') GROUP BY 1, 2, 3, 4, 5, 6
        ) e USING (experiment, epoch, arm, metric, day, figure)
        WHERE {differs}""",
    "outcomes": """
        SELECT concat_ws(' / ', decision_id, metric, figure), s.value, e.value
        FROM (
            SELECT decision_id, metric, figure, v AS value FROM outcomes,
                LATERAL (VALUES ('value', value), ('events', events::float8),
                                ('first_at', """
    + _MICROSECONDS.format("first_at")
    + """)) f(figure, v)
            WHERE decision_id >= '{first_id}' AND (figure <> 'first_at' OR first_at > '-infinity')
        ) s FULL JOIN (
            SELECT decision_id, metric, figure, v AS value
            FROM (
                SELECT decision_id, metric, count(*)::float8 AS events, min(f.occurred_at) AS first_at,
                    coalesce(o.first_at > '-infinity', true) AS timed,
                    CASE aggregation WHEN 'sum' THEN sum(f.value) WHEN 'max' THEN max(f.value)
                        WHEN 'mean' THEN avg(f.value) WHEN 'any' THEN max((f.value <> 0)::int)
                        WHEN 'first' THEN (array_agg(f.value ORDER BY f.occurred_at, f.value = o.value DESC))[1]
                        WHEN 'last' THEN (array_agg(f.value ORDER BY f.occurred_at DESC, f.value = o.value DESC))[1]
                    END AS value
                FROM feedback f LEFT JOIN outcomes o USING (decision_id, metric)
                WHERE decision_id >= '{first_id}'
                GROUP BY decision_id, metric, aggregation, o.first_at
            ) folded,
                LATERAL (VALUES ('value', value), ('events', events), ('first_at', """
    + _MICROSECONDS.format("first_at")
    + """)) f(figure, v)
            WHERE figure <> 'first_at' OR timed
        ) e USING (decision_id, metric, figure)
        WHERE {differs}""",
    "exposures": """
        SELECT concat_ws(' / ', decision_id, 'bucket'), extract(epoch FROM x.bucket)::float8,
            extract(epoch FROM greatest(x.occurred_at, d.decided_at))::float8
        FROM exposures x LEFT JOIN decisions d USING (decision_id)
        WHERE decision_id >= '{first_id}' AND (d.decision_id IS NULL
            OR greatest(x.occurred_at, d.decided_at) NOT BETWEEN x.bucket AND x.bucket + interval '1 minute')""",
    "quarantine": """
        SELECT concat_ws(' / ', decision_id, q.kind, 'arm'), 1, 0
        FROM quarantine q JOIN decisions d USING (decision_id)
        WHERE decision_id >= '{first_id}' AND q.arm IS NOT NULL
            AND (q.experiment, q.epoch, q.arm) IS DISTINCT FROM (d.experiment, d.epoch, d.arm)""",
    "item_rewards": _KEPT
    + """
        SELECT concat_ws(' / ', experiment, metric, item_id, day), s.value, e.value
        FROM (
            SELECT experiment, metric, item_id, date_trunc('day', bucket, 'UTC') AS day, sum(rewards) AS value
            FROM item_rewards LEFT JOIN kept USING (experiment)
            WHERE bucket >= coalesce(kept.since, '-infinity') GROUP BY 1, 2, 3, 4
        ) s FULL JOIN (
            SELECT experiment, metric, f.item_id, date_trunc('day', occurred_at, 'UTC') AS day, sum(value) AS value
            FROM feedback f JOIN decisions d USING (decision_id) LEFT JOIN kept USING (experiment)
            WHERE f.item_id IS NOT NULL AND value > 0 AND occurred_at >= coalesce(kept.since, '-infinity')
            GROUP BY 1, 2, 3, 4
        ) e USING (experiment, metric, item_id, day)
        WHERE {differs}""",
}
# Counts and sums of 0 and 1 are exact in doubles; other sums depend on the order of addition, and where much is taken
# back, as by refunds, what rounding leaves can be large beside the little that remains: hence the 1.
# What is missing counts as 0: compaction makes rows of zeros for arms that could have been chosen and were not.
_DIFFERS = """
    greatest(abs(s.value), abs(e.value)) >= 'Infinity' OR abs(coalesce(s.value, 0) - coalesce(e.value, 0)) > CASE
        WHEN greatest(abs(s.value), abs(e.value)) < 2 ^ 53 AND coalesce(s.value = floor(s.value), true)
            AND coalesce(e.value = floor(e.value), true) THEN 0
        ELSE 1e-9 * greatest(1, abs(s.value), abs(e.value)) END
"""
_EVER = datetime.fromisoformat("2000-01-01T00:00:00Z")


def verify(database: Database, *, since: datetime = _EVER, limit: int = 100) -> list[Discrepancy]:
    """Compares all statistics with the log, as of one moment; at most `limit` discrepancies per check.

    It reads the whole log, so its cost grows with it; it locks nothing.

    Args:
        database: what to check.
        since: when the log begins to be whole; what it no longer holds cannot be compared.
        limit: most discrepancies of each check.
    """
    found: list[Discrepancy] = []
    with database.transaction(snapshot=True) as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for check, template in _CHECKS.items():
            query = template.format(differs=_DIFFERS, since=since.isoformat(), first_id=first_id_at(since))
            found += [
                Discrepancy(check=check, where=where, stored=stored, expected=expected)
                for where, stored, expected in connection.exec_driver_sql(f"{query} LIMIT {limit}")
            ]
    return found
