"""What an avatar is: who asks, how often, and what its lists must be like."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from app.preview import PreviewRequest
from app.recommenders import MAX_ITEMS
from app.specification import ItemId

__all__ = ["AvatarRequest", "Expectation"]

_Items = Annotated[tuple[ItemId, ...], Meta(max_length=100)]


class Expectation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must be true of every list; that there is one, without a failure, always must."""

    min_items: Annotated[int, Meta(ge=0, le=MAX_ITEMS)] = 0
    must_include: _Items = ()
    must_not_include: _Items = ()
    min_overlap: Annotated[float, Meta(ge=0, le=1, description="With the list before; null: any")] | None = None
    overlap: Annotated[
        Literal["jaccard", "rank_biased"], Meta(description="How alike two lists are: by their items, or by ranks too")
    ] = "jaccard"
    max_latency_ms: Annotated[float, Meta(gt=0, le=60_000, description="Null: any")] | None = None

    def __post_init__(self) -> None:
        both = sorted({*self.must_include} & {*self.must_not_include})
        if both:
            raise ValueError(f"{both[0]!r} is both in must_include and in must_not_include")


class AvatarRequest(PreviewRequest, frozen=True, kw_only=True):
    """The body of `PUT /v1/experiments/{key}/avatars/{avatar}`."""

    every_s: Annotated[int, Meta(ge=60, le=604_800, description="Seconds between two looks")] = 300
    expect: Expectation = Expectation()

    def __post_init__(self) -> None:
        least = max(self.expect.min_items, len(set(self.expect.must_include)))
        if least > self.k:
            raise ValueError(f"k={self.k} cannot hold the {least} items that expect asks for")
