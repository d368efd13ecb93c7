"""From counts to evidence: what is mature, what silence is worth, and what an allocation records."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.learning import evidence_of, last_mature_bucket, publish_allocation, read_counts
from app.specification import Reward, Specification, bucket_width, start_of_bucket
from app.store import allocations, experiments
from app.store.database import Database
from app.store.decisions import DecisionRow
from app.store.statistics import ArmCounts
from tests.app.building import EAGER, EXPLICIT, bucket_of, decision, matched, now, put, record, specification, write

WINDOW = 1800
LONG_AGO = timedelta(hours=2)


def counts(arm: str = "a", **figures: float) -> ArmCounts:
    """The counts of an arm; what is not given is 0."""
    zeros = dict.fromkeys((f for f in ArmCounts.__dataclass_fields__ if f not in {"arm", "state"}), 0)
    return ArmCounts(arm=arm, state="active", **{**zeros, **figures})  # type: ignore[arg-type]


def evidence(spec: Specification, *of_arms: ArmCounts) -> dict[str, dict[str, float]]:
    """The evidence as a mapping."""
    return evidence_of(spec, of_arms).as_mapping()


MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2039, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001


@given(
    decided_at=MOMENTS,
    window_s=st.floats(1, 2_592_000) | st.integers(1, 7200).map(float),
    waited=st.floats(0, 1.5),
    tick=st.integers(-2, 2),
)
@example(decided_at=datetime(2026, 1, 1, tzinfo=UTC), window_s=1.0, waited=1.0, tick=0)
def test_an_exposure_is_never_mature_before_its_window_has_passed(
    decided_at: datetime, window_s: float, waited: float, tick: int
) -> None:
    """Whatever the window, the bucket and the moment: what counts as mature is at least a window old, and soon does."""
    reward = Reward(window_s=window_s, late_until_s=31_536_000)
    width = bucket_width(reward)
    moment = decided_at + timedelta(seconds=window_s * waited, microseconds=tick)
    bucket = start_of_bucket(decided_at, width)
    mature = bucket <= last_mature_bucket(Specification(arms=specification().arms, reward=reward), moment)
    age_s = (moment - decided_at).total_seconds()
    if mature:
        assert age_s >= window_s - 1e-6
    if age_s >= window_s + width + 1e-5:
        assert mature


@given(st.floats(1, 2_592_000))
def test_a_bucket_is_a_tenth_of_the_window_at_most(window_s: float) -> None:
    """Maturity is known to within a tenth of the window, and no bucket is longer than a minute."""
    width = bucket_width(Reward(window_s=window_s, late_until_s=31_536_000))
    assert 0 < width <= 60
    assert width <= window_s / 10


def test_missing_explicit_learns_from_every_outcome() -> None:
    """Outcomes count as they come, mature or not; silence teaches nothing."""
    figures = counts(exposures=50, mature=30, observed=9, sum=4, sum_of_squares=4, mature_observed=5, mature_sum=1)
    assert evidence(specification("a", reward=EXPLICIT), figures) == {
        "a": {"mature": 9, "n": 9, "sum": 4, "sum_of_squares": 4}
    }


@pytest.mark.parametrize("default", [0.0, 1.0])
def test_missing_default_learns_from_mature_exposures_only(default: float) -> None:
    """Each mature exposure counts: with its outcome if there is one, else with the default."""
    figures = counts(
        exposures=50,
        mature=30,
        observed=9,
        sum=4,
        sum_of_squares=4,
        mature_observed=5,
        mature_sum=2,
        mature_sum_of_squares=2,
    )
    spec = specification("a", reward=Reward(default=default))
    total = 2 + 25 * default
    assert evidence(spec, figures) == {"a": {"mature": 30, "n": 30, "sum": total, "sum_of_squares": total}}


def test_the_default_is_squared_in_the_sum_of_squares() -> None:
    """A default that is neither 0 nor 1 enters Σr² as its square, for reward models that allow one."""
    spec = specification("a", reward=Reward(missing="default", default=0.5))
    figures = counts(mature=4, mature_observed=1, mature_sum=1, mature_sum_of_squares=1)
    assert evidence(spec, figures) == {"a": {"mature": 4, "n": 4, "sum": 2.5, "sum_of_squares": 1.75}}


def test_arms_without_counts_have_none_and_retired_ones_are_left_out() -> None:
    """Evidence is over the specification's arms, in its order."""
    spec = specification("b", "a", reward=EXPLICIT)
    made = evidence_of(spec, [counts("a", observed=2, sum=1, sum_of_squares=1), counts("gone", observed=9)])
    assert made.arms == ("b", "a")
    assert made.statistics.n.tolist() == made.mature.tolist() == [0, 2]
    assert made.posterior_mapping() == {"b": {"alpha": 1, "beta": 1}, "a": {"alpha": 2, "beta": 2}}


def test_priors_enter_the_posterior_and_not_the_evidence() -> None:
    """An arm's own prior is where its posterior starts."""
    spec = specification("a", reward=EXPLICIT)
    arm = msgspec.structs.replace(spec.arms[0], prior={"alpha": 3.0, "beta": 7.0})
    made = evidence_of(msgspec.structs.replace(spec, arms=(arm,)), [counts(observed=2, sum=1, sum_of_squares=1)])
    assert made.posterior_mapping() == {"a": {"alpha": 4, "beta": 8}}
    assert made.as_mapping()["a"]["n"] == 2


def test_broken_counts_are_refused_loudly() -> None:
    """More rewards than outcomes of 0 or 1 can only be a bug."""
    with pytest.raises(ValueError, match="rewards in"):
        evidence(specification("a", reward=EXPLICIT), counts(observed=1, sum=2, sum_of_squares=2))


def exposures(key: str, ages: dict[float, int], arm: str = "a") -> list[DecisionRow]:
    """Decisions of a given age in seconds, as many as asked."""
    moment = now()
    rows = []
    for age, number in ages.items():
        decided_at = moment - timedelta(seconds=age)
        rows += [decision(key, arm=arm, decided_at=decided_at, bucket=bucket_of(decided_at)) for _ in range(number)]
    return rows


def test_counts_read_from_the_database_are_split_at_maturity(shared_database: Database, key: str) -> None:
    """Old exposures are mature and new ones are not, with their outcomes; the sums over both are there too."""
    experiment = put(shared_database, key)
    old, new = exposures(key, {7200: 4}), exposures(key, {10: 3})
    record(shared_database, old)
    record(shared_database, new, shard=5)
    write(shared_database, [matched(row) for row in (*old[:2], new[0])])
    with shared_database.transaction() as connection:
        a, b = read_counts(connection, experiment, now())
    assert (a.decisions, a.exposures, a.fallbacks, a.mature) == (7, 7, 0, 4)
    assert (a.observed, a.sum, a.mature_observed, a.mature_sum) == (3, 3, 2, 2)
    assert (b.arm, b.decisions, b.observed, b.mature) == ("b", 0, 0, 0)


def test_an_exposure_matures_when_window_and_bucket_have_passed(shared_database: Database, key: str) -> None:
    """Not before its window, and at the latest a bucket later."""
    experiment = put(shared_database, key)
    (row,) = exposures(key, {600: 1})
    record(shared_database, [row])

    def mature_at(moment: datetime) -> int:
        with shared_database.transaction() as connection:
            return read_counts(connection, experiment, moment)[0].mature

    assert mature_at(row.decided_at + timedelta(seconds=WINDOW - 0.001)) == 0
    assert mature_at(row.bucket + timedelta(seconds=WINDOW + 60)) == 1


def test_counts_since_a_moment_leave_out_older_buckets(shared_database: Database, key: str) -> None:
    """`since` bounds exposures and outcomes alike."""
    experiment = put(shared_database, key)
    rows = exposures(key, {7200: 2, 60: 3})
    record(shared_database, rows)
    write(shared_database, [matched(row) for row in rows])
    with shared_database.transaction() as connection:
        (a, _) = read_counts(connection, experiment, now(), since=now() - timedelta(hours=1))
    assert (a.exposures, a.observed) == (3, 3)


def test_counts_are_of_the_reward_metric_and_of_this_experiment(shared_database: Database, key: str) -> None:
    """Other metrics, other experiments and epochs before an arm's own are left out."""
    put(shared_database, key + "-x")
    experiment = put(shared_database, key)
    rows = [decision(key), decision(key + "-x"), decision(key, epoch=0)]
    record(shared_database, rows)
    write(shared_database, [matched(row) for row in rows])
    write(shared_database, [matched(rows[0], 5.0, metric="revenue", aggregation="sum")])
    with shared_database.transaction() as connection:
        (a, _) = read_counts(connection, experiment, now())
    assert (a.exposures, a.observed, a.sum) == (1, 1, 1)


def test_an_allocation_records_all_that_it_was_made_from(shared_database: Database, key: str) -> None:
    """Number, version, epoch, reason, probabilities, posterior, evidence and the moment of the data are kept."""
    put(shared_database, key, specification(policy=EAGER, reward=EXPLICIT))
    moment = now() - timedelta(seconds=5)
    with shared_database.transaction() as connection:
        experiment = experiments.find(connection, key, lock=True)
        assert experiment is not None
        made = evidence_of(
            experiment.specification,
            [counts("a", observed=30, sum=20, sum_of_squares=20), counts("b", observed=30, sum=10)],
        )
        number = publish_allocation(connection, experiment, made, data_as_of=moment, cause="learned")
        stored = allocations.find(connection, key, number)
        after = experiments.find(connection, key)
    assert stored is not None
    assert after is not None
    assert (number, after.allocation) == (2, 2)
    assert (stored.version, stored.epoch, stored.reason, stored.data_as_of) == (1, 1, "learned", moment)
    assert stored.posterior == {"a": {"alpha": 21, "beta": 11}, "b": {"alpha": 11, "beta": 21}}
    assert stored.evidence == made.as_mapping()
    assert math.fsum(stored.probabilities.values()) == pytest.approx(1, abs=1e-12)
    # P(Beta(21, 11) > Beta(11, 21)) by simulation, 4 standard errors; with the floor of 1 % each.
    draws = np.random.default_rng(5).beta([[21], [11]], [[11], [21]], size=(2, 1_000_000))
    assert stored.probabilities["a"] == pytest.approx(0.01 + 0.98 * (draws[0] > draws[1]).mean(), abs=4e-4)


def test_an_allocation_that_warms_up_says_so_whatever_caused_it(shared_database: Database, key: str) -> None:
    """Equal shares are warm_up, also when a change of configuration made them."""
    put(shared_database, key)
    with shared_database.transaction() as connection:
        experiment = experiments.find(connection, key, lock=True)
        assert experiment is not None
        made = evidence_of(experiment.specification, [])
        number = publish_allocation(connection, experiment, made, data_as_of=now(), cause="config")
        stored = allocations.find(connection, key, number)
    assert stored is not None
    assert (stored.reason, stored.probabilities) == ("warm_up", {"a": 0.5, "b": 0.5})


def test_a_number_is_given_once(shared_database: Database, key: str) -> None:
    """An allocation is immutable: its number cannot be used again."""
    experiment = put(shared_database, key)
    made = evidence_of(experiment.specification, [])
    stale = replace(experiment, allocation=0)
    with pytest.raises(Exception, match="allocations_pkey"), shared_database.transaction() as connection:
        publish_allocation(connection, stale, made, data_as_of=now(), cause="config")
