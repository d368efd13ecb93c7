"""What the kinds of reward share: how their priors are read, and what bounds mean to those without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Self

import msgspec
import numpy as np

from bandits.statistics import FloatArray

# Decayed sums are rounded: so much more reward than there can be, relative, is not a fault.
ROUNDING: Final = 1e-9


class Unbounded:
    """A kind of reward that has no bounds of its own."""

    kind: ClassVar[str]

    def within(self, bounds: tuple[float, float] | None) -> Self:
        """This kind of reward.

        Raises:
            ValueError: when there are bounds.
        """
        if bounds is not None:
            raise ValueError(f"{self.kind} rewards take no bounds; leave them out, or choose the model bounded")
        return self


def prior_vectors(priors: Sequence[msgspec.Struct], n_arms: int) -> list[FloatArray]:
    """The priors' parameters in the order of their fields, ndarrays of shape (n_arms,).

    Raises:
        ValueError: when there is not one prior per arm.
    """
    if len(priors) != n_arms:
        raise ValueError(f"{n_arms} arms need one prior each, got {len(priors)}")
    rows = np.array([msgspec.structs.astuple(prior) for prior in priors], dtype=np.float64)
    return list(rows.T)


def logistic_shift(share: float, shift: float) -> float:
    """The share within (0, 1) whose logit is `shift` larger than that of `share`."""
    odds = share / (1 - share) * float(np.exp(shift))
    return odds / (1 + odds)


def refuse_mean(mean: float, low: float, high: float) -> None:
    """Refuses a mean that does not lie strictly between two ends."""
    if not low < mean < high:
        raise ValueError(f"mean must lie between {low:g} and {high:g}, got {mean:g}")


def refuse_deviation(kind: str, deviation: float | None) -> None:
    """Refuses a standard deviation that the kind of reward has no use for."""
    if deviation is not None:
        raise ValueError(f"the mean of {kind} rewards decides their deviation; leave it out")
