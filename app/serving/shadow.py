"""The shadow policy of an experiment as a web worker serves it: it chooses an arm that nobody is given."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from app.store.allocations import AllocationRecord
from app.store.experiments import Experiment
from bandits.selection import StickyRace, cumulative, uniform_choice, unit_interval

__all__ = ["Shadow"]

# Makes its hashes independent of those that choose the live arm.
_APART = b"shadow"


@dataclass(frozen=True, kw_only=True, eq=False)
class Shadow:
    """Ready to choose from. Tuples over arms are in the order of the specification."""

    salt: bytes
    arms: tuple[str, ...]
    cumulative: tuple[float, ...]
    race: StickyRace | None  # for sticky assignment

    @classmethod
    def of(cls, experiment: Experiment, allocation: AllocationRecord) -> Self | None:
        """The shadow policy that an allocation holds, if any."""
        if allocation.shadow is None:
            return None
        keys, salt = experiment.specification.arm_keys, experiment.salt + _APART
        probabilities = np.array([allocation.shadow["probabilities"][key] for key in keys])
        race = None
        if experiment.specification.assignment == "unit":
            race = StickyRace.of(salt=salt, experiment=experiment.key, arms=keys, probabilities=probabilities)
        return cls(salt=salt, arms=keys, cumulative=cumulative(probabilities), race=race)

    def choose(self, unit: str, decision_id: bytes) -> str:
        """Key of the arm for a decision: a pure function of allocation, unit and id, as the live choice is."""
        if self.race is not None:
            return self.arms[self.race.choose(unit)]
        return self.arms[uniform_choice(self.cumulative, unit_interval(self.salt, decision_id))]
