"""Decisions with what came of them: the log that off-policy evaluation and researchers read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.ids import first_id_at
from app.store.database import cursor_of
from app.store.slices import ID_MARGIN, newest_first

__all__ = ["LoggedRows", "Question", "id_bounds", "in_pieces", "newest", "stream", "stream_counted"]

_PIECE = 10_000


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which decisions of an experiment are asked for, and when one of them counts.

    A decision counts when the policy learns from it: from epoch `epoch` on, learnable, exposed, and in a bucket that
    starts no later than `mature_bucket`. The reward is its outcome, or `default` if nothing came; where `default` is
    None it counts only with an outcome.
    """

    experiment: str
    metric: str
    default: float | None
    epoch: int
    mature_bucket: datetime
    since: datetime  # decisions made then or later
    until: datetime  # decisions made before


@dataclass(frozen=True, kw_only=True, eq=False)
class LoggedRows:
    """n decisions that count, in the order of their ids.

    Attributes:
        action: index of the chosen arm, shape (n,).
        propensity: shape (n,).
        reward: shape (n,).
        oldest: when the first of them was made; None without rows.
        cut: whether there may be older ones that were not read.
    """

    action: npt.NDArray[np.intp]
    propensity: npt.NDArray[np.float64]
    reward: npt.NDArray[np.float64]
    oldest: datetime | None
    cut: bool


# The ranges of ids are written into the statement by the driver, so partitions are pruned when it is planned.
_DECIDED = """
    SELECT d.*, o.value AS outcome,
           coalesce(CASE WHEN d.awaits_confirmation THEN x.bucket ELSE d.bucket END <= :mature_bucket, false) AS mature
    FROM decisions d
    LEFT JOIN exposures x
        ON x.decision_id = d.decision_id AND x.decision_id >= :first AND x.decision_id < :end
    LEFT JOIN outcomes o
        ON o.decision_id = d.decision_id AND o.decision_id >= :first AND o.decision_id < :end
        AND o.metric = :metric
    WHERE d.experiment = :experiment AND d.decision_id >= :first AND d.decision_id < :end
        AND d.decided_at >= :since AND d.decided_at < :until
"""
_ROWS = f"""
WITH decided AS ({_DECIDED}), rows AS (
    SELECT *, CASE WHEN mature THEN coalesce(outcome, CAST(:default AS float8)) END AS reward,
           learnable AND mature AND epoch >= :epoch AND (outcome IS NOT NULL OR CAST(:default AS float8) IS NOT NULL)
               AS counts
    FROM decided
)
"""
# Columns come as the bytes of numpy's arrays: a row at a time, half a million would hold up other requests for seconds.
_NEWEST = sa.text(
    _ROWS
    + """
SELECT count(*) AS n, min(decided_at) AS oldest,
       string_agg(int4send(array_position(CAST(:arms AS text[]), arm) - 1), '' ORDER BY decision_id DESC) AS action,
       string_agg(float8send(propensity), '' ORDER BY decision_id DESC) AS propensity,
       string_agg(float8send(reward), '' ORDER BY decision_id DESC) AS reward
FROM (SELECT * FROM rows WHERE counts ORDER BY decision_id DESC LIMIT :room) newest
"""
)
_COUNTED = sa.text(_ROWS + "SELECT arm, propensity, reward, decided_at FROM rows WHERE counts ORDER BY decision_id")
_EVERYTHING = sa.text(
    _ROWS
    + """
SELECT decision_id::text AS decision_id, decided_at, unit, context::text AS context, arm, served_arm, propensity,
       allocation, epoch, reason, learnable, items, mature, counts, reward
FROM rows ORDER BY decision_id
"""
)
# Of a fresh day PostgreSQL knows no statistics, guesses few rows, and would compare each decision with each outcome.
_JOIN_IN_ORDER = sa.text("SET LOCAL enable_nestloop = off")
# The ids stand in the statement itself, so that the planner opens only the partitions that can hold them.
_OUTCOMES = """
SELECT decision_id::text, metric, value FROM outcomes WHERE decision_id = ANY('{{{ids}}}'::uuid[])
"""


def newest(
    connection: sa.Connection, question: Question, arms: Sequence[str], *, most: int, patience_s: float
) -> LoggedRows:
    """The newest decisions that count.

    Args:
        connection: where to read.
        question: which ones.
        arms: keys of all arms that the experiment ever had.
        most: how many at most.
        patience_s: no slice is begun after so long; what was found by then is the answer.
    """
    connection.execute(_JOIN_IN_ORDER)
    pieces: list[sa.Row[Any]] = []
    found, first, read_from = 0, question.since - ID_MARGIN, question.until + ID_MARGIN
    for start, end in newest_first(first, read_from, patience_s=patience_s):
        values = _parameters(question, start, end) | {"arms": list(arms), "room": most - found}
        piece = connection.execute(_NEWEST, values).one()
        pieces += [piece] * (piece.n > 0)
        found += piece.n
        read_from = start
        if found == most:
            break
    return _joined(pieces, cut=read_from > first or found == most)


def stream(
    connection: sa.Connection, question: Question, *, size: int = _PIECE
) -> Iterator[Sequence[Mapping[str, Any]]]:
    """All decisions, whether or not they count, in the order of their ids, in pieces of `size`.

    Each has its `outcomes`, by metric.
    """
    for piece in _pieces(connection, _EVERYTHING, question, size):
        outcomes = _outcomes_of(connection, [row["decision_id"] for row in piece])
        yield [{**row, "outcomes": outcomes.get(row["decision_id"], {})} for row in piece]


def stream_counted(
    connection: sa.Connection, question: Question, *, size: int = _PIECE
) -> Iterator[Sequence[sa.RowMapping]]:
    """Arm, propensity, reward and moment of the decisions that count, in the order of their ids, in pieces."""
    yield from _pieces(connection, _COUNTED, question, size)


def in_pieces(
    connection: sa.Connection, query: sa.TextClause, values: Mapping[str, Any], *, size: int = _PIECE
) -> Iterator[Sequence[sa.Row[Any]]]:
    """What a query about the log finds, by a cursor of the server's: memory holds one piece of `size` rows."""
    # Between two rows of a quiet experiment may lie many of others. Nobody else waits for this connection.
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    connection.execute(_JOIN_IN_ORDER)
    options = {"stream_results": True, "yield_per": size}
    yield from connection.execute(query, values, execution_options=options).partitions(size)


def id_bounds(since: datetime, until: datetime) -> dict[str, str]:
    """The least id that a decision of a time may have, `first`, and that which all its ids are below, `end`."""
    return {"first": str(first_id_at(since - ID_MARGIN)), "end": str(first_id_at(until + ID_MARGIN))}


def _pieces(
    connection: sa.Connection, query: sa.TextClause, question: Question, size: int
) -> Iterator[Sequence[sa.RowMapping]]:
    values = _parameters(question, question.since - ID_MARGIN, question.until + ID_MARGIN)
    for piece in in_pieces(connection, query, values, size=size):
        yield [row._mapping for row in piece]  # noqa: SLF001 - SQLAlchemy's public name


def _outcomes_of(connection: sa.Connection, ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """The outcomes of decisions, by id and metric; decisions without any are left out."""
    found: dict[str, dict[str, float]] = {}
    with cursor_of(connection) as cursor:
        cursor.execute(_OUTCOMES.format(ids=",".join(ids)))
        for decision_id, metric, value in cursor:
            found.setdefault(decision_id, {})[metric] = value
    return found


def _parameters(question: Question, start: datetime, end: datetime) -> dict[str, Any]:
    return {
        "experiment": question.experiment,
        "metric": question.metric,
        "default": question.default,
        "epoch": question.epoch,
        "mature_bucket": question.mature_bucket,
        "since": question.since,
        "until": question.until,
        "first": str(first_id_at(start)),
        "end": str(first_id_at(end)),
    }


def _joined(pieces: Sequence[sa.Row[Any]], *, cut: bool) -> LoggedRows:
    """The pieces in the order of ids, the oldest first."""

    def column(name: str, kind: str) -> npt.NDArray[Any]:
        return np.frombuffer(b"".join(bytes(getattr(piece, name)) for piece in pieces), kind)[::-1]

    return LoggedRows(
        action=column("action", ">i4").astype(np.intp),  # PostgreSQL sends the most significant byte first
        propensity=column("propensity", ">f8").astype(np.float64),
        reward=column("reward", ">f8").astype(np.float64),
        oldest=min((piece.oldest for piece in pieces), default=None),
        cut=cut,
    )
