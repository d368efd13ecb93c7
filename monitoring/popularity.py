"""How popular the items of a catalogue are, among the users of a training set or a reference window."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from monitoring.lists import FloatArray, IntArray, ItemSets, Sets

__all__ = ["Popularity"]

_HEAD: Final = 0.8  # share of the interactions that the head of the catalogue makes


@dataclass(frozen=True, eq=False)
class Popularity:
    """How many users interacted with each item.

    Attributes:
        users: number of users that interacted with each item of the catalogue, ndarray of shape (n_items,).
        n_users: number of users, U, 1 or more.

    Raises:
        ValueError: when a count is negative or above `n_users`.
    """

    users: IntArray
    n_users: int

    def __post_init__(self) -> None:
        if self.users.ndim != 1 or self.users.size == 0 or self.n_users < 1:
            raise ValueError(f"popularity needs users and items, got {self.n_users} and shape {self.users.shape}")
        if not 0 <= self.users.min() <= self.users.max() <= self.n_users:
            raise ValueError(
                f"of {self.n_users} users, {self.users.min()} to {self.users.max()} cannot have interacted with an item"
            )

    @classmethod
    def of(cls, history: Sets, *, n_items: int) -> Popularity:
        """Counted from the items that each user interacted with; users without any are not counted."""
        sets = ItemSets.of(history)
        return cls(sets.users_by_item(n_items), int(np.count_nonzero(sets.sizes)))

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.users.size

    @cached_property
    def share(self) -> FloatArray:
        """pop(i): share of the users that interacted with each item, within [0, 1], ndarray of shape (n_items,)."""
        return self.users / self.n_users

    @cached_property
    def quantile(self) -> FloatArray:
        """Share of the catalogue that is less popular than each item, half of its equals included.

        Within (0, 1), ndarray of shape (n_items,). Its mean over the catalogue is ½, so that lists drawn at random
        average ½ in any catalogue.
        """
        ordered = np.sort(self.users)
        below, up_to = (np.searchsorted(ordered, self.users, side=side) for side in ("left", "right"))
        quantile: FloatArray = (below + up_to) / (2 * self.n_items)
        return quantile

    @cached_property
    def long_tail(self) -> npt.NDArray[np.bool_]:
        """Items outside the most popular ones that make 80 % of the interactions, ndarray of shape (n_items,).

        Equally popular items are in the head or in the tail together.
        """
        _, at = np.unique(self.users, return_inverse=True)
        interactions = np.bincount(at, weights=self.users)
        more_popular = interactions[::-1].cumsum()[::-1] - interactions
        tail: npt.NDArray[np.bool_] = (more_popular >= _HEAD * interactions.sum())[at]
        return tail
