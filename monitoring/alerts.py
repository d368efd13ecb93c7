"""The state machine of an alert: inactive → pending → firing → resolved. Pure: readings, states and time come in.

    inactive, resolved ──condition──▶ pending ──held for_s──▶ firing ──quiet keep_firing_for_s──▶ resolved
                         (for_s = 0: firing at once)
    pending ──condition false──▶ inactive

No data, a small sample and an evaluation that failed say nothing, so they keep the state.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from monitoring.alert_rules import Reading, Rule

__all__ = [
    "Counts",
    "Flip",
    "Instance",
    "Outcome",
    "State",
    "burn_rate",
    "close",
    "evaluate",
    "fingerprint",
    "why_undecided",
]

State = Literal["inactive", "pending", "firing", "resolved"]


class Instance(Struct, frozen=True, kw_only=True):
    """An alert for one label set: its state, and since when."""

    state: State = "inactive"
    since: datetime
    quiet_since: datetime | None = None  # of a firing alert: since when its condition is false


class Flip(Struct, frozen=True, kw_only=True):
    """A change of state."""

    before: State
    after: State
    at: datetime
    value: float | None
    reason: str


class Outcome(Struct, frozen=True, kw_only=True):
    """What one evaluation came to."""

    instance: Instance
    flip: Flip | None = None
    undecided: str = ""  # why the state was kept; empty when the reading was judged


class Counts(Struct, frozen=True, kw_only=True):
    """Events of a window, and how many of them failed."""

    failed: float
    total: float


def evaluate(rule: Rule, reading: Reading, instance: Instance, now: datetime) -> Outcome:
    """One step: the next state of the alert, and the flip if it is another one."""
    undecided = why_undecided(rule, reading)
    if undecided:
        return Outcome(instance=instance, undecided=undecided)
    holds = rule.holds(reading, firing=instance.state == "firing")
    after, quiet_since = _next(rule, instance, now, holds=holds)
    if after == instance.state:
        return Outcome(instance=replace(instance, quiet_since=quiet_since))
    reason = reading.detail or ("the condition holds" if holds else "the condition does not hold any more")
    return _flipped(instance, after, now, reason, reading.value)


def why_undecided(rule: Rule, reading: Reading) -> str:
    """Why a reading says nothing about the rule; empty when it does."""
    if reading.value is None:
        return f"no data: {reading.detail}" if reading.detail else "no data"
    if reading.sample < rule.min_sample:
        return f"too small a sample: {reading.sample:g} of {rule.min_sample:g}"
    return ""


def close(instance: Instance, now: datetime, reason: str) -> Outcome:
    """Ends an alert that is watched no more: its rule, arm or experiment is gone."""
    ends: Mapping[State, State] = {"pending": "inactive", "firing": "resolved"}
    after = ends.get(instance.state)
    return Outcome(instance=instance) if after is None else _flipped(instance, after, now, reason, None)


def burn_rate(long: Counts, short: Counts, objective: float) -> float | None:
    """The smaller burn rate of two windows, in multiples of what the objective allows; None without events."""
    if not long.total or not short.total:
        return None
    return min(window.failed / window.total for window in (long, short)) / (1 - objective)


def fingerprint(labels: Mapping[str, str]) -> str:
    """The identity of a label set: equal sets, whatever their order, have the same."""
    return hashlib.sha256(msgspec.json.encode(sorted(labels.items()))).hexdigest()[:32]


def _next(rule: Rule, instance: Instance, now: datetime, *, holds: bool) -> tuple[State, datetime | None]:
    """The next state, and since when a firing alert is quiet."""
    state = instance.state
    if state == "firing":
        if holds:
            return "firing", None
        quiet_since = instance.quiet_since or now
        is_over = now - quiet_since >= timedelta(seconds=rule.keep_firing_for_s)
        return ("resolved", None) if is_over else ("firing", quiet_since)
    if not holds:
        return ("inactive" if state == "pending" else state), None
    held_since = instance.since if state == "pending" else now
    return ("firing" if now - held_since >= timedelta(seconds=rule.for_s) else "pending"), None


def _flipped(instance: Instance, after: State, now: datetime, reason: str, value: float | None) -> Outcome:
    flip = Flip(before=instance.state, after=after, at=now, value=value, reason=reason)
    return Outcome(instance=Instance(state=after, since=now), flip=flip)
