"""What a web worker deals from: every experiment with its allocation in force, in memory, refreshed in the background.

A request only looks up. When the database is away the last state goes on being used, however old.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from operator import attrgetter

import numpy as np
import sqlalchemy as sa

from app.errors import NotFound, Unavailable
from app.recommenders import Answerer, Catalogue, ModelServers, PythonFunctions, Sources
from app.serving.failures import FailureLog
from app.serving.health import Health
from app.serving.overrides import Overrides
from app.serving.shadow import Shadow
from app.specification import Arm, Specification, State, bucket_width
from app.store import experiments, items, partitions
from app.store.allocations import AllocationRecord
from app.store.database import Database
from app.store.experiments import Experiment
from bandits.selection import StickyRace, cumulative, uniform_choice, unit_interval

__all__ = ["Allocations", "Served"]

log = logging.getLogger(__name__)

# How often the decayed reward counts that `popular` orders by are read anew.
_REWARDS_REST_S = 10.0
# How often the days that have partitions are listed anew.
_OLDEST_DAY_RESTS_S = 60.0
# A load of the catalogue that took longer than this is followed by a rest, four times as long as it took longer.
_QUICK_LOAD_S = 0.1
_REST_PER_LOAD = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """One experiment, ready to be dealt from. Tuples over arms are in the order of the specification."""

    key: str
    specification: Specification
    state: State
    version: int
    epoch: int
    number: int  # of the allocation
    warming_up: bool
    salt: bytes
    arms: tuple[Arm, ...]
    control: int  # index of the control arm
    overrides: Overrides
    probabilities: tuple[float, ...]
    cumulative: tuple[float, ...]
    race: StickyRace | None  # for sticky assignment
    shadow: Shadow | None
    bucket_s: float
    answerers: tuple[Answerer, ...]  # each arm's recommender, prepared
    failures: FailureLog

    @property
    def deals(self) -> bool:
        """Whether it gives anything at all."""
        return self.state in {"running", "paused"}

    @property
    def waits(self) -> bool:
        """Whether an arm's recommender waits for something outside this process."""
        return any(arm.recommender.waits for arm in self.arms)

    def choose(self, unit: str, decision_id: bytes) -> int:
        """Index of the arm for a decision: a pure function of the allocation, the unit and the decision's id.

        So a retry agrees even while the database is away, and any past decision can be explained.
        """
        if self.race is not None:
            return self.race.choose(unit)
        return uniform_choice(self.cumulative, unit_interval(self.salt, decision_id))

    def stick(self, unit: str) -> int:
        """Index of the arm that a unit gets whatever the assignment: always the same while shares stay the same."""
        return self._sticky_race.choose(unit)

    @cached_property
    def _sticky_race(self) -> StickyRace:
        """Made when it is first needed: most experiments that draw each request anew never need it."""
        if self.race is not None:
            return self.race
        arms, probabilities = self.specification.arm_keys, np.array(self.probabilities)
        return StickyRace.of(salt=self.salt, experiment=self.key, arms=arms, probabilities=probabilities)

    def is_held_out(self, unit: str) -> bool:
        """Whether a unit belongs to the holdout: always the same units."""
        holdout = self.specification.holdout
        return holdout > 0 and unit_interval(self.salt, "holdout", unit) < holdout


class Allocations:
    """All experiments in force, by key.

    Args:
        database: where they are read from.
        health: what this process believes about that database.
        functions: that recommenders may call.
        servers: that recommenders may ask.
        aside: runs a long computation so that it does not hold up requests.
    """

    def __init__(
        self,
        database: Database,
        health: Health | None = None,
        *,
        functions: PythonFunctions | None = None,
        servers: ModelServers | None = None,
        aside: Callable[[Callable[[], Catalogue]], Catalogue] = lambda compute: compute(),
    ) -> None:
        self._database = database
        self._health = health or Health()
        self._aside = aside
        self._failures = FailureLog()
        # Held while anything is loaded, so that a slow load cannot undo a later one.
        self._loading = threading.RLock()
        self._served: Mapping[str, Served] = {}
        self._revisions: Mapping[str, tuple[int, int]] = {}
        self._sources = Sources(functions=functions or PythonFunctions(), servers=servers or ModelServers())
        # One load of the catalogue at a time, and not under `_loading`: requests may need that one.
        self._catalogue_loading = threading.Lock()
        self._catalogue_rests_until = 0.0
        self._rewards_read_at = 0.0
        self.oldest_day: datetime | None = None  # start of the first day that has a partition
        self._oldest_day_read_at = 0.0
        self.refreshed_at: float | None = None  # monotonic seconds; None before the first success

    def find(self, key: str) -> Served:
        """One experiment. One that this worker has not heard of yet is looked up in the database.

        Raises:
            NotFound: it does not exist.
            Unavailable: this worker does not know it and the database is away.
        """
        served = self._served.get(key)
        if served is None:
            if self._health.away:  # to look it up would only take long
                raise Unavailable("The database is away, and this worker does not know the experiment yet")
            self._load([key])
            served = self._served.get(key)
        if served is None:
            raise NotFound(f"There is no experiment {key!r}; PUT /v1/experiments/{key} makes one")
        return served

    def every(self) -> list[Served]:
        """All experiments that are running or paused, by key. A worker that has just started reads them first.

        Raises:
            Unavailable: it has not read them yet and the database is away.
        """
        if self.refreshed_at is None:
            self.refresh()
        return sorted((s for s in self._served.values() if s.deals), key=attrgetter("key"))

    def reload(self, key: str) -> None:
        """Loads one experiment now: this worker has just changed it."""
        self._load([key])

    def refresh(self) -> None:
        """Loads what has changed.

        Raises:
            Unavailable: the database is away; everything stays as it was.
        """
        with self._catalogue_loading:
            self._refresh_catalogue()
        with self._loading:
            self._refresh()

    def obstacle(self, arm: Arm) -> str | None:
        """What keeps this process from ever answering as the arm wants; None: nothing."""
        return arm.recommender.obstacle(self._sources)

    def _refresh_catalogue(self) -> None:
        """Loads the catalogue when it has changed; a large one that changes all the time takes a fifth of the time."""
        started = time.monotonic()
        if started < self._catalogue_rests_until:
            return
        with self._database.transaction(snapshot=True) as connection:
            version = items.catalogue_version(connection)
            if version == self._sources.catalogue.version:
                return
            listed = items.every(connection)
        catalogue = self._aside(lambda: Catalogue.build(listed, version))
        with self._loading:
            self._sources = replace(self._sources, catalogue=catalogue)
            self._rewards_read_at = 0.0
        now = time.monotonic()
        self._catalogue_rests_until = now + _REST_PER_LOAD * (now - started - _QUICK_LOAD_S)

    def _refresh(self) -> None:
        with self._database.transaction() as connection:
            revisions = experiments.revisions(connection)
            self._read_oldest_day(connection)
        self._load_changed({key: made for key, made in revisions.items() if self._revisions.get(key) != made})
        if time.monotonic() - self._rewards_read_at >= _REWARDS_REST_S:
            self._prepare_anew()
        self.refreshed_at = time.monotonic()

    def _read_oldest_day(self, connection: sa.Connection) -> None:
        """The day changes once a day; it is looked for until there is one."""
        now = time.monotonic()
        if self.oldest_day is None or now - self._oldest_day_read_at >= _OLDEST_DAY_RESTS_S:
            self.oldest_day = partitions.oldest_day(connection)
            self._oldest_day_read_at = now

    def _load_changed(self, revisions: Mapping[str, tuple[int, int]]) -> None:
        """Loads experiments. One that cannot be served, as a newer version's may be, does not hold up the others."""
        try:
            self._load(list(revisions))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - whichever it is will be found when they are loaded one by one
            for key, revision in revisions.items():
                self._load_alone(key, revision)

    def _load_alone(self, key: str, revision: tuple[int, int]) -> None:
        try:
            self._load([key])
        except Unavailable:
            raise
        except Exception:  # what was served of it before, if anything, goes on being served until it changes again
            log.exception("cannot serve this revision", extra={"experiment": key})
            self._revisions = {**self._revisions, key: revision}

    def _load(self, keys: list[str]) -> None:
        """Loads some experiments. Mappings are replaced, not changed: requests read them meanwhile."""
        if not keys:
            return
        with self._loading:
            self._load_now(keys)

    def _load_now(self, keys: list[str]) -> None:
        with self._database.transaction() as connection:
            loaded = experiments.with_allocation(connection, keys)
        served = {e.key: self._serve(e, allocation) for e, allocation in loaded}
        self._served = {**self._served, **served}
        self._revisions = {**self._revisions, **{e.key: (e.version, e.allocation) for e, _ in loaded}}

    def _serve(self, experiment: Experiment, allocation: AllocationRecord) -> Served:
        old = self._served.get(experiment.key)
        if old is not None and old.version == experiment.version:
            return _with_allocation(old, experiment, allocation)
        specification = experiment.specification
        fresh = Served(
            key=experiment.key,
            specification=specification,
            state=experiment.state,
            version=experiment.version,
            epoch=experiment.epoch,
            number=0,
            warming_up=False,
            salt=experiment.salt,
            arms=specification.arms,
            control=specification.arm_keys.index(specification.control_arm),
            overrides=Overrides.of(specification),
            probabilities=(),
            cumulative=(),
            race=None,
            shadow=None,
            bucket_s=bucket_width(specification.reward, specification.memory),
            answerers=(),
            failures=self._failures,
        )
        return _with_allocation(self._prepared(fresh), experiment, allocation)

    def _prepare_anew(self) -> None:
        """Prepares every recommender with the present catalogue and reward counts."""
        self._served = {key: self._prepared(served) for key, served in self._served.items()}
        self._rewards_read_at = time.monotonic()

    def _prepared(self, served: Served) -> Served:
        answerers = []
        for arm in served.arms:
            half_life_s = arm.recommender.reward_half_life_s
            rewards: Mapping[str, float] = {}
            if half_life_s is not None:
                with self._database.transaction() as connection:
                    metric = served.specification.reward.metric
                    rewards = items.decayed_rewards(
                        connection, served.key, metric, half_life_s=half_life_s, now=datetime.now(UTC)
                    )
            answerers.append(arm.recommender.prepare(replace(self._sources, rewards=rewards)))
        return replace(served, answerers=tuple(answerers))


def _with_allocation(served: Served, experiment: Experiment, allocation: AllocationRecord) -> Served:
    """The same experiment under another allocation."""
    keys = served.specification.arm_keys
    probabilities = np.array([allocation.probabilities[key] for key in keys])
    race = None
    if served.specification.assignment == "unit":
        race = StickyRace.of(salt=served.salt, experiment=served.key, arms=keys, probabilities=probabilities)
    return replace(
        served,
        number=allocation.number,
        warming_up=allocation.reason == "warm_up",
        probabilities=tuple(probabilities.tolist()),
        cumulative=cumulative(probabilities),
        race=race,
        shadow=Shadow.of(experiment, allocation),
    )
