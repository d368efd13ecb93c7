"""Counts of a window of traffic that tell whether it is what it seems: by whom, how late, and how often said.

The log is read by decision id, which sorts by time, so each statement opens a day or two of partitions, and reads of
decisions only those of the window and those that its events are about.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from app.ids import first_id_at

__all__ = ["EventCounts", "UnitCounts", "events", "units"]

# A client-made id may be a little ahead of us.
_AHEAD = timedelta(minutes=5)

_UNITS = sa.text("""
WITH counted AS (
    SELECT experiment, count(*)::float8 AS c FROM decisions
    WHERE decision_id >= :first AND decision_id < :end GROUP BY experiment, unit
)
SELECT experiment, sum(c)::bigint AS decisions, sum(c * (c - 1)) AS pairs, sum(c * (c - 1) * (c - 2)) AS triples
FROM counted GROUP BY experiment
""")

# An event repeats an earlier one that says the same of the same item at the same position. One without an item may
# well be meant twice, so it is not judged. Confirmed exposures begin when they were confirmed.
_EVENTS = sa.text("""
WITH fresh AS MATERIALIZED (
    SELECT decision_id, metric, event_id, value, item_id, position, occurred_at, received_at FROM feedback
    WHERE decision_id >= :oldest AND decision_id < :end AND received_at >= :since AND received_at < :until
), dated AS (
    SELECT fresh.*, d.experiment, metric = specification #>> '{reward,metric}' AS is_reward,
           greatest(d.decided_at, x.occurred_at)
               + (specification #>> '{reward,window_s}')::float8 * interval '1 second' AS late_at,
           item_id IS NOT NULL AS placed
    FROM fresh JOIN decisions d USING (decision_id) JOIN experiments e ON e.key = d.experiment
    LEFT JOIN exposures x USING (decision_id)
    WHERE decision_id >= :oldest AND decision_id < :end
)
SELECT experiment, count(*) FILTER (WHERE is_reward) AS rewards,
       count(*) FILTER (WHERE is_reward AND occurred_at <= late_at AND received_at > late_at) AS overdue,
       count(*) FILTER (WHERE placed) AS placed,
       count(*) FILTER (WHERE placed AND EXISTS (
           SELECT FROM feedback o
           WHERE o.decision_id = dated.decision_id AND o.decision_id >= :oldest AND o.decision_id < :end
             AND o.metric = dated.metric AND o.item_id = dated.item_id AND o.value = dated.value
             AND o.position IS NOT DISTINCT FROM dated.position
             AND (o.received_at, o.event_id) < (dated.received_at, dated.event_id)
       )) AS repeats
FROM dated GROUP BY experiment
""")


@dataclass(frozen=True, kw_only=True)
class UnitCounts:
    """The decisions of an experiment in a window, and ordered pairs and triples of them that are of one unit."""

    experiment: str
    decisions: int
    pairs: float
    triples: float


@dataclass(frozen=True, kw_only=True)
class EventCounts:
    """The feedback of an experiment that was received in a window."""

    experiment: str
    rewards: int  # events of the reward metric
    overdue: int  # of these, those received after the attribution window that they occurred in
    placed: int  # events, of any metric, that name an item
    repeats: int  # of these, those that repeat an earlier one under another event_id


def units(connection: sa.Connection, since: datetime, until: datetime) -> list[UnitCounts]:
    """Of each experiment that decided anything from `since` and before `until`."""
    window = {"first": str(first_id_at(since)), "end": str(first_id_at(until))}
    return [UnitCounts(**row) for row in connection.execute(_UNITS, window).mappings()]


def events(connection: sa.Connection, since: datetime, until: datetime, *, oldest: datetime) -> list[EventCounts]:
    """Of each experiment that got feedback from `since` and before `until`, about decisions from `oldest` on."""
    ids = {"oldest": str(first_id_at(oldest)), "end": str(first_id_at(until + _AHEAD))}
    found = connection.execute(_EVENTS, {**ids, "since": since, "until": until})
    return [EventCounts(**row) for row in found.mappings()]
