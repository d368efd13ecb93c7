"""Who is pinned to an arm, ready to be looked up: the cost of a request does not grow with the number of overrides."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from app.specification import Specification
from bandits.selection import unit_interval

__all__ = ["Overrides"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Overrides:
    """The overrides of one experiment. Arms are indices into its specification."""

    units: Mapping[str, int]  # the arm of each unit that is named
    bounds: tuple[float, ...]  # running sums of the shares, in the order of the specification
    arms: tuple[int, ...]  # the arm of each share

    @classmethod
    def of(cls, specification: Specification) -> Self:
        """Those of a valid specification."""
        index = {key: place for place, key in enumerate(specification.arm_keys)}
        overrides = specification.overrides
        shares = [(index[override.arm], override.share) for override in overrides if override.share is not None]
        return cls(
            units={unit: index[override.arm] for override in overrides for unit in override.units},
            bounds=tuple(accumulate(share for _, share in shares)),
            arms=tuple(arm for arm, _ in shares),
        )

    def by_share(self, salt: bytes, unit: str) -> int | None:
        """The arm whose share a unit falls into, if any: always the same for the same shares.

        The hash is one of its own, so membership depends neither on the holdout nor on the policy's choice.
        """
        if not self.bounds:
            return None
        place = bisect_right(self.bounds, unit_interval(salt, "override", unit))
        return self.arms[place] if place < len(self.arms) else None
