"""Outcomes of several metrics side by side: by arm and UTC day from the statistics, by unit from the log."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.ids import first_id_at
from app.store.slices import ID_MARGIN, newest_first

__all__ = ["CellSums", "OutcomeWindow", "UnitSums", "cell_sums", "unit_sums"]

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]

_DAY = timedelta(days=1)
_HASHES = 2.0**64
_FIRST_HASH, _LAST_HASH = -(2**63), 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class OutcomeWindow:
    """Exposures that count, of arms as they are now, whose attribution window has passed."""

    experiment: str
    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    since: datetime  # midnight, UTC
    until: datetime  # midnight, UTC
    mature_bucket: datetime  # only exposures of buckets that start no later

    @property
    def n_days(self) -> int:
        """How many days it has."""
        return (self.until - self.since) // _DAY


@dataclass(frozen=True, kw_only=True, eq=False)
class CellSums:
    """What is counted by arm and day.

    Attributes:
        exposures: shape (n_arms, n_days).
        observed: of them, those with an outcome, shape (n_metrics, n_arms, n_days).
        sums: of the outcomes, shape (n_metrics, n_arms, n_days).
    """

    exposures: Counts
    observed: Counts
    sums: Sums


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitSums:
    """What came of a sample of units: those with the least hashes, each with all its decisions that were read.

    Attributes:
        decisions: that count, of each unit, shape (n_units,).
        observed: of them, those with an outcome, shape (n_metrics, n_units).
        sums: of the outcomes, shape (n_metrics, n_units).
        share: part of all units that is in the sample, about; 1: all are.
        read_from: decisions that were made earlier were not read.
    """

    decisions: Counts
    observed: Counts
    sums: Sums
    share: float
    read_from: datetime


# The day of a bucket is that of its start: the buckets that compaction makes are never wider.
_CELLS = sa.text("""
WITH counted AS (
    SELECT a.key AS arm, floor(extract(epoch FROM c.bucket - :since) / 86400)::bigint AS day,
           sum(c.exposures)::bigint AS n
    FROM arms a JOIN decision_counts c ON c.experiment = a.experiment AND c.arm = a.key AND c.epoch >= a.since_epoch
    WHERE a.experiment = :experiment AND a.key = ANY(:arms)
      AND c.bucket >= :since AND c.bucket < :until AND c.bucket <= :mature_bucket
    GROUP BY 1, 2
), rewarded AS (
    SELECT a.key AS arm, floor(extract(epoch FROM s.bucket - :since) / 86400)::bigint AS day, s.metric,
           sum(s.n)::bigint AS n, sum(s.sum)::float8 AS sum
    FROM arms a JOIN arm_statistics s ON s.experiment = a.experiment AND s.arm = a.key AND s.epoch >= a.since_epoch
    WHERE a.experiment = :experiment AND a.key = ANY(:arms) AND s.metric = ANY(:metrics)
      AND s.bucket >= :since AND s.bucket < :until AND s.bucket <= :mature_bucket
    GROUP BY 1, 2, 3
), numbered AS (
    SELECT array_position(CAST(:metrics AS text[]), metric) - 1 AS metric,
           array_position(CAST(:arms AS text[]), arm) - 1 AS arm, day, n, sum FROM rewarded
    UNION ALL
    SELECT -1, array_position(CAST(:arms AS text[]), arm) - 1, day, n, 0 FROM counted
)
SELECT string_agg(int8send(metric) || int8send(arm) || int8send(day) || int8send(n), '') AS counts,
       string_agg(float8send(sum), '') AS sums
FROM (SELECT * FROM numbered ORDER BY metric, arm, day) ordered
""")

# The ranges of ids are written into the statement by the driver, so partitions are pruned when it is planned.
_UNITS = sa.text("""
WITH decided AS MATERIALIZED (
    SELECT hashtextextended(d.unit, 0) AS unit, d.decision_id
    FROM decisions d JOIN arms a ON a.experiment = d.experiment AND a.key = d.arm AND d.epoch >= a.since_epoch
    LEFT JOIN exposures x ON x.decision_id = d.decision_id AND x.decision_id >= :first AND x.decision_id < :end
    WHERE d.experiment = :experiment AND d.decision_id >= :first AND d.decision_id < :end
      AND d.decided_at >= :since AND d.decided_at < :until AND d.arm = ANY(:arms) AND d.learnable
      AND CASE WHEN d.awaits_confirmation THEN x.bucket ELSE d.bucket END <= :mature_bucket
      AND hashtextextended(d.unit, 0) <= :greatest
), units AS MATERIALIZED (
    SELECT unit, count(*) AS n FROM decided GROUP BY unit ORDER BY unit LIMIT :most
), rewarded AS (
    SELECT unit, array_position(CAST(:metrics AS text[]), o.metric) - 1 AS metric, count(*) AS n, sum(o.value) AS sum
    FROM units JOIN decided USING (unit)
    JOIN outcomes o ON o.decision_id = decided.decision_id AND o.decision_id >= :first AND o.decision_id < :end
    WHERE o.metric = ANY(:metrics) GROUP BY unit, o.metric
)
SELECT units.rows AS units, rewarded.counts, rewarded.sums
FROM (SELECT string_agg(int8send(unit) || int8send(n), '' ORDER BY unit) AS rows FROM units) units,
     (SELECT string_agg(int8send(unit) || int8send(metric) || int8send(n), '' ORDER BY unit, metric) AS counts,
             string_agg(float8send(sum), '' ORDER BY unit, metric) AS sums FROM rewarded) rewarded
""")
# Of a fresh day PostgreSQL knows no statistics, guesses few rows, and would compare each decision with each outcome.
_JOIN_IN_ORDER = sa.text("SET LOCAL enable_nestloop = off")


def cell_sums(connection: sa.Connection, window: OutcomeWindow) -> CellSums:
    """What is counted by arm and day. The cost does not grow with the log."""
    row = connection.execute(_CELLS, _parameters(window)).one()
    metric, arm, day, n = _counts(row.counts, 4)
    n_metrics, shape = len(window.metrics), (len(window.arms), window.n_days)
    exposures, observed = np.zeros(shape, np.int64), np.zeros((n_metrics, *shape), np.int64)
    sums = np.zeros((n_metrics, *shape))
    is_count = metric < 0
    exposures[arm[is_count], day[is_count]] = n[is_count]
    cells = metric[~is_count], arm[~is_count], day[~is_count]
    observed[cells], sums[cells] = n[~is_count], _floats(row.sums)[~is_count]
    return CellSums(exposures=exposures, observed=observed, sums=sums)


def unit_sums(connection: sa.Connection, window: OutcomeWindow, *, most: int, patience_s: float) -> UnitSums:
    """What came of units, of decisions that were made in the window.

    Args:
        connection: where to read.
        window: which decisions count.
        most: units at most. Which ones depends on a hash of theirs alone, so they are the same at each look.
        patience_s: no slice of time is begun after so long; the newest come first.
    """
    connection.execute(_JOIN_IN_ORDER)
    known = _Units.none(len(window.metrics))
    read_from, first = window.until + ID_MARGIN, window.since - ID_MARGIN
    for start, end in newest_first(first, read_from, patience_s=patience_s):
        ids = {"first": str(first_id_at(start)), "end": str(first_id_at(end))}
        sample = {"greatest": known.greatest, "most": most}
        row = connection.execute(_UNITS, _parameters(window) | ids | sample).one()
        known = known.merged(_Units.of(row, len(window.metrics), most), most)
        read_from = start
    share = 1.0 if known.greatest == _LAST_HASH else (known.greatest - _FIRST_HASH) / _HASHES
    return UnitSums(
        decisions=known.decisions,
        observed=known.observed,
        sums=known.sums,
        share=share,
        read_from=max(window.since, min(read_from, window.until)),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Units:
    """All units with decisions in what was read whose hash is at most `greatest`, in the order of their hashes."""

    hashes: Counts
    decisions: Counts
    observed: Counts
    sums: Sums
    greatest: int

    @classmethod
    def none(cls, n_metrics: int) -> "_Units":
        empty = np.empty(0, np.int64)
        table = np.empty((n_metrics, 0))
        return cls(hashes=empty, decisions=empty, observed=table.astype(np.int64), sums=table, greatest=_LAST_HASH)

    @classmethod
    def of(cls, row: sa.Row[Any], n_metrics: int, most: int) -> "_Units":
        hashes, decisions = _counts(row.units, 2)
        unit, metric, n = _counts(row.counts, 3)
        cells = metric, np.searchsorted(hashes, unit)
        observed, sums = np.zeros((n_metrics, hashes.size), np.int64), np.zeros((n_metrics, hashes.size))
        observed[cells], sums[cells] = n, _floats(row.sums)
        greatest = int(hashes[-1]) if hashes.size == most else _LAST_HASH
        return cls(hashes=hashes, decisions=decisions, observed=observed, sums=sums, greatest=greatest)

    def merged(self, other: "_Units", most: int) -> "_Units":
        """Both added up, cut to the `most` least hashes: what is beyond may have been left out of either."""
        hashes, at = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        greatest = min(self.greatest, other.greatest)
        kept = min(most, int(np.searchsorted(hashes, greatest, side="right")))
        if kept < hashes.size:
            greatest = int(hashes[kept - 1])
        mine, theirs = at[: self.hashes.size], at[self.hashes.size :]

        def added(own: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[Any]:
            total = np.zeros((*own.shape[:-1], hashes.size), own.dtype)
            total[..., mine] = own
            total[..., theirs] += others
            return total[..., :kept]

        return _Units(
            hashes=hashes[:kept],
            decisions=added(self.decisions, other.decisions),
            observed=added(self.observed, other.observed),
            sums=added(self.sums, other.sums),
            greatest=greatest,
        )


def _parameters(window: OutcomeWindow) -> dict[str, Any]:
    return {
        "experiment": window.experiment,
        "arms": list(window.arms),
        "metrics": list(window.metrics),
        "since": window.since,
        "until": window.until,
        "mature_bucket": window.mature_bucket,
    }


def _counts(data: memoryview | None, width: int) -> Counts:
    """Columns of whole numbers, shape (width, n), from rows as PostgreSQL sends them."""
    rows = np.frombuffer(bytes(data or b""), ">i8").astype(np.int64)
    columns: Counts = rows.reshape(-1, width).T
    return columns


def _floats(data: memoryview | None) -> Sums:
    return np.frombuffer(bytes(data or b""), ">f8").astype(np.float64)
