"""Random streams of decisions and feedback, as they are stored, for the batch and for the slow calculation alike."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.batch import WorkedOut
from app.specification import Reward, Specification
from app.store import items as item_store
from app.store.database import Database
from app.store.decisions import DecisionRow
from app.store.feedback import MatchedEvent
from app.store.items import ItemRow
from app.store.partitions import make_partitions
from tests.app.building import (
    EAGER,
    bucket_of,
    decision,
    execute,
    flag,
    id_at,
    matched,
    now,
    put,
    record,
    specification,
    write,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ITEMS = [f"i{number:02}" for number in range(30)]  # the catalogue
STRANGE = ["x1", "x2"]  # not in it
UNITS = [f"u{number}" for number in range(25)]
MEANS = {1: {"a": 0.2, "b": 0.5, "c": 0.1}, 2: {"a": 0.4, "b": 0.3, "c": 0.35}}  # by allocation
REWARDS = {
    "click": Reward(window_s=600.0),
    "money": Reward(metric="money", model="gaussian", missing="explicit", window_s=600.0, aggregation="sum"),
}


def today() -> datetime:
    """Midnight, UTC."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def of(reward: Reward, **parts: Any) -> Specification:
    """An experiment with two arms that give lists and one, "c", that gives a payload."""
    spec = specification("a", "b", reward=reward, policy=EAGER, **parts)
    return Specification(**{name: getattr(spec, name) for name in spec.__struct_fields__} | {
        "arms": (*spec.arms, flag("c", "blue"))
    })  # fmt: skip


@dataclass
class Stream:
    """What happened in an experiment."""

    key: str
    spec: Specification
    decisions: list[DecisionRow] = field(default_factory=list)
    events: dict[UUID, list[MatchedEvent]] = field(default_factory=lambda: defaultdict(list))
    confirmed: set[UUID] = field(default_factory=set)

    def store(self, database: Database) -> None:
        """Writes all of it; the experiment is six days old, and its two allocations believe other things."""
        put(database, self.key, self.spec)
        execute(
            database, "UPDATE experiments SET created_at = :at WHERE key = :key", at=today() - 6 * DAY, key=self.key
        )
        execute(
            database,
            "INSERT INTO allocations (experiment, number, version, epoch, reason, probabilities, posterior, evidence,"
            " data_as_of) SELECT experiment, 2, version, epoch, reason, probabilities, posterior, evidence, data_as_of"
            " FROM allocations WHERE experiment = :key AND number = 1",
            key=self.key,
        )
        for number, means in MEANS.items():
            text = "{" + ", ".join(f'"{arm}": {mean}' for arm, mean in means.items()) + "}"
            execute(
                database,
                "UPDATE allocations SET means = CAST(:means AS jsonb) WHERE experiment = :key AND number = :number",
                means=text, key=self.key, number=number,
            )  # fmt: skip
        record(database, self.decisions)
        write(database, [event for events in self.events.values() for event in events])
        for decision_id in sorted(self.confirmed):
            statement = "INSERT INTO exposures (decision_id, occurred_at, bucket) VALUES (:id, now(), now())"
            execute(database, statement, id=decision_id)


def partitions(database: Database) -> None:
    """Makes those of the week before."""
    with database.transaction() as connection:
        for days in range(8):
            make_partitions(connection, now() - days * DAY)


def catalogue(database: Database) -> None:
    """Stores the items; of three nothing is known but the id."""
    draw = random.Random(7)
    rows = [
        ItemRow(
            item_id=item,
            title=None,
            category=None,
            features=None if number % 10 == 9 else tuple(draw.uniform(-1, 1) for _ in range(4)),
            popularity=0.0,
        )
        for number, item in enumerate(ITEMS)
    ]
    with database.transaction() as connection:
        item_store.upsert(connection, rows)


def random_stream(key: str, spec: Specification, seed: int, *, days: int = 4, per_day: int = 90) -> Stream:
    """Decisions of some days before today, with feedback of every kind."""
    draw, stream = random.Random(seed), Stream(key, spec)
    for day in range(days, 0, -1):
        for _ in range(per_day):
            at = today() - day * DAY + draw.uniform(0, 86_399) * timedelta(seconds=1)
            row = _decision(draw, stream, at)
            stream.decisions.append(row)
            for number in range(draw.choice((0, 0, 1, 1, 2, 3))):
                stream.events[row.decision_id].append(_event(draw, stream, row, number))
            if row.awaits_confirmation and draw.random() < 0.6:
                stream.confirmed.add(row.decision_id)
    stream.decisions.sort(key=lambda row: row.decision_id)
    return stream


def _decision(draw: random.Random, stream: Stream, at: datetime) -> DecisionRow:
    arm = draw.choice("aabbbc")
    served = draw.choices((arm, "a", None), (8, 1, 1))[0]
    pool = ITEMS + STRANGE
    listed = (
        () if served == "c" else tuple(draw.choice(pool[: draw.choice((6, 32))]) for _ in range(draw.randint(0, 12)))
    )
    return decision(
        stream.key,
        decision_id=id_at(at - draw.choice((0, 0, 0, 1, -1)) * draw.uniform(0, 23) * HOUR),  # a client's clock
        decided_at=at,
        bucket=bucket_of(at),
        arm=arm,
        served_arm=served,
        unit=draw.choice(UNITS),
        propensity=draw.choice((0.01, 0.3, 0.69, 1.0)),
        learnable=served == arm and draw.random() < 0.8,
        allocation=draw.choice((1, 2)),
        items=listed,
        scores=(None,) * len(listed),
        awaits_confirmation=True if stream.spec.exposure == "confirmed" else None,
    )


def _event(draw: random.Random, stream: Stream, row: DecisionRow, number: int) -> MatchedEvent:
    reward = stream.spec.reward
    how = draw.choice(("item", "item", "position", "nothing", "other"))
    listed = [*row.items, "i00"]
    return matched(
        row,
        draw.choice((0.0, 1.0, 1.0)) if reward.model == "bernoulli" else draw.choice((-2.0, 0.0, 3.5)),
        event_id=f"e{number}",
        metric="dwell" if draw.random() < 0.1 else reward.metric,
        aggregation=reward.aggregation,
        occurred_at=row.decided_at + draw.uniform(-60, 5000) * timedelta(seconds=1),
        item_id=draw.choice(listed) if how == "item" else draw.choice(ITEMS) if how == "other" else None,
        position=draw.randint(1, 13) if how in {"position", "item"} else None,
    )


class Seen:
    """A watch that remembers."""

    def __init__(self) -> None:
        self.windows = 0
        self.decisions = 0
        self.done: list[WorkedOut] = []

    def begin(self, windows: int) -> None:
        """How many windows are due."""
        self.windows = windows

    def read(self, decisions: int) -> None:
        """How many decisions more."""
        self.decisions += decisions

    def finish(self, done: WorkedOut) -> None:
        """Which window."""
        self.done.append(done)
