"""Plays a scenario of the simulator in virtual time, through the service's own code and a real PostgreSQL.

Decisions, confirmations and feedback go through the functions that the journals call; learner, monitor and alerts work
at their intervals of virtual time. So hours of traffic are judged by the default rules in seconds. Left out are HTTP,
processes and the spool.
"""

import heapq
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import sqlalchemy as sa

from app import experiments
from app.alerting.evaluation import evaluate_all
from app.data_watch.role import watch_all
from app.data_watch.windows import Widths
from app.ids import first_id_at
from app.learner import learn_once
from app.monitor import Housekeeping
from app.recommenders import PythonFunctions, RecommenderFailed
from app.serving.allocations import Allocations
from app.serving.decide import DecisionWriter, decide
from app.serving.exposures import ExposureWriter
from app.serving.feedback import FeedbackWriter
from app.simulation.arms import ModelRanking, local_arms, specification
from app.simulation.arrivals import Arrival, arrivals
from app.simulation.scenarios import Scenario
from app.simulation.visits import Plan, Sent, Visit, unit_and_conditions, visit
from app.simulation.world import build_world
from app.specification import ExperimentRequest
from app.store import alert_rules, items
from app.store.database import Cursor, Database
from app.store.decisions import DecisionRow
from app.store.exposures import ExposureEvent
from app.store.feedback import FeedbackEvent
from app.store.items import ItemRow
from app.store.tables import metadata
from monitoring.alert_rules import AnyRule
from monitoring.meter import Meter

__all__ = ["Fired", "Options", "rehearse"]

START = datetime(2026, 1, 5, tzinfo=UTC)
KEY = "rehearsal"
BATCH_S = 60.0  # what comes in so long is written at once, as of its end


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and how much of it."""

    hours: float = 4.0
    rate: float = 1.0  # decisions a second
    window_s: float = 600.0  # attribution window
    step_s: float = 60.0  # between two passes of learner and alerts; a multiple of BATCH_S
    users: int = 2000
    items: int = 200
    k: int = 5


@dataclass(frozen=True, kw_only=True)
class Fired:
    """An alert that fired."""

    rule: str
    labels: Mapping[str, str]
    after_s: float  # since the fault began; negative: before it
    reason: str


def rehearse(
    database: Database, scenario: Scenario, *, seed: int, options: Options, rules: Mapping[str, AnyRule] | None = None
) -> list[Fired]:
    """Plays a scenario in a migrated, empty database; returns each alert as often as it fired, in order.

    `rules` replace default ones.
    """
    with database.transaction() as connection:
        for key, rule in (rules or {}).items():
            alert_rules.put(connection, "", key, rule)
    stage = _Stage(database, scenario, seed, options)
    for now in stage.moments():
        stage.advance(now)
    fault = START + timedelta(hours=options.hours * scenario.starts)
    text = """SELECT a.rule, a.labels, extract(epoch FROM f.at - :fault)::float AS after_s, f.reason
FROM alert_flips f JOIN alerts a ON a.id = f.alert WHERE f.after = 'firing' ORDER BY f.id"""
    with database.transaction() as connection:
        return [Fired(**row) for row in connection.execute(sa.text(text), {"fault": fault}).mappings()]


class _Clock:
    """Makes `now()` in the defaults of columns virtual."""

    def __init__(self, database: Database) -> None:
        self._database = database
        stamped = [
            f"ALTER TABLE {table.name} ALTER {column.name} SET DEFAULT virtual_now()"
            for table in metadata.sorted_tables
            for column in table.columns
            if column.server_default is not None and isinstance(column.type, sa.TIMESTAMP) and column.name != "first_at"
        ]
        self._run(
            "CREATE TABLE virtual_clock (at timestamptz)",
            f"INSERT INTO virtual_clock VALUES ('{START}')",
            "CREATE FUNCTION virtual_now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM virtual_clock'",
            *stamped,
        )

    def set(self, now: datetime) -> None:
        """It is now this late."""
        self._run(f"UPDATE virtual_clock SET at = '{now}'")

    def _run(self, *statements: str) -> None:
        with self._database.transaction() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))


class _Model(PythonFunctions):
    """The model server, without the network between."""

    def __init__(self, ranking: ModelRanking) -> None:
        super().__init__()
        self._ranking = ranking
        self.down = False

    def get(self, target: str) -> Any:
        """What it ranks.

        Raises:
            RecommenderFailed: it is down.
        """
        del target
        return self._rank

    def _rank(self, unit: str, _context: object, k: int) -> list[str]:
        if self.down:
            raise RecommenderFailed("the model server answered 500")
        return self._ranking(unit, k)


class _Stage:
    """One rehearsal."""

    def __init__(self, database: Database, scenario: Scenario, seed: int, options: Options) -> None:
        self._database, self._scenario, self._options = database, scenario, options
        seeds = [np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(4)]
        self._world = build_world(seeds[0], n_users=options.users, n_items=options.items)
        self._model = _Model(ModelRanking(self._world, seeds[1]))
        duration_s = options.hours * 3600
        self._plan = Plan(
            world=self._world,
            scenario=scenario,
            experiment=KEY,
            duration_s=duration_s,
            window_s=options.window_s,
            k=options.k,
        )
        coming = arrivals(seeds[2], scenario, n_users=options.users, rate=options.rate, duration_s=duration_s)
        self._coming: list[Arrival] = list(coming)[::-1]
        self._rng = seeds[3]
        self._clock = _Clock(database)
        self._housekeeping = Housekeeping(database, retention_days=90)
        self._cursor: Cursor = database.connect_raw(statement_timeout_s=60).cursor()
        self._decisions = DecisionWriter(shard=0)
        self._exposures, self._feedback = ExposureWriter(shard=0), FeedbackWriter(shard=0)
        self._due: list[tuple[float, int, FeedbackEvent]] = []
        self._numbers = count()
        self._meter = Meter()
        self._allocations = Allocations(database, functions=self._model)
        self._prepare()

    def _prepare(self) -> None:
        """Catalogue, partitions and experiment. Its salt is fixed, so that a seed deals the same arms every time."""
        self._housekeeping.once(START)
        with self._database.transaction() as connection:
            items.upsert(connection, [ItemRow(**msgspec.to_builtins(item)) for item in self._world.items()])
        body = specification(
            local_arms(self._world),
            model={"kind": "python", "target": "model"} if self._scenario.model else None,
            window_s=self._options.window_s,
            confirmed=self._scenario.confirmed,
        )
        wanted = msgspec.convert(body, ExperimentRequest).specification()
        experiments.put(self._database, KEY, wanted, state="running", if_match=None, actor="rehearsal")
        with self._database.transaction() as connection:
            connection.execute(sa.text("UPDATE experiments SET salt = :salt"), {"salt": self._rng.bytes(16)})
        self._allocations.refresh()

    def moments(self) -> Iterator[datetime]:
        """The ends of all steps."""
        for step in range(1, int(self._options.hours * 3600 / self._options.step_s) + 1):
            yield START + timedelta(seconds=step * self._options.step_s)

    def advance(self, now: datetime) -> None:
        """What happened until now; then the passes of learner, monitor and alerts."""
        until_s = (now - START).total_seconds()
        for at_s in np.arange(until_s - self._options.step_s, until_s, BATCH_S) + BATCH_S:
            self._clock.set(START + timedelta(seconds=float(at_s)))
            self._serve(at_s)
        learn_once(self._database, KEY, now)
        self._housekeeping.once(now)
        self._allocations.refresh()
        watch_all(self._database, now, Widths(), self._meter)
        evaluate_all(self._database, now)

    def _serve(self, until_s: float) -> None:
        rows, confirmations = [], []
        while self._coming and self._coming[-1].at_s < until_s:
            arrival = self._coming.pop()
            row = self._decide(arrival)
            follows = self._visit(arrival, row)
            rows.append(row)
            if follows.confirmed:
                confirmations.append(ExposureEvent(decision_id=row.decision_id, occurred_at=row.decided_at))
            for sent in follows.events:
                event = _event(row, sent)
                heapq.heappush(self._due, (arrival.at_s + sent.due_s, next(self._numbers), event))
        self._decisions.write(self._cursor, rows)
        if confirmations:
            self._exposures.write(self._cursor, confirmations)
        events = []
        while self._due and self._due[0][0] < until_s:
            events.append(heapq.heappop(self._due)[2])
        if events:
            self._feedback.write(self._cursor, events)

    def _decide(self, arrival: Arrival) -> DecisionRow:
        unit, conditions = unit_and_conditions(self._plan, arrival)
        self._model.down = conditions.model_down
        at = START + timedelta(seconds=arrival.at_s)
        rest = int.from_bytes(self._rng.bytes(10))
        decision_id = UUID(int=first_id_at(at).int | 7 << 76 | (rest >> 68) << 64 | 0b10 << 62 | rest & ((1 << 62) - 1))
        return decide(
            self._allocations.find(KEY),
            decision_id=decision_id,
            unit=unit,
            k=self._plan.k,
            context=dict(self._world.context(arrival.user, conditions.audience)),
            started=time.perf_counter(),
            now=at,
        )

    def _visit(self, arrival: Arrival, row: DecisionRow) -> Visit:
        return visit(self._plan, arrival, arm=row.arm, fell_back=row.reason == "fallback", items=row.items)


def _event(row: DecisionRow, sent: Sent) -> FeedbackEvent:
    action = sent.action
    return FeedbackEvent(
        decision_id=row.decision_id,
        metric=action.metric,
        event_id=sent.event_id,
        value=action.value,
        item_id=row.items[action.row],
        position=action.row + 1,
        occurred_at=row.decided_at + timedelta(seconds=action.delay_s),
    )
