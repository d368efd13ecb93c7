"""What is counted of a window's data: lists, items and events. Bounded by the same samples as contexts are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from app.store.samples import SAMPLED, Sampling, Span, over, spread
from monitoring.data_quality import EventCounts, ListCount, Share, Shown, total

__all__ = ["event_counts", "fallbacks", "lists", "shown"]

_LISTS = sa.text(f"""
SELECT d.arm, cardinality(d.items) AS length, count(*) AS count
FROM decisions d WHERE {SAMPLED} AND d.payload IS NULL AND d.arm = ANY(:arms) GROUP BY 1, 2
""")

_FALLBACKS = sa.text(f"""
SELECT count(*) FILTER (WHERE d.served_arm IS DISTINCT FROM d.arm) AS count, count(*) AS of
FROM decisions d WHERE {SAMPLED}
""")

_SHOWN = sa.text(f"""
WITH shown AS (
    SELECT d.arm, item_id, count(*) AS count
    FROM decisions d, unnest(d.items) item_id WHERE {SAMPLED} GROUP BY d.arm, item_id
)
SELECT s.arm, sum(s.count)::bigint AS items,
       coalesce(sum(s.count) FILTER (WHERE i.item_id IS NOT NULL), 0)::bigint AS known
FROM shown s LEFT JOIN items i USING (item_id) GROUP BY s.arm
""")

# An event says again what another one has said: of the same decision, metric, item, value and moment.
_EVENTS = sa.text("""
WITH numbered AS (
    SELECT f.received_at, f.metric = :metric AS is_reward,
           coalesce(f.received_at > :window_s * interval '1 second' + CASE WHEN d.awaits_confirmation
               THEN CASE WHEN x.decision_id IS NOT NULL THEN greatest(x.occurred_at, d.decided_at) END
               ELSE d.decided_at END, false) AS is_late,
           row_number() OVER (
               PARTITION BY f.decision_id, f.metric, f.item_id, f.position, f.value, f.occurred_at
               ORDER BY f.received_at, f.event_id) AS number
    FROM feedback f
    JOIN decisions d ON d.decision_id = f.decision_id AND d.decision_id >= :first AND d.decision_id < :end
    LEFT JOIN exposures x ON x.decision_id = f.decision_id AND x.decision_id >= :first AND x.decision_id < :end
    WHERE f.decision_id >= :first AND f.decision_id < :end AND f.received_at < :until AND d.experiment = :experiment
)
SELECT count(*) AS taken, count(*) FILTER (WHERE number > 1) AS duplicate,
       count(*) FILTER (WHERE is_reward AND NOT is_late) AS in_time,
       count(*) FILTER (WHERE is_reward AND is_late) AS late
FROM numbered WHERE received_at >= :since
""")
_REFUSED = sa.text("""
SELECT reason, sum(times)::bigint AS times FROM quarantine
WHERE experiment = :experiment AND first_seen >= :since AND first_seen < :until GROUP BY reason
""")
_RECORDED = sa.text("""
SELECT count(*) AS recorded FROM feedback
WHERE decision_id >= :first AND decision_id < :end AND received_at >= :since AND received_at < :until
""")
_WAITING = sa.text("""
SELECT (SELECT count(*) FROM unmatched_feedback WHERE received_at >= :since AND received_at < :until)
     + (SELECT count(*) FROM unmatched_exposures WHERE received_at >= :since AND received_at < :until)
""")
_INVALID: Final = ("unknown_metric", "unreadable", "failed")


def lists(connection: sa.Connection, experiment: str, sampling: Sampling, arms: Sequence[str]) -> list[ListCount]:
    """How many lists of each length each of some arms had."""
    rows = over(connection, _LISTS, sampling, {"experiment": experiment, "arms": list(arms)})
    return [ListCount(**row) for row in rows]


def shown(connection: sa.Connection, experiment: str, sampling: Sampling) -> list[Shown]:
    """How many items each arm showed, and how many of them are in the catalogue."""
    return [Shown(**row) for row in over(connection, _SHOWN, sampling, {"experiment": experiment})]


def fallbacks(connection: sa.Connection, experiment: str, sampling: Sampling) -> Share:
    """How many decisions were answered by another than the arm chosen."""
    rows = over(connection, _FALLBACKS, sampling, {"experiment": experiment})
    return total(Share(**row) for row in rows)


def event_counts(
    connection: sa.Connection,
    experiment: str,
    window: Span,
    *,
    metric: str,
    window_s: float,
    reach: timedelta,
) -> EventCounts:
    """What became of the events that were received in a window.

    Args:
        connection: where to read.
        experiment: its key.
        window: from and until.
        metric: the reward's.
        window_s: the attribution window, seconds.
        reach: events about decisions of so long before the window are counted; older ones are not looked for.
    """
    since, until = window
    sampling = spread(connection, experiment, (since - reach, until))
    values = {"experiment": experiment, "since": since, "until": until, "metric": metric, "window_s": window_s}
    counted = _summed(over(connection, _EVENTS, sampling, values))
    everybodys = _summed(over(connection, _RECORDED, sampling, values))["recorded"]
    refused = {str(row.reason): int(row.times) for row in connection.execute(_REFUSED, values)}
    waiting = int(connection.scalar(_WAITING, values) or 0)
    return EventCounts(
        taken=counted["taken"],
        duplicate=counted["duplicate"],
        in_time=counted["in_time"],
        late=counted["late"] + refused.get("too_late", 0),
        invalid=sum(refused.get(reason, 0) for reason in _INVALID),
        out_of_range=refused.get("value_refused", 0),
        refused=sum(refused.values()),
        waiting=waiting,
        everybodys=everybodys + waiting,
    )


def _summed(rows: Iterable[sa.RowMapping]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(dict(row))
    return counts
