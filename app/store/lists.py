"""Decisions of a window as the quality of recommendations is judged by: their lists, and what came of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.log import id_bounds, in_pieces

__all__ = ["ArmTraffic", "WindowQuestion", "interactions", "lists", "traffic"]


@dataclass(frozen=True, kw_only=True)
class WindowQuestion:
    """Which decisions are asked for.

    Attributes:
        experiment: its key.
        metric: whose feedback to read.
        since: decisions made then or later.
        until: decisions made before.
        halvings: of the units, by a hash, one in 2^halvings is read: so that what is read stays small.
    """

    experiment: str
    metric: str
    since: datetime
    until: datetime
    halvings: int = 0


@dataclass(frozen=True, kw_only=True)
class ArmTraffic:
    """How often an arm was chosen, and by what reasons.

    Attributes:
        arm: its key.
        decisions: that chose it.
        fallbacks: of them, those that another arm, or none, had to answer.
        drawn: of them, those that the policy drew: not pinned, held out, or made while paused.
        at_floor: of those drawn, how many with no more than the floor's probability.
        compared: of those drawn, how many from an allocation that says what was believed of the arms.
        explored: of those compared, how many although another arm was believed to be better.
        cost: Σ over those compared of the best believed mean less the arm's.
    """

    arm: str
    decisions: int
    fallbacks: int
    drawn: int
    at_floor: int
    compared: int
    explored: int
    cost: float


# The ranges of ids are written into the statement by the driver, so partitions are pruned when it is planned.
_MINE = """d.experiment = :experiment AND d.decision_id >= :first AND d.decision_id < :end
    AND d.decided_at >= :since AND d.decided_at < :until"""
_SAMPLED = "hashtextextended(d.unit, 0) & :mask = 0"

# Sums are in a fixed order, so that the same log gives the same figures.
_TRAFFIC = sa.text(f"""
WITH grouped AS (
    SELECT d.arm, d.allocation, count(*) AS decisions,
           count(*) FILTER (WHERE d.served_arm IS DISTINCT FROM d.arm) AS fallbacks,
           count(*) FILTER (WHERE d.learnable OR d.propensity < 1) AS drawn,
           count(*) FILTER (WHERE (d.learnable OR d.propensity < 1) AND d.propensity <= :floor) AS at_floor
    FROM decisions d WHERE {_MINE} GROUP BY d.arm, d.allocation
), best AS (
    SELECT a.number, a.means, (
        SELECT max(m.value::float8) FROM jsonb_each_text(a.means) m WHERE (a.probabilities ->> m.key)::float8 > 0
    ) AS mean
    FROM allocations a WHERE a.experiment = :experiment AND a.number IN (SELECT allocation FROM grouped)
), compared AS (
    SELECT g.*, b.mean - (b.means ->> g.arm)::float8 AS behind
    FROM grouped g LEFT JOIN best b ON b.number = g.allocation
)
SELECT arm, sum(decisions)::bigint AS decisions, sum(fallbacks)::bigint AS fallbacks, sum(drawn)::bigint AS drawn,
       sum(at_floor)::bigint AS at_floor, coalesce(sum(drawn) FILTER (WHERE behind IS NOT NULL), 0)::bigint AS compared,
       coalesce(sum(drawn) FILTER (WHERE behind > 0), 0)::bigint AS explored,
       coalesce(sum(drawn * greatest(behind, 0) ORDER BY allocation), 0) AS cost
FROM compared GROUP BY arm ORDER BY arm
""")

# An event names its item, or where in the list it stood.
_LISTS = sa.text(f"""
SELECT d.arm, d.served_arm, d.unit, d.items,
       d.learnable AND (d.awaits_confirmation IS NOT TRUE OR x.decision_id IS NOT NULL) AS counts,
       o.value AS outcome, f.liked, f.positions,
       CASE WHEN f.first_at IS NOT NULL THEN
           greatest(extract(epoch FROM f.first_at - d.decided_at)::float8, 0) END AS delay_s
FROM decisions d
LEFT JOIN exposures x ON x.decision_id = d.decision_id AND x.decision_id >= :first AND x.decision_id < :end
LEFT JOIN outcomes o
    ON o.decision_id = d.decision_id AND o.decision_id >= :first AND o.decision_id < :end AND o.metric = :metric
LEFT JOIN (
    SELECT decision_id, min(occurred_at) AS first_at,
           array_agg(item_id) FILTER (WHERE value > 0 AND item_id IS NOT NULL) AS liked,
           array_agg(position) FILTER (WHERE value > 0 AND item_id IS NULL AND position IS NOT NULL) AS positions
    FROM feedback WHERE metric = :metric AND decision_id >= :first AND decision_id < :end GROUP BY decision_id
) f ON f.decision_id = d.decision_id
WHERE {_MINE} AND {_SAMPLED}
ORDER BY d.decision_id
""")

_INTERACTIONS = sa.text(f"""
SELECT d.unit, coalesce(f.item_id, d.items[f.position]) AS item
FROM decisions d
JOIN feedback f ON f.decision_id = d.decision_id AND f.decision_id >= :first AND f.decision_id < :end
WHERE {_MINE} AND {_SAMPLED} AND f.metric = :metric AND f.value > 0 AND f.occurred_at < :until
    AND coalesce(f.item_id, d.items[f.position]) IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
""")


def traffic(connection: sa.Connection, question: WindowQuestion, *, floor: float) -> list[ArmTraffic]:
    """How often each arm was chosen that was, by key; of all units.

    Args:
        connection: where to read.
        question: which decisions.
        floor: the smallest probability of an arm.
    """
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # nobody waits for this connection
    # A probability at the floor may be rounded.
    values = _parameters(question) | {"floor": floor * (1 + 1e-9)}
    return [ArmTraffic(**row) for row in connection.execute(_TRAFFIC, values).mappings()]


def lists(connection: sa.Connection, question: WindowQuestion) -> Iterator[Sequence[sa.Row[Any]]]:
    """Decisions in the order of their ids, in pieces.

    Columns: arm, served_arm, unit, items; whether it counts as an exposure; the outcome of the metric; the items that
    got positive feedback, and the positions, from 1, of those that events do not name; seconds until the first event.
    """
    yield from in_pieces(connection, _LISTS, _parameters(question))


def interactions(connection: sa.Connection, question: WindowQuestion) -> Iterator[Sequence[sa.Row[Any]]]:
    """Which units gave which items positive feedback, through any decision and before `until`; in pieces."""
    yield from in_pieces(connection, _INTERACTIONS, _parameters(question))


def _parameters(question: WindowQuestion) -> dict[str, Any]:
    return {
        "experiment": question.experiment,
        "metric": question.metric,
        "since": question.since,
        "until": question.until,
        "mask": (1 << question.halvings) - 1,
        **id_bounds(question.since, question.until),
    }
