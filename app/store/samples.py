"""Samples of a window of the log: all of it while it is small, else parts of its time and of its units.

A window's decisions are those whose ids were made in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa

from app.ids import first_id_at

__all__ = ["SAMPLED", "Sampling", "Span", "contexts", "over", "plan", "rewards", "spread"]

_MOST_SCANNED: Final = 400_000  # decisions of all experiments that one read passes over
_MOST_ROWS: Final = 20_000  # of one experiment that it takes, planned
_ROOM: Final = 2 * _MOST_ROWS  # and at most
# Parts that stand for a long reference. Of a week of hours it is every seventh: each hour of the day comes once.
_PIECES: Final = 24
_ALL_UNITS: Final = 2**20
# Where each part lies within its piece: far from its neighbours' places, so that no minute of the hour is favoured.
_GOLDEN: Final = 0.618033988749895

Span = tuple[datetime, datetime]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What of a window is read.

    Attributes:
        parts: of its time, as (from, until).
        units: those are taken whose hash is below it, of 2²⁰.
        share: about which share of the experiment's decisions that makes, within (0, 1].
    """

    parts: tuple[Span, ...]
    units: int
    share: float


_TRAFFIC = sa.text("""
SELECT coalesce(sum(decisions), 0)::bigint AS everybodys,
       coalesce(sum(decisions) FILTER (WHERE experiment = :experiment), 0)::bigint AS mine
FROM decision_counts WHERE bucket >= :since AND bucket < :until
""")

# The ranges of ids are written into the statement by the driver, so partitions are pruned when it is planned.
SAMPLED = """
    d.experiment = :experiment AND d.decision_id >= :first AND d.decision_id < :end
    AND (hashtextextended(d.unit, 0) & 1048575) < :units
"""

_CONTEXTS = sa.text(f"""
SELECT d.decided_at, d.unit, d.arm, d.context::text AS context,
       (SELECT avg(score) FROM unnest(d.scores) score) AS score,
       d.served_arm IS NOT DISTINCT FROM d.arm AND d.epoch >= a.since_epoch AS is_own
FROM decisions d JOIN arms a ON a.experiment = d.experiment AND a.key = d.arm
WHERE {SAMPLED} ORDER BY d.decision_id LIMIT :most
""")

_REWARDS = sa.text(f"""
SELECT d.decided_at, d.unit, d.arm, o.value AS reward
FROM decisions d
JOIN arms a ON a.experiment = d.experiment AND a.key = d.arm AND d.epoch >= a.since_epoch
LEFT JOIN exposures x
    ON x.decision_id = d.decision_id AND x.decision_id >= :first AND x.decision_id < :end
LEFT JOIN outcomes o
    ON o.decision_id = d.decision_id AND o.decision_id >= :first AND o.decision_id < :end AND o.metric = :metric
WHERE {SAMPLED} AND d.learnable AND (d.awaits_confirmation IS NOT TRUE OR x.decision_id IS NOT NULL)
ORDER BY d.decision_id LIMIT :most
""")
# Of a fresh day PostgreSQL knows no statistics, guesses few rows, and would compare each decision with each outcome.
_JOIN_IN_ORDER = sa.text("SET LOCAL enable_nestloop = off")


def plan(connection: sa.Connection, experiment: str, reference: Span, current: Span) -> tuple[Sampling, Sampling]:
    """How much of two windows to read, by what was counted in them.

    While both are small everything is read. Else a part of the current window is, and as long parts of the reference,
    one in each of some pieces that are as wide as the current window: so that a unit has the same chance of coming more
    than once in either.
    """
    before, now = (_counted(connection, experiment, span) for span in (reference, current))
    if before.everybodys + now.everybodys <= _MOST_SCANNED:
        return _sampling((reference,), 1.0, before.mine), _sampling((current,), 1.0, now.mine)
    width = current[1] - current[0]
    pieces = max(1, (reference[1] - reference[0]) // width)
    read = min(_PIECES, pieces)
    time = min(1.0, _MOST_SCANNED / (before.everybodys * read / pieces + now.everybodys))
    starts = [reference[1] - width * (pieces - at * pieces // read) for at in range(read)]
    parts = [_part(start, width, time, number) for number, start in enumerate([*starts, current[0]])]
    return (
        _sampling(tuple(parts[:-1]), time * read / pieces, before.mine),
        _sampling((parts[-1],), time, now.mine),
    )


def spread(connection: sa.Connection, experiment: str, span: Span) -> Sampling:
    """How much of a time to read for counts: all of it, or parts that are spread over it."""
    counted = _counted(connection, experiment, span)
    time = min(1.0, _MOST_SCANNED / max(counted.everybodys, 1))
    width = (span[1] - span[0]) / _PIECES
    parts = (span,) if time >= 1 else tuple(_part(span[0] + width * at, width, time, at) for at in range(_PIECES))
    return Sampling(parts=parts, units=_ALL_UNITS, share=time)


def contexts(connection: sa.Connection, experiment: str, sampling: Sampling) -> list[sa.RowMapping]:
    """Moment, unit, arm, context as JSON, mean of the list's scores, and whether the arm's present version gave it."""
    return _rows(connection, _CONTEXTS, sampling, {"experiment": experiment})


def rewards(connection: sa.Connection, experiment: str, sampling: Sampling, *, metric: str) -> list[sa.RowMapping]:
    """Moment, unit, arm and outcome (null: no feedback) of exposures that the arm's present version learns from."""
    return _rows(connection, _REWARDS, sampling, {"experiment": experiment, "metric": metric})


def over(
    connection: sa.Connection, query: sa.TextClause, sampling: Sampling, values: Mapping[str, Any]
) -> Iterator[sa.RowMapping]:
    """The rows of a query over each part of a sample: `:first`, `:end` and `:units` are set."""
    connection.execute(_JOIN_IN_ORDER)
    for since, until in sampling.parts:
        span = {"first": str(first_id_at(since)), "end": str(first_id_at(until)), "units": sampling.units}
        yield from connection.execute(query, {**values, **span}).mappings()


def _rows(
    connection: sa.Connection, query: sa.TextClause, sampling: Sampling, values: Mapping[str, Any]
) -> list[sa.RowMapping]:
    """Rows in the order of ids; a few more than planned at most, should few units make most of them."""
    return list(islice(over(connection, query, sampling, {**values, "most": _ROOM}), _ROOM))


def _counted(connection: sa.Connection, experiment: str, span: Span) -> sa.Row[Any]:
    return connection.execute(_TRAFFIC, {"experiment": experiment, "since": span[0], "until": span[1]}).one()


def _sampling(parts: tuple[Span, ...], time: float, decisions: int) -> Sampling:
    units = min(1.0, _MOST_ROWS / max(decisions * time, 1))
    return Sampling(parts=parts, units=round(units * _ALL_UNITS), share=time * units)


def _part(start: datetime, width: timedelta, share: float, number: int) -> Span:
    """A share of a piece of time, at a place that depends on the piece's number."""
    begin = start + width * (number * _GOLDEN % 1 * (1 - share))
    return begin, begin + width * share
