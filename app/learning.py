"""From counted statistics to belief and allocation: shared by the learner, changes of configuration and reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.specification import Specification, bucket_width, prior_of
from app.store import allocations
from app.store.experiments import Experiment
from app.store.statistics import ArmCounts, arm_counts
from bandits.policy import Allocation, allocate
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics

__all__ = [
    "Evidence",
    "allocation_of",
    "evidence_of",
    "last_mature_bucket",
    "publish_allocation",
    "read_counts",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a policy is told. All arrays are in the order of the specification's arms."""

    arms: tuple[str, ...]
    statistics: ArmStatistics
    mature: npt.NDArray[np.float64]  # (n_arms,), exposures with a final outcome: what warm-up counts
    posterior: Posterior

    def as_mapping(self) -> dict[str, dict[str, float]]:
        """The statistics by arm, fit for JSON; equal evidence gives equal mappings."""
        s = self.statistics
        columns = zip(self.arms, self.mature, s.n, s.sum, s.sum_of_squares, strict=True)
        return {
            arm: {
                "mature": float(mature),
                "n": float(n),
                "sum": float(total),
                "sum_of_squares": float(squares),
            }
            for arm, mature, n, total, squares in columns
        }

    def posterior_mapping(self) -> dict[str, dict[str, float]]:
        """The posterior's parameters by arm, fit for JSON."""
        return {arm: self.posterior.as_mapping(index) for index, arm in enumerate(self.arms)}


def last_mature_bucket(specification: Specification, now: datetime) -> datetime:
    """Start of the last bucket of which every exposure's attribution window has passed at `now`."""
    width = bucket_width(specification.reward)
    return now - timedelta(seconds=specification.reward.window_s + width)


def read_counts(
    connection: sa.Connection,
    experiment: Experiment,
    now: datetime,
    *,
    since: datetime | None = None,
    metric: str | None = None,
) -> list[ArmCounts]:
    """The counts of a metric (None: the reward's), of all arms that the experiment ever had."""
    specification = experiment.specification
    mature_bucket = last_mature_bucket(specification, now)
    return arm_counts(connection, experiment.key, metric or specification.reward.metric, mature_bucket, since)


def evidence_of(specification: Specification, counts: Sequence[ArmCounts]) -> Evidence:
    """What the counts say about the arms of the specification.

    `missing: default` learns from mature exposures only, those without feedback counting as the default, so that
    clicks, which come before their absence does, do not bias it. `missing: explicit` learns from each outcome.
    """
    by_arm = {c.arm: c for c in counts}
    rows = [_sums(specification, by_arm.get(key)) for key in specification.arm_keys]
    n, total, squares = np.array(rows, dtype=np.float64).T
    statistics = ArmStatistics(n=n, sum=total, sum_of_squares=squares)
    priors = [prior_of(specification, arm) for arm in specification.arms]
    posterior = specification.reward_model.posterior(statistics, priors)
    return Evidence(arms=specification.arm_keys, statistics=statistics, mature=n, posterior=posterior)


def allocation_of(specification: Specification, evidence: Evidence) -> Allocation:
    """What the policy makes of the evidence."""
    return allocate(
        specification.policy,
        arms=evidence.arms,
        statistics=evidence.statistics,
        posterior=evidence.posterior,
        mature=evidence.mature,
        active=[arm.state == "active" for arm in specification.arms],
    )


def publish_allocation(
    connection: sa.Connection, experiment: Experiment, evidence: Evidence, *, data_as_of: datetime, cause: str
) -> int:
    """Computes an experiment's allocation and puts it in force; returns its number. The experiment must be locked.

    `cause`, "config" or "learned", becomes the allocation's reason unless the arms are still warming up.
    """
    allocation = allocation_of(experiment.specification, evidence)
    number = experiment.allocation + 1
    values = {
        "experiment": experiment.key,
        "number": number,
        "version": experiment.version,
        "epoch": experiment.epoch,
        "reason": "warm_up" if allocation.reason == "warm_up" else cause,
        "probabilities": allocation.as_mapping(),
        "posterior": evidence.posterior_mapping(),
        "evidence": evidence.as_mapping(),
        "data_as_of": data_as_of,
    }
    allocations.publish(connection, values)
    return number


def _sums(specification: Specification, counts: ArmCounts | None) -> tuple[float, float, float]:
    """n, Σr and Σr² of one arm."""
    if counts is None:
        return 0.0, 0.0, 0.0
    if specification.reward.missing == "explicit":
        return counts.observed, counts.sum, counts.sum_of_squares
    default = specification.reward.default
    silent = counts.mature - counts.mature_observed
    return (
        counts.mature,
        counts.mature_sum + silent * default,
        counts.mature_sum_of_squares + silent * default**2,
    )
