"""From counted statistics to belief and allocation: shared by the learner, changes of configuration and reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from app.specification import Arm, Specification, bucket_width, priors_of
from app.store import allocations
from app.store.experiments import Experiment
from app.store.statistics import ArmCounts, DecayedCounts, arm_counts, decayed_counts
from bandits.policy import Allocation, Policy, allocate
from bandits.posteriors import Posterior
from bandits.statistics import ArmStatistics

__all__ = [
    "Evidence",
    "allocation_of",
    "evidence_of",
    "last_mature_bucket",
    "publish_allocation",
    "read_counts",
    "read_evidence",
    "read_remembered",
    "shadow_of",
    "start_of",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a policy is told. All arrays are in the order of the specification's arms."""

    arms: tuple[str, ...]
    statistics: ArmStatistics
    counted: ArmStatistics  # the same without forgetting; its n, exposures with a final outcome, is what warm-up counts
    posterior: Posterior

    @property
    def mature(self) -> npt.NDArray[np.float64]:
        """Exposures with a final outcome of each arm, however long ago, ndarray of shape (n_arms,)."""
        return self.counted.n

    def as_mapping(self) -> dict[str, dict[str, float]]:
        """The statistics by arm, fit for JSON; equal evidence gives equal mappings."""
        s, c = self.statistics, self.counted
        figures = {"mature": c.n, "n": s.n, "sum": s.sum, "sum_of_squares": s.sum_of_squares}
        if s is not c:
            figures |= {"mature_sum": c.sum, "mature_sum_of_squares": c.sum_of_squares}
        return {
            arm: {name: float(vector[index]) for name, vector in figures.items()} for index, arm in enumerate(self.arms)
        }

    def counted_as_in(self, earlier: Mapping[str, Mapping[str, float]]) -> bool:
        """Whether nothing was counted since an earlier mapping of evidence: then it differs by time alone."""
        forgets = self.statistics is not self.counted
        return forgets and _without_weights(self.as_mapping()) == _without_weights(earlier)

    def posterior_mapping(self) -> dict[str, dict[str, float]]:
        """The posterior's parameters by arm, fit for JSON."""
        return {arm: self.posterior.as_mapping(index) for index, arm in enumerate(self.arms)}


def last_mature_bucket(specification: Specification, now: datetime) -> datetime:
    """Start of the last bucket of which every exposure's attribution window has passed at `now`."""
    width = bucket_width(specification.reward, specification.memory)
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


def read_remembered(
    connection: sa.Connection, experiment: Experiment, now: datetime, *, since: datetime | None = None
) -> Sequence[ArmCounts | DecayedCounts] | None:
    """The reward's counts as the experiment's memory weights them; None when it forgets nothing."""
    specification, memory = experiment.specification, experiment.specification.memory
    as_of = _remembered_from(specification, now)
    oldest = memory.since(as_of)
    if oldest is None:
        return None
    since = max(oldest, since or oldest)
    if memory.half_life_s is None:
        return read_counts(connection, experiment, now, since=since)
    return decayed_counts(
        connection,
        experiment.key,
        specification.reward.metric,
        last_mature_bucket(specification, now),
        since=since,
        as_of=as_of,
        half_life_s=memory.half_life_s,
    )


def read_evidence(connection: sa.Connection, experiment: Experiment, now: datetime) -> Evidence:
    """What is known of an experiment's arms at `now`."""
    counts = read_counts(connection, experiment, now)
    return evidence_of(experiment.specification, counts, read_remembered(connection, experiment, now))


def evidence_of(
    specification: Specification,
    counts: Sequence[ArmCounts],
    remembered: Sequence[ArmCounts | DecayedCounts] | None = None,
) -> Evidence:
    """What the counts say about the arms of the specification.

    `missing: default` learns from mature exposures only, those without feedback counting as the default, so that
    clicks, which come before their absence does, do not bias it. `missing: explicit` learns from each outcome.

    Args:
        specification: of the experiment.
        counts: of all that was counted.
        remembered: the same as the memory weights it; None when it forgets nothing.
    """
    counted = _statistics(specification, counts)
    statistics = counted if remembered is None else _statistics(specification, remembered)
    posterior = specification.reward_model.posterior(statistics, priors_of(specification))
    return Evidence(arms=specification.arm_keys, statistics=statistics, counted=counted, posterior=posterior)


def start_of(specification: Specification) -> npt.NDArray[np.float64] | None:
    """The split to start with, shape (n_arms,), in the order of the arms, 0 where it has none; None: no split."""
    start = specification.warm_start
    return None if start is None else np.array([start.split.get(key, 0.0) for key in specification.arm_keys])


def allocation_of(specification: Specification, evidence: Evidence) -> Allocation:
    """What the policy makes of the evidence."""
    return _allocation(specification, evidence, specification.policy, lambda arm: arm.state == "active")


def shadow_of(specification: Specification, evidence: Evidence) -> Allocation | None:
    """What the shadow policy makes of the same evidence; None: there is none."""
    shadow = specification.shadow
    return None if shadow is None else _allocation(specification, evidence, shadow.policy, shadow.plays)


def _allocation(
    specification: Specification, evidence: Evidence, policy: Policy, plays: Callable[[Arm], bool]
) -> Allocation:
    return allocate(
        policy,
        arms=evidence.arms,
        statistics=evidence.statistics,
        posterior=evidence.posterior,
        mature=evidence.mature,
        active=[plays(arm) for arm in specification.arms],
        start=start_of(specification),
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
        "means": dict(zip(evidence.arms, evidence.posterior.mean.tolist(), strict=True)),
        "data_as_of": data_as_of,
        "shadow": _shadow_record(experiment.specification, evidence),
    }
    allocations.publish(connection, values)
    return number


def _shadow_record(specification: Specification, evidence: Evidence) -> dict[str, Any] | None:
    """As it was declared, so that its decisions are not taken for another's, and its probabilities."""
    allocation = shadow_of(specification, evidence)
    if allocation is None:
        return None
    return {"declared": msgspec.to_builtins(specification.shadow), "probabilities": allocation.as_mapping()}


def _remembered_from(specification: Specification, now: datetime) -> datetime:
    """From when ages count: the last bucket that can be learned from, so within a bucket's width time stands still."""
    width = bucket_width(specification.reward, specification.memory)
    explicit = specification.reward.missing == "explicit"
    last = now if explicit else last_mature_bucket(specification, now)
    return datetime.fromtimestamp(last.timestamp() // width * width, UTC)


def _without_weights(evidence: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float | None, ...]]:
    names = ("mature", "mature_sum", "mature_sum_of_squares")
    return {arm: tuple(figures.get(name) for name in names) for arm, figures in evidence.items()}


def _statistics(specification: Specification, counts: Sequence[ArmCounts | DecayedCounts]) -> ArmStatistics:
    """The statistics of the specification's arms, in its order."""
    by_arm = {c.arm: c for c in counts}
    rows = [_sums(specification, by_arm.get(key)) for key in specification.arm_keys]
    n, total, squares = np.array(rows, dtype=np.float64).T
    return ArmStatistics(n=n, sum=total, sum_of_squares=squares)


def _sums(specification: Specification, counts: ArmCounts | DecayedCounts | None) -> tuple[float, float, float]:
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
