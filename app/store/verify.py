"""Checks that every stored statistic equals the fold of the event log."""

from dataclasses import dataclass

import sqlalchemy as sa

from app.store.database import Database

__all__ = ["Discrepancy", "verify"]


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """A stored figure that differs from what the log says."""

    check: str
    where: str
    stored: float | None
    expected: float | None


# Each check pairs stored figures with those folded from the log, by key, and keeps what differs. Buckets are summed
# over shards, since it does not matter which worker counted.
_CHECKS = {
    "decision_counts": """
        SELECT concat_ws(' / ', experiment, 'epoch ' || epoch, 'allocation ' || allocation, arm, bucket, figure),
               s.value, e.value
        FROM (
            SELECT experiment, epoch, allocation, arm, bucket, figure, sum(v)::float8 AS value FROM decision_counts,
                LATERAL (VALUES ('decisions', decisions), ('exposures', exposures),
                                ('fallbacks', fallbacks)) f(figure, v)
            GROUP BY 1, 2, 3, 4, 5, 6
        ) s FULL JOIN (
            SELECT experiment, epoch, allocation, arm, bucket, figure, sum(v)::float8 AS value FROM decisions,
                LATERAL (VALUES ('decisions', 1), ('exposures', learnable::int),
                                ('fallbacks', (served_arm IS DISTINCT FROM arm)::int)) f(figure, v)
            GROUP BY 1, 2, 3, 4, 5, 6
        ) e USING (experiment, epoch, allocation, arm, bucket, figure)
        WHERE {differs}""",
    "arm_statistics": """
        SELECT concat_ws(' / ', experiment, 'epoch ' || epoch, arm, metric, bucket, figure), s.value, e.value
        FROM (
            SELECT experiment, epoch, arm, metric, bucket, figure, sum(v) AS value FROM arm_statistics,
                LATERAL (VALUES ('n', n::float8), ('sum', sum), ('sum_of_squares', sum_of_squares)) f(figure, v)
            GROUP BY 1, 2, 3, 4, 5, 6
        ) s FULL JOIN (
            SELECT experiment, epoch, arm, metric, bucket, figure, sum(v) AS value
            FROM outcomes JOIN decisions USING (decision_id),
                LATERAL (VALUES ('n', 1::float8), ('sum', value), ('sum_of_squares', value ^ 2)) f(figure, v)
            WHERE learnable GROUP BY 1, 2, 3, 4, 5, 6
        ) e USING (experiment, epoch, arm, metric, bucket, figure)
        WHERE {differs}""",
    "outcomes": """
        SELECT concat_ws(' / ', decision_id, metric, figure), s.value, e.value
        FROM (
            SELECT decision_id, metric, figure, v AS value FROM outcomes,
                LATERAL (VALUES ('value', value), ('events', events::float8)) f(figure, v)
        ) s FULL JOIN (
            SELECT decision_id, metric, figure, v AS value
            FROM (
                SELECT decision_id, metric, count(*)::float8 AS events,
                    CASE aggregation WHEN 'sum' THEN sum(f.value) WHEN 'max' THEN max(f.value)
                        WHEN 'any' THEN max((f.value <> 0)::int)
                        WHEN 'first' THEN (array_agg(f.value ORDER BY f.occurred_at, f.value = o.value DESC))[1]
                        WHEN 'last' THEN (array_agg(f.value ORDER BY f.occurred_at DESC, f.value = o.value DESC))[1]
                    END AS value
                FROM feedback f LEFT JOIN outcomes o USING (decision_id, metric)
                GROUP BY decision_id, metric, aggregation
            ) folded, LATERAL (VALUES ('value', value), ('events', events)) f(figure, v)
        ) e USING (decision_id, metric, figure)
        WHERE {differs}""",
    "item_rewards": """
        SELECT concat_ws(' / ', experiment, metric, item_id, bucket), s.value, e.value
        FROM (
            SELECT experiment, metric, item_id, bucket, sum(rewards) AS value FROM item_rewards GROUP BY 1, 2, 3, 4
        ) s FULL JOIN (
            SELECT experiment, metric, f.item_id, date_trunc('hour', occurred_at, 'UTC') AS bucket, sum(value) AS value
            FROM feedback f JOIN decisions d USING (decision_id) WHERE f.item_id IS NOT NULL AND value > 0
            GROUP BY 1, 2, 3, 4
        ) e USING (experiment, metric, item_id, bucket)
        WHERE {differs}""",
}
# Counts and sums of 0 and 1 are exact in doubles; other sums depend on the order of addition, and where much is taken
# back, as by refunds, what rounding leaves can be large beside the little that remains: hence the 1.
_DIFFERS = """
    s.value IS NULL OR e.value IS NULL OR abs(s.value - e.value) > CASE
        WHEN s.value = floor(s.value) AND e.value = floor(e.value) THEN 0
        ELSE 1e-9 * greatest(1, abs(s.value), abs(e.value)) END
"""


def verify(database: Database, *, limit: int = 100) -> list[Discrepancy]:
    """Compares all statistics with the log, as of one moment; at most `limit` discrepancies per check.

    It reads the whole log, so its cost grows with it; it locks nothing.
    """
    found: list[Discrepancy] = []
    with database.transaction(snapshot=True) as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for check, query in _CHECKS.items():
            rows = connection.exec_driver_sql(query.format(differs=_DIFFERS) + f" LIMIT {limit}")
            found += [
                Discrepancy(check=check, where=where, stored=stored, expected=expected)
                for where, stored, expected in rows
            ]
    return found
