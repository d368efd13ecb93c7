"""One window of one experiment: from its log to all of its figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, log2
from typing import Final

from app.batch.figures import ALL_ARMS, Figure, Figures
from app.batch.gathering import Index, Reference, WindowLists, gather, gather_reference
from app.batch.offline import Items, note_offline
from app.batch.online import note_feedback, note_lists, note_traffic
from app.recommenders import Catalogue
from app.store import lists
from app.store.database import Connection, Database
from app.store.experiments import Experiment
from app.store.lists import WindowQuestion
from app.store.metric_values import MetricValue
from monitoring.vectors import UnitVectors

__all__ = ["DONE", "REFERENCE_WINDOWS", "Goods", "Measuring"]

DONE: Final = "decisions"  # the online figure that every window has that is done, also one without decisions

# History and popularity are of so many windows before: a week of a day, and seven hours of an hour.
REFERENCE_WINDOWS: Final = 7


@dataclass(frozen=True, eq=False)
class Goods:
    """The items that can be recommended, as they are now.

    Attributes:
        rows: their numbers by id, from 0.
        vectors: their features; None: none has any.
    """

    rows: Mapping[str, int]
    vectors: UnitVectors | None

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Goods":
        """The items of a catalogue."""
        return cls(catalogue.rows, UnitVectors.of(catalogue.features) if catalogue.featured.any() else None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Measuring:
    """How the windows of one experiment are measured.

    Attributes:
        database: where to read.
        experiment: as it is now: its reward says which feedback matters.
        goods: the items.
        window_s: width of the windows.
        ks: cut-offs of lists.
        most_decisions: a window of more is judged by a share of its units.
        tick: told after each piece of the log how many decisions more were read. What it raises ends the measuring.
    """

    database: Database
    experiment: Experiment
    goods: Goods
    window_s: int
    ks: tuple[int, ...]
    most_decisions: int
    tick: Callable[[int], object]

    def figures(self, start: datetime) -> list[MetricValue]:
        """All figures of the window that starts then; `DONE` of all arms is the first.

        Raises:
            Unavailable: the database is away.
        """
        online, offline = (Figures(self.experiment.key, level, start, self.window_s) for level in ("online", "offline"))
        specification = self.experiment.specification
        n_active = sum(arm.state == "active" for arm in specification.arms)
        question = self._question(start)
        with self.database.transaction(snapshot=True) as connection:
            traffic = lists.traffic(connection, question, floor=specification.policy.floor(n_active))
            decisions = sum(arm.decisions for arm in traffic)
            if not decisions:
                online.add(DONE, ALL_ARMS, Figure(0, 0))
                return online.values
            halvings = _halvings(decisions, self.most_decisions)
            window, reference, items = self._read(connection, replace(question, halvings=halvings))
        note_traffic(online, traffic)
        note_feedback(online, window, specification.reward)
        note_lists(online, window, self.ks)
        note_offline(offline, window, reference, items, self.ks)
        return [*online.values, *offline.values]

    def _question(self, start: datetime) -> WindowQuestion:
        return WindowQuestion(
            experiment=self.experiment.key,
            metric=self.experiment.specification.reward.metric,
            since=start,
            until=start + timedelta(seconds=self.window_s),
        )

    def _read(self, connection: Connection, question: WindowQuestion) -> tuple[WindowLists, Reference, Items]:
        numbers, units = Index(self.goods.rows), Index()
        rows = lists.lists(connection, question)
        window = gather(rows, numbers, units, width=max(self.ks), tick=self.tick)
        before = replace(
            question,
            since=question.since - timedelta(seconds=REFERENCE_WINDOWS * self.window_s),
            until=question.since,
        )
        has_catalogue = bool(self.goods.rows)
        reference = gather_reference(
            lists.interactions(connection, before),
            numbers,
            units,
            n_items=len(self.goods.rows) if has_catalogue else None,
            tick=self.tick,
        )
        size = len(self.goods.rows) if has_catalogue else len(numbers)
        return window, reference, Items(size, has_catalogue, self.goods.vectors)


def _halvings(decisions: int, most: int) -> int:
    """How often the units must be halved until at most so many decisions are to be expected."""
    return max(0, ceil(log2(decisions / most)))
