"""The newest figures of quality as metrics, for whoever watches them."""

import math
from datetime import timedelta
from typing import Final

from app.batch.windows import DAY_S
from app.store import experiments, metric_values
from app.store.database import Connection, Database
from app.store.metric_values import Level, MetricValue
from monitoring.instruments import QUALITY
from monitoring.meter import Meter

__all__ = ["GAUGED", "GAUGED_K", "Gauges"]

# A fixed list, so that series stay few: some 20 for each arm. Names are of one level each.
GAUGED: Final[dict[str, Level]] = {
    **dict.fromkeys(
        ("value_per_decision", "reward_rate", "feedback_coverage", "hit_rate", "reciprocal_rank", "fallback_share",
         "empty_share", "exploration_share", "repeat_share"),
        "online",
    ),
    **dict.fromkeys(
        ("recall", "average_precision", "ndcg", "novelty", "intra_list_diversity", "serendipity", "coverage",
         "personalization", "average_popularity", "gini", "long_tail_share"),
        "offline",
    ),
}  # fmt: skip
GAUGED_K: Final = 10  # of those that have a cut-off

_Labels = tuple[str, ...]


class Gauges:
    """Notes the figures of the newest day that is done, of each experiment that runs."""

    def __init__(self, database: Database, meter: Meter) -> None:
        self._database = database
        self._meter = meter
        self._noted: set[_Labels] = set()

    def note(self) -> None:
        """Notes them; what the newest day does not have any more is nan, so that no old figure stays.

        Raises:
            Unavailable: the database is away.
        """
        found = self._read()
        for labels in self._noted | found.keys():
            self._meter.add(QUALITY, labels, found.get(labels, math.nan))
        self._noted = set(found)

    def _read(self) -> dict[_Labels, float]:
        with self._database.transaction() as connection:
            newest = [value for key in experiments.running(connection) for value in _newest(connection, key)]
        return {
            (value.experiment, value.metric, value.arm): value.value
            for value in newest
            if value.level == GAUGED[value.metric] and value.k in {0, GAUGED_K} and value.value is not None
        }


def _newest(connection: Connection, key: str) -> list[MetricValue]:
    start = metric_values.last_window(connection, key, "online", DAY_S)
    if start is None:
        return []
    end = start + timedelta(seconds=DAY_S)
    return metric_values.read(connection, key, since=start, until=end, metrics=tuple(GAUGED), window_s=DAY_S)
