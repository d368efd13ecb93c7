"""Builds what tests of the application need: specifications, experiments, decisions and events."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from app import experiments
from app.recommenders import Payload
from app.specification import Arm, Reward, Specification, State
from app.store import decisions, feedback
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from app.store.experiments import Experiment
from app.store.feedback import EventKey, FeedbackEvent, MatchedEvent
from app.store.verify import verify
from bandits.thompson import ThompsonSampling

EXPLICIT = Reward(missing="explicit")
EAGER = ThompsonSampling(warm_up=0)


def now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def bucket_of(moment: datetime, width_s: int = 60) -> datetime:
    """Start of the time bucket a moment lies in, for whole seconds."""
    return datetime.fromtimestamp(int(moment.timestamp()) // width_s * width_s, UTC)


def id_at(moment: datetime) -> UUID:
    """A UUIDv7 of a moment's millisecond, with a random rest."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    rest = secrets.randbits(74)
    return UUID(int=milliseconds << 80 | 7 << 76 | (rest >> 62) << 64 | 0b10 << 62 | rest & ((1 << 62) - 1))


def specification(*arms: str, **parts: Any) -> Specification:
    """A specification with these arms, each a payload recommender; "a" and "b" when none are named."""
    return Specification(arms=tuple(Arm(key=key) for key in arms or ("a", "b")), **parts)


def flag(key: str, value: Any, **parts: Any) -> Arm:
    """An arm whose recommender is a constant."""
    return Arm(key=key, recommender=Payload(value=value), **parts)


def put(database: Database, key: str, spec: Specification | None = None, *, state: State = "running") -> Experiment:
    """Creates or replaces an experiment; one with arms "a" and "b" when no specification is given."""
    return experiments.put(database, key, spec or specification(), state=state, if_match=None, actor="tester")[0]


def decision(experiment: str = "home", **columns: Any) -> DecisionRow:
    """A learnable decision for arm "a", just made; `columns` replace what it has."""
    decided_at: datetime = columns.get("decided_at") or now()
    defaults = {
        "decision_id": id_at(decided_at),
        "experiment": experiment,
        "epoch": 1,
        "allocation": 1,
        "arm": "a",
        "served_arm": columns.get("arm", "a"),
        "unit": "user-1",
        "propensity": 0.5,
        "reason": "policy",
        "learnable": True,
        "bucket": bucket_of(decided_at),
        "decided_at": decided_at,
        "context": {},
        "items": (),
        "scores": (),
        "payload": None,
        "latency_ms": 0.1,
    }
    return DecisionRow(**{**defaults, **columns})


def event(about: DecisionRow | UUID, value: float = 1.0, **columns: Any) -> FeedbackEvent:
    """An event about a decision, for its reward metric, just occurred."""
    defaults = {
        "decision_id": about if isinstance(about, UUID) else about.decision_id,
        "metric": "",
        "event_id": "item:",
        "value": value,
        "item_id": None,
        "position": None,
        "occurred_at": now(),
    }
    return FeedbackEvent(**{**defaults, **columns})


def matched(about: DecisionRow, value: float = 1.0, **columns: Any) -> MatchedEvent:
    """An event together with its decision; metric "click" folded by "any" unless `columns` say otherwise."""
    defaults = {
        "decision_id": about.decision_id,
        "metric": "click",
        "event_id": "item:",
        "value": value,
        "item_id": None,
        "position": None,
        "occurred_at": now(),
        "experiment": about.experiment,
        "epoch": about.epoch,
        "arm": about.arm,
        "bucket": about.bucket,
        "late_at": about.decided_at + timedelta(days=1),
        "counts": about.learnable,
        "aggregation": "any",
    }
    return MatchedEvent(**{**defaults, **columns})


def record(database: Database, rows: Sequence[DecisionRow], *, shard: int = 0) -> set[UUID]:
    """Writes decisions; returns the ids that are new."""
    with database.transaction() as connection:
        return decisions.write_batch(cursor_of(connection), rows, shard=shard)


def write(database: Database, events: Sequence[MatchedEvent], *, shard: int = 0) -> set[EventKey]:
    """Writes one batch of events; returns the keys that are new."""
    with database.transaction() as connection:
        return feedback.write_batch(cursor_of(connection), events, shard=shard)


def query(database: Database, text: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with database.transaction() as connection:
        return [tuple(row) for row in connection.execute(sa.text(text), parameters)]


def execute(database: Database, text: str, **parameters: Any) -> int:
    """Executes a statement; returns how many rows it touched."""
    with database.transaction() as connection:
        return connection.execute(sa.text(text), parameters).rowcount


def disagreements(database: Database) -> list[str]:
    """What `verify` finds, as text."""
    return [f"{d.check}: {d.where}: {d.stored} != {d.expected}" for d in verify(database)]
