"""What the policy believes right now, as curves, and what it would do next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from app.errors import NotFound
from app.learning import Evidence, allocation_of, read_evidence
from app.store import allocations, experiments
from app.store.database import Database
from app.store.experiments import Experiment

__all__ = ["Next", "densities", "next_allocation", "propensities", "read_belief"]

_GRID: Final = 4000
_POINTS: Final = 40  # of each arm, where its density is
_NEGLIGIBLE: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class Next:
    """An arm's probability in the allocation in force, and in the one that the evidence of now would make."""

    arm: str
    now: float
    next: float


def read_belief(database: Database, key: str, now: datetime) -> tuple[Experiment, Evidence]:
    """An experiment and what is known of its arms.

    Raises:
        NotFound: it does not exist.
    """
    with database.transaction(snapshot=True) as connection:
        experiment = experiments.find(connection, key)
        if experiment is None:
            raise NotFound(f"There is no experiment {key!r}")
        return experiment, read_evidence(connection, experiment, now)


def next_allocation(database: Database, experiment: Experiment, evidence: Evidence) -> list[Next]:
    """What the policy would do next, arm by arm."""
    probabilities = propensities(database, experiment)
    coming = allocation_of(experiment.specification, evidence).as_mapping()
    return [Next(arm=arm, now=probabilities.get(arm, 0.0), next=p) for arm, p in coming.items()]


def propensities(database: Database, experiment: Experiment) -> Mapping[str, float]:
    """The probabilities of the allocation in force, by arm."""
    with database.transaction() as connection:
        current = allocations.find(connection, experiment.key, experiment.allocation)
    return current.probabilities if current else {}


def densities(evidence: Evidence, arms: Sequence[str]) -> tuple[list[float], dict[str, list[float]]]:
    """Mean rewards, and the posterior density of each arm there, drawn where there is some.

    Args:
        evidence: what is known.
        arms: whose; those that the evidence does not have are left out.
    """
    shown = [arm for arm in arms if arm in evidence.arms]
    if not shown:
        return [], {}
    posterior = evidence.posterior.select(np.array([evidence.arms.index(arm) for arm in shown]))
    lower, upper = posterior.support
    z = np.linspace(lower.min(), upper.max(), _GRID)
    means = posterior.value(z)
    in_z = np.exp(posterior.log_density(z[None, :]))
    heights = in_z / np.maximum(np.gradient(means, z), 1e-300)
    places: set[int] = set()
    for density in in_z:
        there = np.flatnonzero(density > _NEGLIGIBLE * density.max())
        places |= set(np.linspace(there[0], there[-1], _POINTS).astype(int).tolist())
    chosen = sorted(places)
    return means[chosen].tolist(), {arm: heights[i, chosen].tolist() for i, arm in enumerate(shown)}
