"""Decides: which arm, what it recommends, and the row that says so."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from app.errors import Conflict
from app.recommenders import Item, Query, Recommendation, RecommenderFailed
from app.serving.allocations import Served
from app.serving.watching import note_recommender
from app.specification import start_of_bucket
from app.store import decisions as store
from app.store.database import Cursor
from app.store.decisions import DecisionRow
from app.store.erasure import Erasures, forget_place, pseudonym
from monitoring.meter import Meter
from monitoring.tracing import trace_id_now

__all__ = ["About", "Choice", "DecisionWriter", "choose", "decide", "items_of", "row_of"]

Reason = Literal["policy", "warm_up", "holdout", "override", "paused", "fallback"]

# Reasons whose outcomes the policy learns from: it chose the arm itself, with the propensity that is logged.
_LEARNABLE = ("policy", "warm_up")

# Share of its own deadline that the control arm may take when the chosen arm has failed: who waits has waited already.
_FALLBACK_PATIENCE = 0.5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An arm, by its index, with the probability that it was chosen and why."""

    arm: int
    propensity: float
    reason: Reason


class About(NamedTuple):
    """What a decision is about: the request."""

    decision_id: UUID
    unit: str
    context: dict[str, Any]
    started: float  # `time.perf_counter()` when it arrived


def choose(served: Served, unit: str, decision_id: UUID, *, sticky: bool = False) -> Choice:
    """Chooses an arm for a unit: the state comes first, then overrides that name it, the holdout, overrides by share.

    Args:
        served: the experiment.
        unit: who is served.
        decision_id: draws the arm, where each request is drawn anew.
        sticky: the unit draws it, whatever the experiment's assignment.

    Raises:
        Conflict: the experiment is not being served.
    """
    if served.state == "paused":
        return Choice(arm=served.control, propensity=1.0, reason="paused")
    if served.state != "running":
        raise Conflict(f"Experiment {served.key!r} is {served.state}: it gives no recommendations")
    pinned = served.overrides.units.get(unit)
    if pinned is None and served.is_held_out(unit):
        return Choice(arm=served.control, propensity=1.0, reason="holdout")
    if pinned is None:
        pinned = served.overrides.by_share(served.salt, unit)
    if pinned is not None:
        return Choice(arm=pinned, propensity=1.0, reason="override")
    arm = served.stick(unit) if sticky else served.choose(unit, decision_id.bytes)
    return Choice(arm=arm, propensity=served.probabilities[arm], reason="warm_up" if served.warming_up else "policy")


def decide(
    served: Served,
    *,
    decision_id: UUID,
    unit: str,
    k: int,
    context: dict[str, Any],
    started: float,
    now: datetime | None = None,
    meter: Meter | None = None,
) -> DecisionRow:
    """One decision, ready for the journal.

    Args:
        served: the experiment.
        decision_id: a UUIDv7.
        unit: who is served.
        k: how many items at most, 1 to 500.
        context: as the client sent it.
        started: `time.perf_counter()` when the request arrived.
        now: when it is decided; None: once the recommender has answered.
        meter: is told how long the recommender took.

    Raises:
        Conflict: the experiment is not being served.
    """
    choice = choose(served, unit, decision_id)
    query = Query(unit=unit, context=context, k=k, seed=decision_id.int & 0xFFFFFFFFFFFFFFFF)
    asked = time.perf_counter()
    recommendation, served_arm = _recommend(served, choice.arm, query)
    if meter is not None:
        answered = served_arm == choice.arm
        note_recommender(meter, served.key, served.arms[choice.arm].key, asked, answered=answered)
    about = About(decision_id=decision_id, unit=unit, context=context, started=started)
    return row_of(served, choice, recommendation, served_arm, about=about, now=now or datetime.now(UTC))


def row_of(
    served: Served,
    choice: Choice,
    recommendation: Recommendation,
    served_arm: int | None,
    *,
    about: About,
    now: datetime,
    sticky: bool = False,
    confirmed: bool = False,
) -> DecisionRow:
    """A decision that was just made, as it is recorded.

    Args:
        served: the experiment.
        choice: the arm.
        recommendation: what is answered.
        served_arm: index of the arm that answered; None: the fallback list.
        about: the request.
        now: when it is decided.
        sticky: the unit drew the arm, whatever the experiment's assignment.
        confirmed: it counts once its exposure is confirmed, whatever the experiment says.
    """
    fallen_back = served_arm != choice.arm
    shadow = served.shadow if choice.reason in _LEARNABLE else None
    specification = served.specification
    return DecisionRow(
        decision_id=about.decision_id,
        experiment=served.key,
        epoch=served.epoch,
        allocation=served.number,
        arm=served.arms[choice.arm].key,
        served_arm=None if served_arm is None else served.arms[served_arm].key,
        unit=about.unit,
        propensity=choice.propensity,
        reason="fallback" if fallen_back else choice.reason,
        learnable=choice.reason in _LEARNABLE and not fallen_back,
        bucket=start_of_bucket(now, served.bucket_s),
        decided_at=now,
        context=about.context,
        items=tuple(item.item_id for item in recommendation.items),
        scores=tuple(item.score for item in recommendation.items),
        payload=recommendation.payload,
        latency_ms=(time.perf_counter() - about.started) * 1000,
        awaits_confirmation=True if confirmed or specification.exposure == "confirmed" else None,
        repeated=True if sticky or specification.assignment == "unit" else None,
        trace_id=trace_id_now(),
        shadow_arm=None if shadow is None else shadow.choose(about.unit, about.decision_id.bytes),
    )


def items_of(row: DecisionRow) -> tuple[Item, ...]:
    """The recommended items, as the client gets them."""
    return tuple(Item(item_id, score) for item_id, score in zip(row.items, row.scores, strict=True))


class DecisionWriter:
    """Writes a batch of decisions: the journal's `write` for decisions.

    Args:
        shard: row of the counts that this process increments.
    """

    def __init__(self, *, shard: int) -> None:
        self._shard = shard

    def write(self, cursor: Cursor, rows: Sequence[DecisionRow]) -> list[DecisionRow]:
        """Records decisions; returns for each the row that is on record: its own, or the first of that id."""
        first = {row.decision_id: row for row in reversed(rows)}
        new = store.write_batch(cursor, list(first.values()), shard=self._shard)
        repeated = [decision_id for decision_id in first if decision_id not in new]
        recorded = store.recorded(cursor, repeated) if repeated else {}
        for row in (first[known.decision_id] for known in recorded.values() if known.erased):
            if row.repeated:  # a retry of what was erased must not bring its unit back
                forget_place(cursor, row.experiment, row.epoch, row.unit)
        on_record = {**first, **recorded}
        return [on_record[row.decision_id] for row in rows]

    def write_again(self, cursor: Cursor, rows: Sequence[DecisionRow]) -> list[DecisionRow]:
        """Records decisions from a spool. Their units may have been erased meanwhile: then nobody's name is written."""
        erasures = Erasures(cursor)
        return self.write(cursor, [_nameless(r) if erasures.cover(r.unit, r.decided_at) else r for r in rows])


def _nameless(row: DecisionRow) -> DecisionRow:
    """A decision of a unit that was erased."""
    return msgspec.structs.replace(row, unit=pseudonym(), erased=True, context={}, payload=None, trace_id=None)


def _recommend(served: Served, arm: int, query: Query) -> tuple[Recommendation, int | None]:
    """What the first of arm, control arm and fallback list that can answers, and which arm it was."""
    for candidate in dict.fromkeys((arm, served.control)):
        try:
            return served.answerers[candidate](query), candidate
        except RecommenderFailed as failed:
            served.failures.note(served.key, served.arms[candidate].key, failed.reason, now=time.monotonic())
            query = msgspec.structs.replace(query, patience=_FALLBACK_PATIENCE)
    fallback = served.specification.fallback[: query.k]
    return Recommendation(items=tuple(Item(item_id) for item_id in fallback)), None
