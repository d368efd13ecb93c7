"""Reads the sums that honest figures are made of: per configuration epoch and arm, over what was drawn anew."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from app.store.scores import COLUMNS, CONTRACTS, SCORED

__all__ = ["EpochSums", "epoch_sums"]


@dataclass(frozen=True, kw_only=True)
class EpochSums:
    """What is known of an arm from one epoch. Of sticky units only the first choice in the epoch is in it."""

    epoch: int
    arm: str
    is_current: bool  # the arm's present version learns from this epoch
    control: str | None  # of the epoch; None: it began before outcomes were counted by allocation
    chosen: float  # decisions for which the policy chose the arm
    expected: float  # Σp over all decisions that were the policy's choice
    variance: float  # Σp(1−p)
    exposures: float  # that count
    observed: float  # outcomes that feedback was given for
    sum: float
    sum_of_squares: float
    eligible: float  # outcomes of all arms while this one could be chosen
    score: float  # Σξ, see app/store/scores.py
    score_squares: float
    paired: float  # outcomes of all arms while both this one and the control could be chosen
    contrast: float  # Σ(ξ − ξ_control)
    contrast_squares: float


_SUMS = ("chosen", "expected", "variance", "exposures", "observed", "sum", "sum_of_squares", *COLUMNS)


def _union(*parts: Mapping[str, str]) -> str:
    """`UNION ALL` of relations; each gives its `source` and what it has of the sums, and 0 for the others."""
    return " UNION ALL ".join(
        f"SELECT epoch, arm, {', '.join(f'{part.get(name, 0)}::float8' for name in _SUMS)} FROM {part['source']}"
        for part in parts
    )


_SCORES = {name: name for name in COLUMNS}

# Rows of allocation 0 have been folded; of the others probabilities and means are still those of their allocation.
_EPOCH_SUMS = sa.text(f"""
WITH contracts AS ({CONTRACTS}
), current AS (
    SELECT key AS arm, since_epoch FROM arms WHERE experiment = :experiment
), counted AS (
    SELECT epoch, allocation, arm, sum(chosen)::float8 AS chosen, sum(expected) AS expected, sum(variance) AS variance,
           coalesce(sum(exposures) FILTER (WHERE bucket <= :until), 0)::float8 AS exposures,
           {", ".join(f"coalesce(sum({name}) FILTER (WHERE bucket <= :until), 0) AS {name}" for name in COLUMNS)}
    FROM decision_counts
    WHERE experiment = :experiment AND NOT repeated AND epoch >= (SELECT min(since_epoch) FROM current)
    GROUP BY epoch, allocation, arm
), rewarded AS (
    SELECT epoch, allocation, arm, sum(n)::float8 AS observed, sum(sum) AS sum, sum(sum_of_squares) AS sum_of_squares,
           {", ".join(f"sum({name}) AS {name}" for name in COLUMNS)}
    FROM arm_statistics
    WHERE experiment = :experiment AND metric = :metric AND NOT repeated AND bucket <= :until
      AND epoch >= (SELECT min(since_epoch) FROM current)
    GROUP BY epoch, allocation, arm
), parts AS (
    SELECT epoch, allocation, arm, exposures * fills AS silent, 0::float8 AS n, 0::float8 AS sum,
           0::float8 AS sum_of_squares
    FROM counted JOIN contracts USING (epoch) WHERE allocation <> 0
    UNION ALL
    SELECT epoch, allocation, arm, -fills * observed, observed, sum, sum_of_squares
    FROM rewarded JOIN contracts USING (epoch) WHERE allocation <> 0
), cells AS (
    SELECT epoch, allocation, 0 AS at, arm, sum(silent) AS silent, sum(n) AS n, sum(sum) AS sum,
           sum(sum_of_squares) AS sum_of_squares
    FROM parts GROUP BY epoch, allocation, arm
), {SCORED}, drawn AS (
    SELECT epoch, allocation, sum(chosen) AS n FROM counted WHERE allocation <> 0 GROUP BY epoch, allocation
), dealing AS (
    SELECT d.epoch, p.key AS arm, d.n * p.value::float8 AS expected,
           d.n * p.value::float8 * (1 - p.value::float8) AS variance
    FROM drawn d JOIN allocations a ON a.experiment = :experiment AND a.number = d.allocation,
        jsonb_each(a.probabilities) p
), together (epoch, arm, {", ".join(_SUMS)}) AS ({
    _union(
        {
            "source": "counted",
            "chosen": "chosen",
            "exposures": "exposures",
            "expected": "expected",
            "variance": "variance",
            **_SCORES,
        },
        {"source": "rewarded", "observed": "observed", "sum": "sum", "sum_of_squares": "sum_of_squares", **_SCORES},
        {"source": "scored", **_SCORES},
        {"source": "dealing", "expected": "expected", "variance": "variance"},
    )
})
SELECT epoch, arm, epoch >= since_epoch AS is_current, control, {", ".join(f"sum({name}) AS {name}" for name in _SUMS)}
FROM together JOIN current USING (arm) JOIN contracts USING (epoch)
GROUP BY epoch, arm, since_epoch, control ORDER BY epoch, arm
""")


def epoch_sums(connection: sa.Connection, experiment: str, metric: str, until: datetime | None) -> list[EpochSums]:
    """The sums of all epochs that some arm's present version learns from.

    Args:
        connection: where to read.
        experiment: its key.
        metric: the reward's.
        until: exposures and outcomes of buckets that start then or earlier; None: of all.
    """
    parameters: dict[str, Any] = {"experiment": experiment, "metric": metric, "until": until or "infinity"}
    return [EpochSums(**row) for row in connection.execute(_EPOCH_SUMS, parameters).mappings()]
