"""What a data set must offer to be replayed. A new data set is one new file that makes a `Scenario`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from app.recommenders import CatalogueItem
from app.replay.client import Decision

__all__ = ["Click", "Scenario", "Visitor"]


class Click(msgspec.Struct, frozen=True):
    """Which item a visitor clicked, and at which position; neither where a decision has no items."""

    item_id: str | None = None
    position: int | None = None  # from 1


class Visitor(Protocol):
    """A real user at one moment: what is asked for, and what the user does with the answer."""

    @property
    def unit(self) -> str:
        """Who is being served."""

    @property
    def context(self) -> Mapping[str, Any]:
        """What is known about the user, as JSON."""

    def click(self, decision: Decision) -> Click | None:
        """What the user clicks, as far as the data tells; None when nothing."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A data set, made ready for replay."""

    experiment: str  # its key
    specification: Mapping[str, Any]  # the body of PUT /v1/experiments/{key}
    items: Sequence[CatalogueItem]  # the catalogue
    visitors: Callable[[np.random.Generator], Iterator[Visitor]]  # an endless stream, the same for the same seed
    expected: Mapping[str, float]  # arm → reward rate that the data promises
    k: int
    click_delay_s: float  # mean delay of those clicks that do not come at once; well within the window
