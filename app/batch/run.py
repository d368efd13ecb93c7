"""Works out windows, one at a time, and keeps their figures in the place of earlier ones."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from msgspec import Struct

from app.batch.measuring import DONE, Goods, Measuring
from app.batch.windows import Wanted, due_windows
from app.errors import NotFound, Unavailable
from app.recommenders import Catalogue
from app.store import experiments, items, metric_values, partitions
from app.store.database import Database
from app.store.experiments import Experiment

__all__ = ["KS", "BatchOptions", "Interrupted", "Watch", "WorkedOut", "batch"]

log = logging.getLogger(__name__)

KS: Final = (1, 5, 10)
# A window of more decisions is judged by a share of its units, so that memory stays bounded.
MOST_DECISIONS: Final = 1_000_000


class BatchOptions(Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        wanted: which windows.
        ks: cut-offs of lists.
        most_decisions: a window of more is judged by a share of its units.
    """

    wanted: Wanted = Wanted()
    ks: tuple[int, ...] = KS
    most_decisions: int = MOST_DECISIONS


class WorkedOut(Struct, frozen=True, kw_only=True):
    """A window that is done: how many decisions it has, and how many figures it got."""

    experiment: str
    start: datetime
    decisions: int
    figures: int


class Interrupted(Exception):
    """What a `Watch` raises to end a batch; the window at hand stays as it was."""


class Watch(Protocol):
    """Who looks on."""

    def begin(self, windows: int) -> None:
        """So many windows are due."""

    def read(self, decisions: int) -> None:
        """So many decisions more were read."""

    def finish(self, done: WorkedOut) -> None:
        """A window is done."""


def batch(
    database: Database, options: BatchOptions, watch: Watch, now: datetime, *, keys: Sequence[str] = ()
) -> list[str]:
    """Works out every window that is due; returns the keys of the experiments that could not be measured.

    Args:
        database: where to read and keep.
        options: what is to be done.
        watch: who looks on.
        now: what is mature is judged by it.
        keys: of these experiments only; none: of all.

    Raises:
        NotFound: there is no such experiment; then nothing is done.
        Unavailable: the database is away.
        Interrupted: the watch ended it. Windows that were done are kept.
    """
    due = _due(database, options.wanted, keys, now)
    watch.begin(sum(len(starts) for _, starts in due))
    if not due:
        return []
    goods, failed = _goods(database), []
    for experiment, starts in due:
        measuring = Measuring(
            database=database,
            experiment=experiment,
            goods=goods,
            window_s=options.wanted.window_s,
            ks=options.ks,
            most_decisions=options.most_decisions,
            tick=watch.read,
        )
        try:
            for start in starts:
                watch.finish(_work_out(measuring, start))
        except (Unavailable, Interrupted):
            raise
        except Exception:  # one experiment that cannot be measured must not cost the others theirs
            log.exception("cannot measure its quality", extra={"experiment": experiment.key})
            failed.append(experiment.key)
    return failed


def _work_out(measuring: Measuring, start: datetime) -> WorkedOut:
    """One window: all of its figures come in one transaction, with the one that says that it is done."""
    values = measuring.figures(start)
    with measuring.database.transaction() as connection:
        metric_values.replace_window(connection, values, ("online", "offline"))
    return WorkedOut(experiment=measuring.experiment.key, start=start, decisions=values[0].n, figures=len(values))


def _due(
    database: Database, wanted: Wanted, keys: Sequence[str], now: datetime
) -> list[tuple[Experiment, list[datetime]]]:
    """Experiments that have windows to work out, and these."""
    with database.transaction() as connection:
        known = {experiment.key: experiment for experiment in experiments.all_of(connection)}
        missing = [key for key in keys if key not in known]
        if missing:
            raise NotFound(f"There is no experiment {missing[0]!r}")
        logged_since = partitions.oldest_day(connection)
        found = []
        for key in dict.fromkeys(keys) or known:
            done = metric_values.done(connection, key, "online", DONE, wanted.window_s)
            found.append((known[key], due_windows(known[key], wanted, now=now, logged_since=logged_since, done=done)))
    return [(experiment, starts) for experiment, starts in found if starts]


def _goods(database: Database) -> Goods:
    with database.transaction(snapshot=True) as connection:
        return Goods.of(Catalogue.build(items.every(connection), items.catalogue_version(connection)))
