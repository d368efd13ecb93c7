"""Shapes of requests and answers: decoding checks them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Raw, Struct

from app.auth import Scope
from app.items import ItemRequest
from app.recommenders import MAX_ITEMS, Item
from app.serving.durability import Durability
from app.serving.verdicts import Status
from app.specification import ExperimentRequest, ItemId, Key, State
from app.store.keys import KeyRecord

__all__ = [
    "AllFlags",
    "BatchRequest",
    "BulkExposures",
    "BulkFeedback",
    "ChannelRequest",
    "ChannelSecret",
    "ChannelUrl",
    "EventAnswer",
    "ExperimentView",
    "ExposureRequest",
    "FeedbackRequest",
    "FlagAnswer",
    "FlagMetadata",
    "FlagRequest",
    "IssuedKey",
    "ItemRequest",
    "ItemsRequest",
    "KeyRequest",
    "KeyView",
    "NewExperiment",
    "PinRequest",
    "QuarantineSelection",
    "RecommendationAnswer",
    "RecommendationRequest",
    "RotationRequest",
    "SilenceRequest",
]

Text = Annotated[str, Meta(min_length=1, max_length=256)]
# Far from where the square, or the sum of many squares, would overflow in the statistics.
Finite = Annotated[float, Meta(ge=-1e100, le=1e100)]
Moment = Annotated[datetime, Meta(tz=True)]
ChannelUrl = Annotated[str, Meta(max_length=2000, pattern=r"^https?://[^\s/]")]
ChannelSecret = Annotated[str, Meta(min_length=16, max_length=256)]


class _Body(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's body: every word in it is known."""


class RecommendationRequest(_Body, frozen=True, kw_only=True):
    """`POST /v1/recommendations`."""

    experiment: Key
    unit: Text
    k: Annotated[int, Meta(ge=1, le=MAX_ITEMS)] = 10
    context: dict[str, Any] = {}
    decision_id: Annotated[
        UUID | None, Meta(description="A client-made UUIDv7: a retry with the same one gets the first answer")
    ] = None


class RecommendationAnswer(Struct, frozen=True, kw_only=True):
    """One decision."""

    decision_id: UUID
    experiment: str
    arm: str
    served_arm: str | None
    propensity: float
    allocation: int
    reason: str
    items: tuple[Item, ...]
    payload: Any
    durability: Durability


class BatchRequest(_Body, frozen=True, kw_only=True):
    """`POST /v1/recommendations/batch`; each request is decoded by itself."""

    requests: Annotated[list[Raw], Meta(max_length=1000)]


class FlagRequest(Struct, frozen=True, kw_only=True):
    """The body of OFREP's calls. Other words in it are no fault: the protocol may grow."""

    context: dict[str, Any] = {}  # `targetingKey` is the unit


class FlagMetadata(Struct, frozen=True, kw_only=True):
    """The decision behind a flag's value. OFREP wants it flat."""

    decision_id: UUID
    propensity: float
    allocation: int


class FlagAnswer(Struct, frozen=True, kw_only=True):
    """One flag."""

    key: str
    value: Any
    reason: str
    variant: str
    metadata: FlagMetadata


class AllFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All flags of a unit."""

    flags: list[FlagAnswer]
    metadata: dict[str, int] = {}  # `left_out`: experiments beyond the first thousand


class FeedbackRequest(_Body, frozen=True, kw_only=True):
    """One event about one decision."""

    decision_id: UUID
    value: Finite
    metric: Key | None = None  # null: the experiment's reward
    item_id: ItemId | None = None
    position: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    event_id: Text | None = None  # null: one event per decision, metric and item
    occurred_at: Moment | None = None  # null: now


class BulkFeedback(_Body, frozen=True, kw_only=True):
    """Several events; each is decoded by itself, so that one bad event does not spoil the others."""

    events: Annotated[list[Raw], Meta(max_length=5000)]


class ExposureRequest(_Body, frozen=True, kw_only=True):
    """A unit was shown one decision."""

    decision_id: UUID
    occurred_at: Moment | None = None  # null: now


class BulkExposures(_Body, frozen=True, kw_only=True):
    """Several confirmations; each is decoded by itself, as feedback is."""

    exposures: Annotated[list[Raw], Meta(max_length=5000)]


class QuarantineSelection(_Body, frozen=True, kw_only=True):
    """Which open entries are meant: these, or all of an experiment, of a reason, or of both."""

    ids: Annotated[list[Annotated[int, Meta(ge=1, le=2**53)]], Meta(min_length=1, max_length=5000)] | None = None
    experiment: Key | None = None
    reason: Text | None = None


class SilenceRequest(_Body, frozen=True, kw_only=True):
    """`POST /v1/silences`."""

    labels: Annotated[dict[Text, Text], Meta(min_length=1, max_length=32)]
    ends_at: Moment
    starts_at: Moment | None = None  # null: now
    comment: Annotated[str, Meta(max_length=1000)] = ""


class ChannelRequest(_Body, frozen=True, kw_only=True):
    """`PUT /v1/alert-channels/{key}`."""

    url: ChannelUrl
    secret: ChannelSecret


class KeyRequest(_Body, frozen=True, kw_only=True):
    """`POST /v1/keys`."""

    name: Text
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=16)]
    experiments: Annotated[list[Key], Meta(min_length=1, max_length=100)] | None = None  # null: every one
    rate_per_s: Annotated[float, Meta(gt=0, le=1e6)] | None = None  # null: any number
    expires_at: Moment | None = None  # null: never


class RotationRequest(_Body, frozen=True, kw_only=True):
    """`POST /v1/keys/{prefix}/rotate`."""

    overlap_s: Annotated[float, Meta(ge=0, le=30 * 86400)] = 3600.0


class KeyView(Struct, frozen=True, kw_only=True):
    """A key without its secret."""

    prefix: str
    name: str
    scopes: list[str]
    experiments: tuple[str, ...] | None
    rate_per_s: float | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    previous_until: datetime | None

    @classmethod
    def of(cls, record: KeyRecord) -> "KeyView":
        """What may be told of a key."""
        told = {name: getattr(record, name) for name in cls.__struct_fields__}
        return cls(**{**told, "scopes": sorted(record.scopes)})


class IssuedKey(Struct, frozen=True, kw_only=True):
    """A key with its secret, told once."""

    key: str
    record: KeyView


class EventAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event."""

    status: Status
    reason: str | None = None
    durability: Durability | None = None  # null: nothing was recorded


class NewExperiment(ExperimentRequest, frozen=True, kw_only=True):
    """`POST /v1/experiments`."""

    key: Key


class PinRequest(_Body, frozen=True, kw_only=True):
    """`PUT /v1/experiments/{key}/overrides/units/{unit}`."""

    arm: Key


class ExperimentView(Struct, frozen=True, kw_only=True):
    """What an experiment has beside its specification."""

    key: str
    state: State
    version: int
    epoch: int
    allocation: int
    created_at: datetime
    updated_at: datetime


class ItemsRequest(_Body, frozen=True, kw_only=True):
    """`PUT /v1/items`: inserts or replaces."""

    items: Annotated[list[ItemRequest], Meta(max_length=10_000)]
