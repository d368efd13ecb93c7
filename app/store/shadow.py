"""Reads what a shadow policy is judged by: its decisions beside the live ones, and both policies' probabilities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.ids import first_id_at
from app.store.slices import ID_MARGIN

__all__ = ["ShadowQuestion", "ShadowedDecisions", "declared_since", "probabilities", "shadowed_decisions"]


@dataclass(frozen=True, kw_only=True)
class ShadowQuestion:
    """Which decisions are asked for.

    Attributes:
        experiment: its key.
        metric: whose outcomes to read.
        arms: keys of all arms that the experiment ever had.
        first_allocation: number of the oldest one.
        decided_since: only decisions made then or later.
        since_epoch: the oldest epoch.
        since: only exposures from buckets that start then or later; None: all.
        mature_bucket: start of the last bucket that is mature.
    """

    experiment: str
    metric: str
    arms: tuple[str, ...]
    first_allocation: int
    decided_since: datetime
    since_epoch: int
    since: datetime | None
    mature_bucket: datetime


@dataclass(frozen=True, kw_only=True, eq=False)
class ShadowedDecisions:
    """Decisions that count and are mature, oldest first; arrays of shape (n,). Arms are indices of those asked for."""

    allocation: npt.NDArray[np.intp]
    live: npt.NDArray[np.intp]
    shadow: npt.NDArray[np.intp]
    propensity: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64]  # the metric's outcome; nan where there is none


# The last allocation of another shadow, and when the first one after it was made.
_DECLARED_SINCE = sa.text("""
WITH mine AS (
    SELECT number, created_at, shadow -> 'declared' IS DISTINCT FROM CAST(:declared AS jsonb) AS other
    FROM allocations WHERE experiment = :experiment
), last_other AS (
    SELECT coalesce(max(number), 0) AS number FROM mine WHERE other
)
SELECT number, created_at FROM mine WHERE number > (SELECT number FROM last_other) ORDER BY number LIMIT 1
""")

# An exposure is of its decision's bucket, or of its confirmation's where the decision had to wait for one.
_DECISIONS = sa.text("""
WITH log AS (
    SELECT d.decision_id, d.allocation, d.arm, d.shadow_arm, d.propensity
    FROM decisions d LEFT JOIN exposures x ON x.decision_id = d.decision_id AND d.awaits_confirmation
    WHERE d.decision_id >= :first_id AND d.experiment = :experiment AND d.learnable AND d.shadow_arm IS NOT NULL
        AND d.allocation >= :first_allocation AND d.epoch >= :since_epoch
        AND CASE WHEN d.awaits_confirmation THEN x.bucket ELSE d.bucket END BETWEEN :since AND :mature_bucket
    ORDER BY d.decision_id DESC LIMIT :limit
)
SELECT allocation, array_position(CAST(:arms AS text[]), arm) - 1,
       array_position(CAST(:arms AS text[]), shadow_arm) - 1, propensity, o.value
FROM log LEFT JOIN outcomes o ON o.decision_id = log.decision_id AND o.metric = :metric
    AND o.decision_id >= :first_id
ORDER BY log.decision_id
""")

_PROBABILITIES = sa.text("""
SELECT a.number,
       ARRAY(SELECT coalesce((a.probabilities ->> arm)::float8, 0) FROM unnest(CAST(:arms AS text[])) arm),
       ARRAY(SELECT coalesce((a.shadow -> 'probabilities' ->> arm)::float8, 0) FROM unnest(CAST(:arms AS text[])) arm)
FROM allocations a WHERE a.experiment = :experiment AND a.number = ANY(:numbers) AND a.shadow IS NOT NULL
ORDER BY a.number
""")

_PIECE = 5_000


def declared_since(connection: sa.Connection, experiment: str, declared: Any) -> tuple[int, datetime] | None:  # noqa: ANN401 - JSON
    """Number and moment of the allocation from which on the shadow has been as it is declared now; None: of none."""
    parameters = {"experiment": experiment, "declared": msgspec.json.encode(declared).decode()}
    row = connection.execute(_DECLARED_SINCE, parameters).first()
    return None if row is None else (row[0], row[1])


def shadowed_decisions(connection: sa.Connection, question: ShadowQuestion, limit: int) -> ShadowedDecisions:
    """The newest decisions that had a shadow, at most `limit`."""
    oldest = question.decided_since - ID_MARGIN
    parameters = {
        "experiment": question.experiment,
        "metric": question.metric,
        "arms": list(question.arms),
        "first_allocation": question.first_allocation,
        "first_id": first_id_at(oldest),
        "since_epoch": question.since_epoch,
        "since": question.since or oldest,
        "mature_bucket": question.mature_bucket,
        "limit": limit,
    }
    pieces = (
        np.array([tuple(row) for row in piece], dtype=np.float64)
        for piece in _streamed(connection, _DECISIONS, parameters)
    )
    columns = np.concatenate([np.empty((0, 5)), *pieces]).T
    allocation, live, shadow = columns[:3].astype(np.intp)
    return ShadowedDecisions(allocation=allocation, live=live, shadow=shadow, propensity=columns[3], value=columns[4])


def probabilities(
    connection: sa.Connection, experiment: str, numbers: npt.NDArray[np.intp], arms: Sequence[str]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The live and the shadow policy's probabilities in some allocations.

    Returns:
        Those of the numbers that are found, ascending, shape (m,), and the two tables, shape (m, n_arms) each.
    """
    found: list[int] = []
    both = np.empty((2, numbers.size, len(arms)))
    parameters = {"experiment": experiment, "numbers": numbers.tolist(), "arms": list(arms)}
    for piece in _streamed(connection, _PROBABILITIES, parameters):
        for row in piece:
            both[:, len(found)] = row[1], row[2]
            found.append(row[0])
    return np.array(found, dtype=np.intp), both[0, : len(found)], both[1, : len(found)]


def _streamed(
    connection: sa.Connection, query: sa.TextClause, parameters: dict[str, Any]
) -> Iterator[Sequence[sa.Row[*tuple[Any, ...]]]]:
    """The result in pieces: between them a web worker answers others."""
    options = {"yield_per": _PIECE}
    yield from connection.execute(query, parameters, execution_options=options).partitions()
