"""The service's health in six figures, by what the processes of this machine have counted."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from flask import current_app

from app import wording
from app.services import Services
from monitoring.exposition import Totals
from monitoring.instruments import COMMIT_DURATION, DECISIONS, REQUEST_DURATION

__all__ = ["DATABASE_AWAY", "LIMITS", "Limit", "Vital", "Vitals", "vitals"]

Tone = Literal["good", "warn", "bad", "none"]

_WINDOW_S: Final = 300.0
_SAMPLES: Final = 60
_QUANTILE: Final = 0.99
_WATCHED: Final = (DECISIONS, REQUEST_DURATION, COMMIT_DURATION)


class Limit(NamedTuple):
    """Above it a tile has a colour: that of an alert of deploy/prometheus, yellow for a ticket, red for a page."""

    above: float
    alert: str
    tone: Literal["warn", "bad"]


# Highest first. A test holds them against the rules.
LIMITS: Final[Mapping[str, tuple[Limit, ...]]] = {
    "Errors": (Limit(0.0144, "CroupierBudgetBurnsFast", "bad"), Limit(0.01, "CroupierErrors", "warn")),
    "Latency p99": (Limit(0.1, "CroupierBudgetLeaks", "warn"),),
    "Commit p99": (Limit(0.25, "CroupierCommitsSlow", "warn"),),
    "Spool": (Limit(0.0, "CroupierSpoolNotEmpty", "warn"),),
    "Allocations": (Limit(60.0, "CroupierAllocationsOld", "bad"),),
}
DATABASE_AWAY: Final = Limit(0.0, "CroupierDatabaseAway", "bad")


@dataclass(frozen=True, kw_only=True)
class Vital:
    """One tile."""

    name: str
    value: str
    note: str
    tone: Tone = "none"

    @classmethod
    def judged(cls, name: str, value: str, note: str, figure: float | None) -> "Vital":
        """With the colour of the alert whose limit the figure is above, and its name."""
        if figure is None:
            return cls(name=name, value=value, note=note)
        for limit in LIMITS[name]:
            if figure > limit.above:
                return cls(name=name, value=value, note=f"{note}: {limit.alert}", tone=limit.tone)
        return cls(name=name, value=value, note=note, tone="good")


class Vitals:
    """Remembers what was counted a few minutes ago, to tell what happened since. One a worker."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._samples: deque[tuple[float, dict[str, Totals]]] = deque(maxlen=_SAMPLES)

    def now(self) -> list[Vital]:
        """The figures of the last minutes, at first since the start."""
        counted = self._services.aside(lambda: self._services.telemetry.totals(_WATCHED))
        return [*self._traffic(counted), self._spool(), self._allocation()]

    def _traffic(self, counted: dict[str, Totals] | None) -> list[Vital]:
        if counted is None:
            off = "CROUPIER_METRICS is off"
            return [Vital(name=name, value="–", note=off) for name in ("Decisions", "Errors", "Latency", "Commit")]
        span, before = self._since(counted)

        def grown(name: str, keep: Callable[[tuple[str, ...]], bool]) -> Totals:
            old = before.get(name, {})
            return {key: value - old.get(key, 0.0) for key, value in counted[name].items() if keep(key)}

        decided = sum(grown(DECISIONS.name, lambda _: True).values())
        answered = grown(REQUEST_DURATION.name, lambda key: len(key) == 4 and key[1].startswith("/v1"))
        failed = sum(value for key, value in answered.items() if key[2].startswith("5"))
        total = sum(answered.values())
        latency = _quantile(grown(REQUEST_DURATION.name, lambda key: len(key) == 4 and "/v1/recomm" in key[1]))
        commit = _quantile(grown(COMMIT_DURATION.name, lambda key: len(key) == 3 and key[1] == "committed"))
        note = f"last {wording.seconds(span)}" if span else "since the start"
        rate = wording.number(decided / span) + " /s" if span else wording.number(decided)
        share = failed / total if total else None
        return [
            Vital(name="Decisions", value=rate, note=note),
            Vital.judged("Errors", wording.percent(share), f"5xx, {note}", share),
            Vital.judged("Latency p99", _at_most(latency), "of recommendations", latency),
            Vital.judged("Commit p99", _at_most(commit), "of the journal", commit),
        ]

    def _since(self, counted: dict[str, Totals]) -> tuple[float, dict[str, Totals]]:
        """How long ago the oldest sample of the window was taken, and what it was."""
        now = time.monotonic()
        while self._samples and now - self._samples[0][0] > _WINDOW_S:
            self._samples.popleft()
        self._samples.append((now, counted))
        at, before = self._samples[0]
        return (now - at, before) if now - at >= 1 else (0.0, {})

    def _spool(self) -> Vital:
        used = self._services.spool.size_bytes()
        if self._services.health.away:
            note = f"the database is away: {DATABASE_AWAY.alert}"
            return Vital(name="Spool", value=wording.size(used), note=note, tone=DATABASE_AWAY.tone)
        return Vital.judged("Spool", wording.size(used), "waiting on disk", used)

    def _allocation(self) -> Vital:
        at = self._services.allocations.refreshed_at
        age = None if at is None else time.monotonic() - at
        return Vital.judged("Allocations", wording.seconds(age), "since they were read", age)


def vitals() -> Vitals:
    """Of this worker."""
    found: Vitals = current_app.extensions["vitals"]
    return found


def _quantile(buckets: Totals) -> float | None:
    """The upper bound of the bucket that the quantile lies in; infinity: above the last; None: nothing was measured."""
    counts: dict[float, float] = {}
    for key, value in buckets.items():
        bound = float(key[-1])
        counts[bound] = counts.get(bound, 0.0) + value
    total, seen = sum(counts.values()), 0.0
    if total <= 0:
        return None
    for bound in sorted(counts):
        seen += counts[bound]
        if seen >= _QUANTILE * total:
            return bound
    return None


def _at_most(bound: float | None) -> str:
    if bound is None:
        return "–"
    return "> 1 s" if bound == float("inf") else f"≤ {wording.seconds(bound)}"
