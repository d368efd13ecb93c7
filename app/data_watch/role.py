"""The part of the monitor that watches data, window by closed window. One is active, others stand by. Loads scipy."""

import logging
import threading
from datetime import UTC, datetime

from app.data_watch.drift import drift_pass
from app.data_watch.quality import quality_pass
from app.data_watch.sample import read_sample
from app.data_watch.windows import Widths, Window, due
from app.errors import Unavailable
from app.roles import run_as_only_one
from app.store import drift_results, experiments, metric_values
from app.store.database import Database
from app.store.experiments import Experiment
from monitoring.instruments import DRIFT_SCORE
from monitoring.meter import Meter

__all__ = ["run", "watch_all"]

log = logging.getLogger(__name__)

_DATA_LOCK = 0x64617461
_LONGEST_REST_S = 15.0


def run(database: Database, *, widths: Widths, stop: threading.Event, meter: Meter) -> None:
    """Looks for windows that have closed until `stop` is set."""

    def work() -> None:
        watch_all(database, datetime.now(UTC), widths, meter)

    interval_s = min(_LONGEST_REST_S, widths.window_s / 10)
    run_as_only_one(database, _DATA_LOCK, work, interval_s=interval_s, stop=stop)


def watch_all(database: Database, now: datetime, widths: Widths, meter: Meter) -> int:
    """Goes over the windows that are due of every running experiment; returns how many passes were stored.

    Raises:
        Unavailable: the database is away.
    """
    with database.transaction() as connection:
        known = [experiment for experiment in experiments.all_of(connection) if experiment.state == "running"]
    passes = 0
    for experiment in known:
        try:
            passes += _watch(database, experiment, now, widths, meter)
        except Unavailable:
            raise
        except Exception:  # one experiment must not keep the others' data from being watched
            log.exception("cannot watch the data", extra={"experiment": experiment.key})
    return passes


def _watch(database: Database, experiment: Experiment, now: datetime, widths: Widths, meter: Meter) -> int:
    with database.transaction() as connection:
        last = drift_results.last_window(connection, experiment.key, widths.window_s)
    windows = list(due(now, last, widths))
    for window in windows:
        _watch_window(database, experiment, window, meter)
    return len(windows)


def _watch_window(database: Database, experiment: Experiment, window: Window, meter: Meter) -> None:
    """One pass, in one transaction: a window has all of its results or none."""
    with database.transaction(snapshot=True) as connection:
        sample = read_sample(connection, experiment, window)
        results = drift_pass(connection, sample)
        drift_results.replace(connection, results)
        metric_values.put(connection, quality_pass(connection, sample))
    for result in results:
        if result.score is not None:
            meter.add(DRIFT_SCORE, (experiment.key, result.feature or "dataset"), result.score)
