"""Shapes of answers that views put together from rows, for `/openapi.json`. Tests hold the answers against them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta, Struct, defstruct
from msgspec.structs import fields

from app.api.schemas import EventAnswer, ExperimentView, KeyView
from app.avatars import AvatarRequest
from app.reports.data import DataWindow, DriftWindow
from app.reports.states import OutcomeState
from app.specification import Specification
from app.store.avatars import Look
from app.store.decisions import DecisionRow
from monitoring.alert_rules import AnyRule

__all__ = [
    "Alert",
    "AlertsPage",
    "AuditPage",
    "AvatarView",
    "AvatarsPage",
    "CatalogueChange",
    "CatalogueDeletion",
    "Channel",
    "ChannelsPage",
    "DataPage",
    "DriftPage",
    "EventAnswers",
    "Experiment",
    "ExperimentsPage",
    "Explanation",
    "HistoryPage",
    "KeysPage",
    "Liveness",
    "LooksPage",
    "QuarantineEntry",
    "QuarantinePage",
    "Readiness",
    "RecommendationAnswers",
    "RulesPage",
    "Silence",
    "SilencesPage",
]

Experiment = defstruct(
    "Experiment",
    [(field.name, field.type) for shape in (ExperimentView, Specification) for field in fields(shape)],
    namespace={"__doc__": "An experiment: its specification's members beside those of the row."},
    kw_only=True,
)


class _Shown(Struct, frozen=True, kw_only=True):
    """Never made: views answer with mappings that have these members."""


class ExperimentsPage(_Shown, frozen=True, kw_only=True):
    """Experiments in the order of their keys."""

    experiments: list[Experiment]  # type: ignore[valid-type] # made above
    next_after: str | None


class AuditEntry(_Shown, frozen=True, kw_only=True):
    """One change; the members are columns of `audit_log`."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: Any
    after: Any


class AuditPage(_Shown, frozen=True, kw_only=True):
    """Changes of an experiment, newest first."""

    experiment: str
    entries: list[AuditEntry]
    next_before: int | None


class Allocation(_Shown, frozen=True, kw_only=True):
    """What decisions were dealt from; mappings are by arm."""

    number: int
    reason: str
    version: int
    epoch: int
    probabilities: dict[str, float]
    posterior: dict[str, dict[str, float | None]]
    evidence: dict[str, dict[str, float | None]]
    data_as_of: datetime
    applied_at: datetime


class HistoryPage(_Shown, frozen=True, kw_only=True):
    """Allocations, newest first."""

    experiment: str
    allocations: list[Allocation]
    next_before: int | None


class Confirmation(_Shown, frozen=True, kw_only=True):
    """That a unit was shown a decision."""

    occurred_at: datetime
    received_at: datetime


class FeedbackRow(_Shown, frozen=True, kw_only=True):
    """An event as it was recorded; the members are columns of `feedback`."""

    decision_id: UUID
    metric: str
    event_id: str
    value: float
    item_id: str | None
    position: int | None
    occurred_at: datetime
    received_at: datetime


class ShadowChoice(_Shown, frozen=True, kw_only=True):
    """What the shadow policy would have done."""

    arm: str
    probabilities: dict[str, float]


class QuarantineEntry(_Shown, frozen=True, kw_only=True):
    """An event that could not be used; the members are columns of `quarantine`."""

    id: int
    kind: str
    experiment: str | None
    epoch: int | None
    arm: str | None
    decision_id: UUID | None
    reason: str
    detail: str
    payload: Any
    state: str
    times: int
    first_seen: datetime
    last_seen: datetime


class QuarantinePage(_Shown, frozen=True, kw_only=True):
    """Entries, newest first."""

    entries: list[QuarantineEntry]
    next_before: int | None


class Explanation(_Shown, frozen=True, kw_only=True):
    """One decision, why it was made, and what came of it."""

    decision: DecisionRow
    why: str
    allocation: Allocation | None
    shadow: ShadowChoice | None
    exposure: Confirmation | None
    feedback: list[FeedbackRow]
    outcomes: dict[str, float]
    states: dict[str, OutcomeState]
    rejections: list[QuarantineEntry]


class DriftPage(_Shown, frozen=True, kw_only=True):
    """Passes over closed windows, newest first."""

    experiment: str
    passes: list[DriftWindow]
    next_before: datetime | None


class DataPage(_Shown, frozen=True, kw_only=True):
    """The quality of the data of closed windows, newest first."""

    experiment: str
    windows: list[DataWindow]
    next_before: datetime | None


class AvatarView(AvatarRequest, frozen=True, kw_only=True):
    """An avatar, with what is wrong with its last list from each arm; null: nothing."""

    avatar: str
    since: datetime
    looked_at: datetime | None
    faults: dict[str, str | None]


class AvatarsPage(_Shown, frozen=True, kw_only=True):
    """All avatars of an experiment."""

    avatars: list[AvatarView]


class StoredLook(Look, frozen=True, kw_only=True):
    """One look at one arm."""

    id: int
    at: datetime


class LooksPage(_Shown, frozen=True, kw_only=True):
    """Looks at an avatar, newest first."""

    looks: list[StoredLook]
    next_before: int | None


class AlertFlip(_Shown, frozen=True, kw_only=True):
    """A change of an alert's state."""

    before: str
    after: str
    value: float | None
    reason: str
    at: datetime


class Alert(_Shown, frozen=True, kw_only=True):
    """An alert with its last flips; the other members are columns of `alerts`."""

    id: int
    fingerprint: str
    experiment: str
    rule: str
    labels: dict[str, str]
    severity: str
    summary: str
    state: Literal["inactive", "pending", "firing", "resolved"]
    since: datetime
    quiet_since: datetime | None
    value: float | None
    reason: str
    misses: int
    undecided: str
    evaluated_at: datetime
    acknowledged_by: str | None
    acknowledged_at: datetime | None
    flips: list[AlertFlip]


class AlertsPage(_Shown, frozen=True, kw_only=True):
    """Alerts, newest first."""

    alerts: list[Alert]
    next_before: int | None


class Silence(_Shown, frozen=True, kw_only=True):
    """A silence; the members are columns of `alert_silences`."""

    id: int
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    comment: str
    created_by: str


class SilencesPage(_Shown, frozen=True, kw_only=True):
    """Silences, newest first."""

    silences: list[Silence]
    next_before: int | None


class RulesPage(_Shown, frozen=True, kw_only=True):
    """The rules in force by key; in place of one that cannot be read, why."""

    rules: dict[str, AnyRule | str]


class Channel(_Shown, frozen=True, kw_only=True):
    """A webhook; the members are columns of `alert_channels`."""

    key: str
    url: str
    attempts: int
    retry_at: datetime | None
    switched_off_at: datetime | None
    fault: str | None
    updated_at: datetime


class ChannelsPage(_Shown, frozen=True, kw_only=True):
    """All webhooks."""

    channels: list[Channel]


class CatalogueChange(_Shown, frozen=True, kw_only=True):
    """How many items were stored, and the catalogue's version since."""

    items: int
    catalogue_version: int


class CatalogueDeletion(_Shown, frozen=True, kw_only=True):
    """The catalogue's version since."""

    catalogue_version: int


_ANSWER = {"$ref": "#/components/schemas/RecommendationAnswer"}
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


class RecommendationAnswers(_Shown, frozen=True, kw_only=True):
    """A decision or a problem for each request, in their order."""

    results: list[Annotated[Any, Meta(extra_json_schema={"anyOf": [_ANSWER, _PROBLEM]})]]


class EventAnswers(_Shown, frozen=True, kw_only=True):
    """What became of each event, in their order."""

    results: list[EventAnswer]


class Liveness(_Shown, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["alive"]


class Dependency(_Shown, frozen=True, kw_only=True):
    """Whether one works, and what there is to say about it."""

    ok: bool
    detail: str | None = None
    age_s: float | None = None
    bytes: int | None = None


class Readiness(_Shown, frozen=True, kw_only=True):
    """Whether decisions can be answered; each dependency by name."""

    status: Literal["ready", "not ready"]
    checks: dict[str, Dependency]


class KeysPage(_Shown, frozen=True, kw_only=True):
    """All keys."""

    keys: list[KeyView]
