"""Writes events about decisions: the journal's `write` for feedback and for confirmed exposures.

An event is fitted to its decision and recorded; one whose decision is not known is kept until it arrives; one that
cannot be used goes to quarantine. Nothing is dropped, but what is about a unit that was erased, and what its key may
not say.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from typing import Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from app.serving.contracts import Contracts
from app.serving.verdicts import ERASED, KEPT_NOWHERE, NOT_PERMITTED, Rejection, Verdict
from app.specification import Contract
from app.store import quarantine
from app.store.contracts import EpochKey
from app.store.database import Cursor, one_transaction
from app.store.events import Event
from app.store.quarantine import Entry
from app.store.targets import Target, lock_and_confirm, resolve
from app.store.unmatched import Waiting

__all__ = ["EventWriter", "entry_of"]

Sent = TypeVar("Sent", bound=Event)
Matched = TypeVar("Matched", bound=Event)


class EventWriter(ABC, Generic[Sent, Matched]):
    """Writes a batch of events of one kind.

    Args:
        shard: row of the statistics that this process increments.
        waiting: where events wait for their decision.
        lock: of decisions that await confirmation, against events of the other kind.
    """

    def __init__(self, *, shard: int, waiting: Waiting[Sent], lock: Literal["SHARE", "UPDATE"]) -> None:
        self.waiting = waiting
        self._lock = lock
        self._shard = shard
        self._contracts = Contracts()

    def write(self, cursor: Cursor, events: Sequence[Sent]) -> list[Verdict]:
        """Records what can be recorded and returns a verdict for each event, in order."""
        targets = resolve(cursor, sorted({event.decision_id for event in events}))
        awaiting = [target for target in targets.values() if target.awaits_confirmation]
        # Without such decisions one statement writes everything, and needs no transaction around it.
        with one_transaction(cursor) if awaiting else nullcontext():
            if awaiting:
                targets |= lock_and_confirm(cursor, awaiting, self._lock)
            fitted = self._fit(cursor, events, targets)
            new = self._record(cursor, events, fitted)
        rejected = [
            entry_of(event, outcome, targets[event.decision_id])
            for event, outcome in zip(events, fitted, strict=True)
            if isinstance(outcome, Rejection) and outcome.reason not in KEPT_NOWHERE
        ]
        if rejected:
            quarantine.keep(cursor, rejected)
        return [_verdict(outcome, new) for outcome in fitted]

    @abstractmethod
    def match(self, event: Sent, target: Target, contract: Contract) -> Matched | Rejection:
        """Fits an event to its decision, or says why it does not fit."""

    @abstractmethod
    def write_batch(self, cursor: Cursor, events: Sequence[Matched], *, shard: int) -> set[tuple[Hashable, ...]]:
        """Records events with different keys; returns the keys that are new."""

    def _fit(
        self, cursor: Cursor, events: Sequence[Sent], targets: Mapping[UUID, Target]
    ) -> list[Matched | Rejection | None]:
        """Each event with its decision, or why it does not fit; None when its decision is not known."""
        keys = {(target.experiment, target.epoch) for target in targets.values()}
        contracts = self._contracts.of(cursor, keys)
        fitted = [self._fit_one(event, targets.get(event.decision_id), contracts) for event in events]
        if any(isinstance(one, Rejection) and one.reason == "unknown_metric" for one in fitted):
            contracts = self._contracts.read_again(cursor, keys)
            fitted = [self._fit_one(event, targets.get(event.decision_id), contracts) for event in events]
        return fitted

    def _fit_one(
        self, event: Sent, target: Target | None, contracts: Mapping[EpochKey, Contract]
    ) -> Matched | Rejection | None:
        if target is None:
            return None
        if event.permitted is not None and target.experiment not in event.permitted:
            return Rejection(reason=NOT_PERMITTED, detail=f"its key is for {', '.join(event.permitted)} only")
        if target.erased:
            return Rejection(reason=ERASED, detail="the unit of its decision was erased: nothing more is kept about it")
        contract = contracts.get((target.experiment, target.epoch))
        if contract is None:
            raise LookupError(f"decisions name epoch {target.epoch} of {target.experiment!r}, which does not exist")
        return self.match(event, target, contract)

    def _record(
        self, cursor: Cursor, events: Sequence[Sent], fitted: Sequence[Matched | Rejection | None]
    ) -> set[tuple[Hashable, ...]]:
        """Writes those that have a decision, and keeps those that have none; returns the keys that are new."""
        matched = {one.key: one for one in fitted if isinstance(one, Event)}
        new = self.write_batch(cursor, list(matched.values()), shard=self._shard) if matched else set()
        unmatched = {event.key: event for event, one in zip(events, fitted, strict=True) if one is None}
        if unmatched:
            self.waiting.keep(cursor, list(unmatched.values()))
        return new


def entry_of(event: Event, rejection: Rejection, target: Target | None = None) -> Entry:
    """An event as it is kept in quarantine."""
    return Entry(
        fingerprint=":".join(map(str, (event.kind, *event.key))),
        kind=event.kind,
        reason=rejection.reason,
        detail=rejection.detail,
        payload=msgspec.to_builtins(event),
        experiment=target.experiment if target else None,
        epoch=target.epoch if target else None,
        arm=target.arm if target else None,
        decision_id=event.decision_id,
    )


def _verdict(outcome: Event | Rejection | None, new: set[tuple[Hashable, ...]]) -> Verdict:
    """`new` loses the keys it answers for: of equal events in one batch the first is the accepted one."""
    if isinstance(outcome, Rejection):
        return Verdict(status="rejected", rejection=outcome)
    if outcome is None:
        return Verdict(status="unmatched")
    if outcome.key in new:
        new.remove(outcome.key)
        return Verdict(status="accepted", matched=outcome)
    return Verdict(status="duplicate", matched=outcome)
