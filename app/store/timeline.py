"""What happened over time, a bounded number of steps at a time, from the counted statistics; never from the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from app.store.tables import alert_flips, alerts, audit_log

__all__ = [
    "ArmStep",
    "MetricStep",
    "Steps",
    "TotalStep",
    "allocation_steps",
    "arm_steps",
    "changes",
    "everything",
    "flips",
    "metric_totals",
    "totals",
]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Equal steps of time: from `since`, each `width_s` seconds, before `until`."""

    since: datetime
    until: datetime
    width_s: float

    @property
    def parameters(self) -> dict[str, Any]:
        """For a query: `step` below is a row's step, counted from 0."""
        return {"since": self.since, "until": self.until, "width": self.width_s}


class ArmStep(NamedTuple):
    """What is counted of an arm in a step. Outcomes count by the time of their exposure."""

    step: int
    epoch: int
    arm: str
    repeated: bool  # of units that had been given an arm in the epoch before
    exposures: int
    n: int  # outcomes that feedback was given for
    sum: float
    sum_of_squares: float


class TotalStep(NamedTuple):
    """What is counted of an experiment in a step."""

    experiment: str
    step: int
    decisions: int
    exposures: int
    fallbacks: int


class MetricStep(NamedTuple):
    """Outcomes of one metric in a step."""

    experiment: str
    metric: str
    step: int
    n: int
    sum: float


# A bucket belongs to the step that its start lies in. Mature buckets are hours, and days after two days.
_STEP = "floor(extract(epoch FROM {} - CAST(:since AS timestamptz)) / :width)::int AS step"
_IN_RANGE = "{0} >= :since AND {0} < :until"

_ARM_STEPS = sa.text(f"""
WITH counted AS (
    SELECT {_STEP.format("bucket")}, epoch, arm, repeated, sum(exposures)::bigint AS exposures
    FROM decision_counts WHERE experiment = :experiment AND {_IN_RANGE.format("bucket")}
    GROUP BY 1, 2, 3, 4
), rewarded AS (
    SELECT {_STEP.format("bucket")}, epoch, arm, repeated, sum(n)::bigint AS n, sum(sum) AS sum,
           sum(sum_of_squares) AS sum_of_squares
    FROM arm_statistics WHERE experiment = :experiment AND metric = :metric AND {_IN_RANGE.format("bucket")}
    GROUP BY 1, 2, 3, 4
)
SELECT step, epoch, arm, repeated, coalesce(exposures, 0) AS exposures, coalesce(n, 0) AS n, coalesce(sum, 0) AS sum,
       coalesce(sum_of_squares, 0) AS sum_of_squares
FROM counted FULL JOIN rewarded USING (step, epoch, arm, repeated) ORDER BY step, epoch, arm
""")

# The last allocation of each step, and the one that was in force when the first step began.
_ALLOCATION_STEPS = sa.text(f"""
SELECT DISTINCT ON (step) {_STEP.format("created_at")}, number, reason, probabilities, means, created_at
FROM allocations WHERE experiment = :experiment AND {_IN_RANGE.format("created_at")}
UNION ALL
(SELECT -1, number, reason, probabilities, means, created_at
 FROM allocations WHERE experiment = :experiment AND created_at < :since ORDER BY number DESC LIMIT 1)
ORDER BY step, number DESC
""")

_TOTALS = sa.text(f"""
SELECT experiment, {_STEP.format("bucket")}, sum(decisions)::bigint AS decisions, sum(exposures)::bigint AS exposures,
       sum(fallbacks)::bigint AS fallbacks
FROM decision_counts WHERE experiment = ANY(:experiments) AND {_IN_RANGE.format("bucket")} GROUP BY 1, 2 ORDER BY 1, 2
""")

_EVERYTHING = sa.text(f"""
SELECT {_STEP.format("bucket")}, sum(decisions)::bigint AS decisions, sum(fallbacks)::bigint AS fallbacks
FROM decision_counts WHERE {_IN_RANGE.format("bucket")} GROUP BY 1 ORDER BY 1
""")

_METRIC_TOTALS = sa.text(f"""
SELECT experiment, metric, {_STEP.format("bucket")}, sum(n)::bigint AS n, sum(sum) AS sum
FROM arm_statistics WHERE experiment = ANY(:experiments) AND metric = ANY(:metrics) AND {_IN_RANGE.format("bucket")}
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")


def arm_steps(connection: sa.Connection, experiment: str, metric: str, steps: Steps) -> list[ArmStep]:
    """What was counted of each arm, for one metric, step by step."""
    parameters = {"experiment": experiment, "metric": metric, **steps.parameters}
    return [ArmStep(*row) for row in connection.execute(_ARM_STEPS, parameters)]


def allocation_steps(connection: sa.Connection, experiment: str, steps: Steps) -> list[dict[str, Any]]:
    """The last allocation of each step, before that the one in force at the start: probabilities and means by arm."""
    parameters = {"experiment": experiment, **steps.parameters}
    return [dict(row) for row in connection.execute(_ALLOCATION_STEPS, parameters).mappings()]


def totals(connection: sa.Connection, experiments: Sequence[str], steps: Steps) -> list[TotalStep]:
    """Decisions of some experiments, step by step."""
    parameters = {"experiments": [*experiments], **steps.parameters}
    return [TotalStep(*row) for row in connection.execute(_TOTALS, parameters)]


def everything(connection: sa.Connection, steps: Steps) -> list[tuple[int, int, int]]:
    """Of all experiments together: step, decisions, and fallbacks among them."""
    return [(row.step, row.decisions, row.fallbacks) for row in connection.execute(_EVERYTHING, steps.parameters)]


def metric_totals(
    connection: sa.Connection, experiments: Sequence[str], metrics: Sequence[str], steps: Steps
) -> list[MetricStep]:
    """Outcomes of some metrics of some experiments, step by step."""
    parameters = {"experiments": [*experiments], "metrics": [*metrics], **steps.parameters}
    return [MetricStep(*row) for row in connection.execute(_METRIC_TOTALS, parameters)]


def changes(connection: sa.Connection, subject: str, steps: Steps, *, most: int) -> list[dict[str, Any]]:
    """The newest entries of the audit log about a subject, oldest first: `at`, `actor`, `action`."""
    c = audit_log.c
    query = sa.select(c.id, c.at, c.actor, c.action).where(
        c.subject == subject, c.at >= steps.since, c.at < steps.until
    )
    return [dict(row) for row in reversed(connection.execute(query.order_by(c.id.desc()).limit(most)).mappings().all())]


def flips(connection: sa.Connection, experiment: str, steps: Steps, *, most: int) -> list[dict[str, Any]]:
    """The newest flips of an experiment's alerts to firing or resolved, oldest first."""
    c = alert_flips.c
    query = (
        sa.select(c.at, c.after, alerts.c.id.label("alert"), alerts.c.rule, alerts.c.severity)
        .join(alerts, alerts.c.id == c.alert)
        .where(alerts.c.experiment == experiment, c.after.in_(["firing", "resolved"]))
        .where(c.at >= steps.since, c.at < steps.until)
    )
    return [dict(row) for row in reversed(connection.execute(query.order_by(c.id.desc()).limit(most)).mappings().all())]
