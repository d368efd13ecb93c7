"""Forgetting: what a window leaves out, what decay weights, what compaction must not blur, and when it is news."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import learner
from app.learning import Evidence, allocation_of, last_mature_bucket, read_evidence
from app.monitor import compact_all
from app.reports import arms_report
from app.specification import AnyMemory, Decay, Everything, Reward, SlidingWindow, Specification, bucket_width
from app.store import allocations, compaction, experiments, partitions
from app.store.database import Database
from app.store.decisions import DecisionRow
from tests.app.building import (
    EAGER,
    EXPLICIT,
    bucket_of,
    decision,
    disagreements,
    execute,
    matched,
    now,
    put,
    query,
    record,
    specification,
    write,
)

HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
DECAY, WINDOW = Decay(half_life_s=1800), SlidingWindow(window_s=3600)
FORGETFUL: list[AnyMemory] = [DECAY, WINDOW]
# Mature after two minutes at most.
QUICK = Reward(window_s=60)


def spec_with(memory: AnyMemory, reward: Reward = EXPLICIT, **parts: Any) -> Specification:
    """Two arms, learned about with this memory."""
    return specification(policy=EAGER, reward=reward, memory=memory, **parts)


def outcomes(  # noqa: PLR0917  # a table row
    database: Database, key: str, arm: str, ages: Sequence[timedelta], rewarded: int, moment: datetime
) -> list[DecisionRow]:
    """Decisions of some ages, in buckets of the experiment's width, the first `rewarded` of them with a reward."""
    with database.transaction() as connection:
        experiment = experiments.find(connection, key)
    assert experiment is not None
    width = int(bucket_width(experiment.specification.reward, experiment.specification.memory))
    rows = [
        decision(key, arm=arm, epoch=experiment.epoch, decided_at=moment - age, bucket=bucket_of(moment - age, width))
        for age in ages
    ]
    record(database, rows)
    missing = experiment.specification.reward.missing
    events = [
        matched(row, float(n < rewarded), occurred_at=row.decided_at)
        for n, row in enumerate(rows)
        if n < rewarded or missing == "explicit"
    ]
    if events:
        write(database, events)
    return rows


def evidence_at(database: Database, key: str, moment: datetime) -> Evidence:
    """What the experiment's policy is told."""
    with database.transaction() as connection:
        experiment = experiments.find(connection, key)
        assert experiment is not None
        return read_evidence(connection, experiment, moment)


@pytest.mark.parametrize(
    ("memory", "follows"), [(Everything(), False), (DECAY, True), (WINDOW, True)], ids=["all", "decay", "window"]
)
@pytest.mark.parametrize("reward", [EXPLICIT, QUICK], ids=["explicit", "default"])
def test_a_change_of_regime_is_followed_by_those_who_forget(
    shared_database: Database, key: str, memory: AnyMemory, reward: Reward, *, follows: bool
) -> None:
    """The arm that was better for hours and is worse now loses its share with decay and window, and not with all."""
    put(shared_database, key, spec_with(memory, reward))
    moment = now()
    before, lately = [(5 + n / 100) * HOUR for n in range(200)], [(3 + n / 2) * MINUTE for n in range(60)]
    outcomes(shared_database, key, "a", before, 120, moment)
    outcomes(shared_database, key, "b", before, 40, moment)
    outcomes(shared_database, key, "a", lately, 6, moment)
    outcomes(shared_database, key, "b", lately, 42, moment)
    evidence = evidence_at(shared_database, key, moment)
    shares = allocation_of(spec_with(memory, reward), evidence).as_mapping()
    assert (shares["b"] > 0.95) is follows
    assert (shares["a"] > 0.95) is not follows
    assert evidence.mature.tolist() == [260, 260]
    assert disagreements(shared_database) == []


def test_decay_halves_the_weight_with_every_half_life(shared_database: Database, key: str) -> None:
    """Sums are Σ 2^(−age/h) r over buckets, where age counts from the last bucket that is mature."""
    put(shared_database, key, spec_with(DECAY, QUICK))
    moment = now()
    ages = [n * 7 * MINUTE for n in range(1, 40)]
    rows = outcomes(shared_database, key, "a", ages, 10, moment)
    last = bucket_of(last_mature_bucket(spec_with(DECAY, QUICK), moment), 5)
    weights = [0.5 ** ((last - row.bucket) / timedelta(seconds=1800)) for row in rows]
    figures = evidence_at(shared_database, key, moment).as_mapping()["a"]
    assert figures == pytest.approx(
        {
            "mature": 39,
            "n": sum(weights),
            "sum": sum(weights[:10]),
            "sum_of_squares": sum(weights[:10]),
            "mature_sum": 10,
            "mature_sum_of_squares": 10,
        },
        rel=1e-9,
    )


def test_priors_do_not_decay(shared_database: Database, key: str) -> None:
    """When all is forgotten, the posterior is the prior again: not less than it, and not an error."""
    put(shared_database, key, spec_with(Decay(half_life_s=10)))
    outcomes(shared_database, key, "a", [SECOND] * 5, 3, now())
    for later in (HOUR, 400 * timedelta(days=1)):
        evidence = evidence_at(shared_database, key, now() + later)
        assert evidence.posterior_mapping() == {"a": {"alpha": 1, "beta": 1}, "b": {"alpha": 1, "beta": 1}}


def test_a_window_counts_what_is_younger(shared_database: Database, key: str) -> None:
    """Outcomes count fully inside the window and not at all outside."""
    put(shared_database, key, spec_with(WINDOW))
    moment = now()
    outcomes(shared_database, key, "a", [58 * MINUTE] * 3, 2, moment)
    outcomes(shared_database, key, "a", [63 * MINUTE] * 4, 4, moment)
    figures = evidence_at(shared_database, key, moment).as_mapping()["a"]
    assert (figures["mature"], figures["n"], figures["sum"], figures["mature_sum"]) == (7, 3, 2, 6)


@pytest.mark.parametrize("memory", [SlidingWindow(window_s=30), Decay(half_life_s=10)], ids=["window", "decay"])
def test_a_memory_shorter_than_the_attribution_window_remembers(
    shared_database: Database, key: str, memory: AnyMemory
) -> None:
    """Ages count from maturity: what has just become mature has its full weight, however long that took."""
    reward = Reward(window_s=600)
    put(shared_database, key, spec_with(memory, reward))
    moment = now()
    outcomes(shared_database, key, "a", [timedelta(seconds=603)] * 8, 5, moment)
    figures = evidence_at(shared_database, key, moment).as_mapping()["a"]
    assert figures["n"] >= 8 * 0.7
    assert figures["sum"] == pytest.approx(figures["n"] * 5 / 8)


@pytest.mark.parametrize("memory", FORGETFUL, ids=["decay", "window"])
def test_forgetting_does_not_bring_the_warm_up_back(shared_database: Database, key: str, memory: AnyMemory) -> None:
    """Warm-up counts the outcomes that an arm ever had."""
    spec = specification(policy=type(EAGER)(warm_up=10), reward=EXPLICIT, memory=memory)
    put(shared_database, key, spec)
    for arm in "ab":
        outcomes(shared_database, key, arm, [20 * HOUR] * 10, 5, now())
    evidence = evidence_at(shared_database, key, now())
    assert evidence.statistics.n.max() < 0.01
    assert allocation_of(spec, evidence).reason == "learned"


def test_reports_count_everything_and_believe_what_is_remembered(shared_database: Database, key: str) -> None:
    """Exposures and rewards are those that were; mean and interval are the policy's belief."""
    put(shared_database, key, spec_with(WINDOW))
    moment = now()
    outcomes(shared_database, key, "a", [3 * HOUR] * 50, 50, moment)
    outcomes(shared_database, key, "a", [3 * MINUTE] * 8, 0, moment)
    report = arms_report(shared_database, key, moment).arms[0]
    assert (report.exposures, report.rewards) == (58, 50)
    assert report.mean == pytest.approx(0.1)


# --- news -----------------------------------------------------------------------------------------------------------


def history(database: Database, key: str) -> list[dict[str, float]]:
    """Probabilities of all allocations, oldest first."""
    with database.transaction() as connection:
        found = allocations.history(connection, key, since=None, before=None, limit=1000)
    return [dict(a.probabilities) for a in found[::-1]]


@pytest.mark.parametrize("memory", [Decay(half_life_s=600), SlidingWindow(window_s=1800)], ids=["decay", "window"])
def test_an_idle_experiment_is_published_only_when_it_moves(
    shared_database: Database, key: str, memory: AnyMemory
) -> None:
    """With time alone an allocation follows when a probability has moved by 0.001, until all is forgotten."""
    put(shared_database, key, spec_with(memory))
    moment = now()
    outcomes(shared_database, key, "a", [n * 2 * MINUTE for n in range(1, 15)], 8, moment)
    outcomes(shared_database, key, "b", [n * 2 * MINUTE for n in range(1, 15)], 6, moment)
    execute(shared_database, "UPDATE allocations SET created_at = created_at - interval '1 day'")
    passes = [learner.learn_once(shared_database, key, moment + n * 5 * SECOND) for n in range(1, 12)]
    assert sum(passes) < 11
    later = [learner.learn_once(shared_database, key, moment + n * 20 * MINUTE) for n in range(1, 20)]
    assert any(later)
    assert not any(later[12:])
    made = history(shared_database, key)
    moves = [max(abs(b[arm] - a[arm]) for arm in "ab") for a, b in pairwise(made[1:])]
    assert min(moves) >= 0.001
    assert made[-1] == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.002)


@pytest.mark.parametrize("memory", [Everything(), Decay(half_life_s=86_400)], ids=["all", "decay"])
def test_a_new_outcome_is_news_however_little_it_moves(shared_database: Database, key: str, memory: AnyMemory) -> None:
    """Where something was counted, and not only time has passed, the evidence in force is brought up to date."""
    put(shared_database, key, spec_with(memory, QUICK))
    moment = now()
    rows = outcomes(shared_database, key, "a", [5 * MINUTE] * 900, 800, moment)
    outcomes(shared_database, key, "b", [5 * MINUTE] * 900, 0, moment)
    assert learner.learn_once(shared_database, key, now() + 2 * SECOND)
    assert not learner.learn_once(shared_database, key, now() + 5 * MINUTE)
    write(shared_database, [matched(rows[-1], 1.0, occurred_at=rows[-1].decided_at)])
    assert learner.learn_once(shared_database, key, now() + 5 * MINUTE)


# --- compaction -----------------------------------------------------------------------------------------------------

MEMORIES: list[AnyMemory] = [
    Decay(half_life_s=1800),
    Decay(half_life_s=6 * 3600),
    Decay(half_life_s=86_400),
    SlidingWindow(window_s=3600),
    SlidingWindow(window_s=2 * 86_400),
]


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda m: f"{m.kind} {m.unit_s:g}")
def test_compaction_keeps_weights_right(shared_database: Database, key: str, memory: AnyMemory) -> None:
    """Rows become fewer; no bucket that matters is wider than a tenth of the unit, so weights move by 7 % at most."""
    put(shared_database, key, spec_with(memory, QUICK))
    moment, source = now(), random.Random(3)
    with shared_database.transaction() as connection:
        for days in range(5):
            partitions.make_partitions(connection, moment - days * timedelta(days=1))
    for arm in "ab":
        ages = [(5 + source.triangular(0, 5600, 0)) * MINUTE for _ in range(400)]
        outcomes(shared_database, key, arm, ages, 150, moment)
    before = evidence_at(shared_database, key, moment)
    rows = "SELECT count(*) FROM decision_counts WHERE experiment = :key"
    many = query(shared_database, rows, key=key)[0][0]
    compact_all(shared_database, moment)
    after = evidence_at(shared_database, key, moment)
    assert query(shared_database, rows, key=key)[0][0] < 0.9 * many
    assert after.counted.n.tolist() == before.counted.n.tolist()
    if memory.half_life_s is not None:
        for name in ("n", "sum"):
            ratio = getattr(after.statistics, name) / getattr(before.statistics, name)
            assert all(0.5**0.1 <= r <= 1 for r in ratio)
    else:
        shorter = evidence_at(shared_database, key, moment + timedelta(seconds=memory.unit_s / 10))
        assert all(shorter.statistics.n <= after.statistics.n)
        assert all(after.statistics.n <= before.statistics.n)
    assert disagreements(shared_database) == []


@given(
    memory=st.builds(SlidingWindow, window_s=st.floats(1, 1e8)) | st.builds(Decay, half_life_s=st.floats(1, 1e8)),
    window_s=st.floats(1, 1e6),
)
def test_no_bucket_that_matters_is_wider_than_a_tenth_of_the_unit(memory: AnyMemory, window_s: float) -> None:
    """Wider ones are for what the memory has lost; none is for what is not mature; and hours stay for two days."""
    moment = datetime(2031, 5, 17, 13, 30, tzinfo=UTC)
    mature = moment - timedelta(seconds=window_s)
    for width, before in compaction.grains(mature, moment, memory):
        assert before <= mature
        if width > timedelta(seconds=memory.unit_s / 10):
            assert before <= mature - timedelta(seconds=memory.matters_s)
        if width > HOUR:
            assert before <= moment - timedelta(days=2)


@pytest.mark.parametrize("memory", MEMORIES, ids=lambda m: f"{m.kind} {m.unit_s:g}")
def test_what_no_longer_matters_becomes_days(shared_database: Database, key: str, memory: AnyMemory) -> None:
    """When it has fallen out of the memory, what remains is a row a day."""
    put(shared_database, key, spec_with(memory, QUICK))
    outcomes(shared_database, key, "a", [n * 13 * MINUTE for n in range(1, 100)], 50, now())
    later = now() + timedelta(seconds=memory.matters_s) + 4 * timedelta(days=1)
    compact_all(shared_database, later)
    compact_all(shared_database, later)
    buckets = query(shared_database, "SELECT DISTINCT bucket FROM decision_counts WHERE experiment = :key", key=key)
    assert 1 <= len(buckets) <= 2
    assert evidence_at(shared_database, key, later).counted.n[0] == 99
