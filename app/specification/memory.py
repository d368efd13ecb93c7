"""How far back a policy looks: at everything, at the last while, or at the past less and less.

Ages count from the moment at which an exposure could first be learned from, so that a memory shorter than the
attribution window still holds something.
"""

import math
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

__all__ = ["AnyMemory", "Decay", "Everything", "SlidingWindow"]

Seconds = Annotated[float, Meta(ge=1, le=315_360_000, description="Seconds, up to ten years")]

# Weights below 2^-20 do not matter; below 2^-64 they are not even summed.
_HALVINGS_THAT_MATTER = 20
_HALVINGS_SUMMED = 64


class _Memory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """A kind of memory."""

    half_life_s: ClassVar[float | None] = None

    @property
    def kind(self) -> str:
        """The word that stands for it in a specification."""
        return str(self.__struct_config__.tag)

    @property
    def unit_s(self) -> float:
        """Buckets of up to a tenth of this, in seconds, are fine enough."""
        return math.inf

    @property
    def matters_s(self) -> float:
        """Up to which age, in seconds, it matters when something was."""
        return 0.0

    def since(self, as_of: datetime) -> datetime | None:
        """Start of the oldest bucket that counts at `as_of`; None: all do."""
        del as_of
        return None


class Everything(_Memory, frozen=True, kw_only=True, tag="all"):
    """All outcomes count the same."""


class SlidingWindow(_Memory, frozen=True, kw_only=True, tag="window"):
    """Outcomes count the same while they are younger than `window_s`, and then no more."""

    window_s: Seconds

    @property
    def unit_s(self) -> float:
        """The window."""
        return self.window_s

    @property
    def matters_s(self) -> float:
        """The window."""
        return self.window_s

    def since(self, as_of: datetime) -> datetime:
        """The window's start."""
        return as_of - timedelta(seconds=self.window_s)


class Decay(_Memory, frozen=True, kw_only=True, tag="decay"):
    """An outcome's weight halves with every `half_life_s` of its age; priors keep theirs."""

    half_life_s: Seconds  # type: ignore[misc]

    @property
    def unit_s(self) -> float:
        """The half-life."""
        return self.half_life_s

    @property
    def matters_s(self) -> float:
        """Until little more than a millionth of the weight is left."""
        return _HALVINGS_THAT_MATTER * self.half_life_s

    def since(self, as_of: datetime) -> datetime:
        """When the weight would be 2^-64."""
        return as_of - timedelta(seconds=_HALVINGS_SUMMED * self.half_life_s)


# As a type, so that msgspec reads the right one by its "kind".
AnyMemory = Everything | SlidingWindow | Decay
