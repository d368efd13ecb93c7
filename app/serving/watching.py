"""What serving tells of itself: counts and durations, and spans and events of the requests that are traced."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ids import time_of
from app.serving.health import Health
from app.serving.spool import Spool
from app.serving.verdicts import Verdict
from app.store.decisions import DecisionRow
from app.store.events import Event
from app.store.exposures import ExposureEvent, MatchedExposure
from app.store.feedback import MatchedEvent
from app.store.timing import SYSTEM
from monitoring.instruments import (
    ALLOCATION_AGE,
    BATCH_SIZE,
    COMMIT_DURATION,
    DATABASE_AWAY,
    DATABASE_OPERATION,
    DECISIONS,
    EXPOSURES,
    FEEDBACK,
    FEEDBACK_DELAY,
    RECOMMENDER_DURATION,
    SPOOL_EVENTS,
    SPOOL_SIZE,
)
from monitoring.meter import Meter
from monitoring.telemetry import Telemetry
from monitoring.tracing import CURRENT

__all__ = ["EVALUATION_REASONS", "LogWatch", "note_decisions", "note_events", "note_recommender", "note_state"]

# The words of OpenTelemetry's convention for why a flag has its value: a fallback is a value set beforehand.
EVALUATION_REASONS = {
    "policy": "split",
    "warm_up": "split",
    "holdout": "targeting_match",
    "override": "targeting_match",
    "paused": "disabled",
    "fallback": "default",
}
# The table that each log's group commit inserts into.
_COLLECTIONS = {"decision": "decisions", "feedback": "feedback", "exposure": "exposures"}


@dataclass(frozen=True)
class LogWatch:
    """Watches one of the durable logs; `log` is its name."""

    meter: Meter
    log: str

    def batch(self, rows: int, outcome: str, seconds: float) -> None:
        """A group commit has ended."""
        self.meter.add(BATCH_SIZE, (self.log,), rows)
        self.meter.add(COMMIT_DURATION, (self.log, outcome), seconds)
        error = "" if outcome == "committed" else "_OTHER"
        self.meter.add(DATABASE_OPERATION, (SYSTEM, "INSERT", _COLLECTIONS[self.log], error), seconds)

    def recorded(self, rows: int, began: float, outcome: str) -> None:
        """A request has waited for its rows since `began`; `outcome` is their durability, or failed."""
        request = CURRENT.get()
        if request is not None and request.span is not None:
            attributes = {"croupier.log": self.log, "croupier.rows": rows, "croupier.durability": outcome}
            request.child("commit", began, attributes, failed=outcome == "failed")
        if outcome == "spooled":
            self.meter.add(SPOOL_EVENTS, (self.log, "spooled"), rows)


def note_recommender(meter: Meter, experiment: str, arm: str, began: float, *, answered: bool) -> None:
    """The chosen arm's recommender, or else a fallback, has answered what it was asked at `began`."""
    outcome = "answered" if answered else "fallback"
    meter.add(RECOMMENDER_DURATION, (experiment, arm, outcome), time.perf_counter() - began)
    request = CURRENT.get()
    if request is not None and request.span is not None:
        attributes = {"croupier.experiment": experiment, "croupier.arm": arm, "croupier.outcome": outcome}
        request.child("recommend", began, attributes)


def note_decisions(telemetry: Telemetry, rows: Sequence[DecisionRow]) -> None:
    """Decisions are about to be answered. Of several in one request the first stands for them in trace and log."""
    for row in rows:
        telemetry.meter.add(DECISIONS, (row.experiment, row.arm, row.reason))
    request = CURRENT.get()
    if request is None:
        return
    first = rows[0]
    request.experiment = first.experiment
    if request.span is not None:
        telemetry.event("feature_flag.evaluation", _evaluation(first))


def note_events(meter: Meter, events: Sequence[Event], verdicts: Sequence[Verdict], now: datetime) -> None:
    """Events about decisions are about to be answered."""
    for event, verdict in zip(events, verdicts, strict=True):
        if isinstance(event, ExposureEvent):
            experiment = verdict.matched.experiment if isinstance(verdict.matched, MatchedExposure) else ""
            meter.add(EXPOSURES, (experiment, verdict.status))
        else:
            _note_feedback(meter, verdict, now)


def note_state(meter: Meter, spool: Spool, health: Health, refreshed_at: float | None) -> None:
    """What can only be looked up; `refreshed_at` is when the allocations were last read, monotonic seconds."""
    if refreshed_at is not None:
        meter.add(ALLOCATION_AGE, (), time.monotonic() - refreshed_at)
    meter.add(SPOOL_SIZE, (), spool.size_bytes())
    meter.add(DATABASE_AWAY, (), float(health.away))


def _note_feedback(meter: Meter, verdict: Verdict, now: datetime) -> None:
    event = verdict.matched
    if not isinstance(event, MatchedEvent):
        meter.add(FEEDBACK, ("", "", verdict.status))
        return
    meter.add(FEEDBACK, (event.experiment, event.metric, verdict.status))
    if verdict.status == "accepted":
        delay_s = (now - time_of(event.decision_id)).total_seconds()
        meter.add(FEEDBACK_DELAY, (event.experiment, event.metric), max(delay_s, 0.0))


def _evaluation(row: DecisionRow) -> dict[str, str]:
    """A decision by OpenTelemetry's convention for feature flags. The unit is left out: it may be a person."""
    return {
        "feature_flag.key": row.experiment,
        "feature_flag.provider.name": "croupier",
        "feature_flag.result.variant": row.arm,
        "feature_flag.result.reason": EVALUATION_REASONS[row.reason],
        "feature_flag.version": str(row.allocation),
        "croupier.decision_id": str(row.decision_id),
    }
