"""How long decisions took, counted minute by minute from the log: each decision is read once."""

from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from app.ids import first_id_at
from app.store import metric_values
from app.store.metric_values import MetricValue
from app.store.tables import decisions
from monitoring.alert_rules import LATENCY_TARGETS_MS

__all__ = ["LAG", "METRIC", "MINUTE", "count_minute", "last_minute", "slower_than"]

METRIC: Final = "latency_ms"
MINUTE: Final = timedelta(minutes=1)
LAG: Final = timedelta(minutes=2)
"""How old a minute's start is before it is counted: its decisions have been committed by then."""

_WINDOW_S: Final = 60

_SLOWER = sa.text("""
SELECT coalesce(sum(n), 0)::bigint, coalesce(sum((detail -> 'slower_than' ->> :target)::bigint), 0)::bigint
FROM metric_values
WHERE experiment = :experiment AND level = 'online' AND metric = :metric AND window_s = :window_s
    AND window_start >= :since
""")


def count_minute(connection: sa.Connection, start: datetime) -> int:
    """Stores how long the decisions took whose ids are of a minute, by experiment; returns how many there were."""
    took = decisions.c.latency_ms
    query = (
        sa.select(
            decisions.c.experiment,
            sa.func.count().label("n"),
            sa.func.percentile_cont(0.99).within_group(took).label("p99"),
            *(sa.func.count().filter(took > target).label(str(target)) for target in LATENCY_TARGETS_MS),
        )
        .where(decisions.c.decision_id >= first_id_at(start), decisions.c.decision_id < first_id_at(start + MINUTE))
        .group_by(decisions.c.experiment)
    )
    values = [
        MetricValue(
            experiment=row["experiment"],
            level="online",
            window_start=start,
            window_s=_WINDOW_S,
            metric=METRIC,
            value=row["p99"],
            n=row["n"],
            detail={"slower_than": {str(target): row[str(target)] for target in LATENCY_TARGETS_MS}},
        )
        for row in connection.execute(query).mappings()
    ]
    metric_values.put(connection, values)
    return sum(value.n for value in values)


def last_minute(connection: sa.Connection, since: datetime) -> datetime | None:
    """Start of the newest minute since a moment that has been counted; None: none has."""
    query = sa.text("SELECT max(window_start) FROM metric_values WHERE metric = :metric AND window_start >= :since")
    found: datetime | None = connection.scalar(query, {"metric": METRIC, "since": since})
    return found


def slower_than(connection: sa.Connection, experiment: str, target_ms: int, since: datetime) -> tuple[int, int]:
    """Decisions of the minutes that begin since a moment, and how many of them took longer than a target."""
    parameters = {
        "experiment": experiment,
        "metric": METRIC,
        "window_s": _WINDOW_S,
        "target": str(target_ms),
        "since": since,
    }
    total, slow = connection.execute(_SLOWER, parameters).one()
    return total, slow
