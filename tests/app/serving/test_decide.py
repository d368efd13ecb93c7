"""Choosing and deciding: reasons, propensities, shares, holdout, and what happens when recommenders fail."""

import random
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import numpy as np
import pytest
import scipy.stats

from app import experiments
from app.errors import Conflict
from app.ids import new_id
from app.recommenders import Similar, Static
from app.serving.allocations import Allocations, Served
from app.serving.decide import DecisionWriter, choose, decide, items_of
from app.specification import Arm, Specification, State
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from bandits.fixed import Fixed
from bandits.selection import StickyRace
from tests.app.building import decision, flag, now, put, query, specification

SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}
FIXED = Fixed(probabilities=SHARES)
# Exceeded with probability 1e-7 when frequencies are as predicted.
RARE = 1e-7


def serve(
    database: Database, key: str, spec: Specification | None = None, *, state: State = "running", salt: bytes = b"salt"
) -> Served:
    """An experiment as a web worker serves it, with a known salt."""
    put(database, key, spec or specification(*SHARES, policy=FIXED), state=state)
    served = replace(Allocations(database).find(key), salt=salt)
    if served.race is None:
        return served
    probabilities = np.array(served.probabilities)
    keys = served.specification.arm_keys
    return replace(served, race=StickyRace.of(salt=salt, experiment="home", arms=keys, probabilities=probabilities))


def decide_now(served: Served, unit: str = "user-1", **query_parts: object) -> DecisionRow:
    """A decision for a request that has just come."""
    parts = {"k": 10, "context": {}, **query_parts}
    return decide(served, decision_id=new_id(), unit=unit, started=time.perf_counter(), **parts)  # type: ignore[arg-type]


def test_a_paused_experiment_gives_its_control_arm_and_learns_nothing(shared_database: Database, key: str) -> None:
    """While paused everybody gets the control arm, with propensity 1, and the row is not learned from."""
    served = serve(shared_database, key, specification(*SHARES, policy=FIXED, control="b"), state="paused")
    rows = [decide_now(served, f"user-{n}") for n in range(50)]
    assert {(r.arm, r.served_arm, r.propensity, r.reason, r.learnable) for r in rows} == {
        ("b", "b", 1.0, "paused", False)
    }


@pytest.mark.parametrize("state", ["draft", "stopped"])
def test_an_experiment_that_is_not_served_conflicts(shared_database: Database, key: str, state: State) -> None:
    """A draft or a stopped experiment gives no recommendations, and the message says why."""
    served = serve(shared_database, key, state=state)
    with pytest.raises(Conflict, match=f"{key}.*{state}"):
        decide_now(served)


@pytest.mark.parametrize("state", ["draft", "stopped", "paused"])
def test_the_state_wins_over_the_holdout(shared_database: Database, key: str, state: State) -> None:
    """Units of the holdout are told of the state as all others are."""
    served = serve(shared_database, key, specification(*SHARES, policy=FIXED, holdout=0.999), state=state)
    if state == "paused":
        assert decide_now(served).reason == "paused"
    else:
        with pytest.raises(Conflict):
            decide_now(served)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_holdout_is_its_share_of_units(shared_database: Database, key: str, share: float) -> None:
    """Of 100,000 units the holdout's part is as asked; a false alarm has probability 1e-7."""
    served = serve(shared_database, key, specification(*SHARES, policy=FIXED, holdout=share))
    held = sum(served.is_held_out(f"user-{n}") for n in range(100_000))
    assert scipy.stats.binomtest(held, 100_000, share).pvalue > RARE


def test_the_holdout_is_always_the_same_units(shared_database: Database, key: str) -> None:
    """Membership does not change with the decision, the allocation or the configuration, and grows with the share."""
    served = serve(shared_database, key, specification(*SHARES, policy=FIXED, holdout=0.2))
    units = [f"user-{n}" for n in range(2000)]
    held = {unit for unit in units if served.is_held_out(unit)}
    other = replace(served, number=99, probabilities=(0.0, 0.0, 1.0))
    assert {unit for unit in units if choose(other, unit, new_id()).reason == "holdout"} == held
    larger = serve(shared_database, key, specification(*SHARES, policy=FIXED, holdout=0.4))
    assert held < {unit for unit in units if larger.is_held_out(unit)}


def test_a_held_out_unit_gets_the_control_arm_and_is_not_learned_from(shared_database: Database, key: str) -> None:
    """The holdout's outcomes never train the policy."""
    served = serve(shared_database, key, specification(*SHARES, policy=FIXED, control="c", holdout=0.3))
    unit = next(unit for n in range(1000) if served.is_held_out(unit := f"user-{n}"))
    row = decide_now(served, unit)
    assert (row.arm, row.propensity, row.reason, row.learnable) == ("c", 1.0, "holdout", False)


def test_without_a_holdout_nobody_is_held_out(shared_database: Database, key: str) -> None:
    """A share of 0 is nobody."""
    served = serve(shared_database, key)
    assert not any(served.is_held_out(f"user-{n}") for n in range(1000))


@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_arms_are_dealt_as_the_allocation_says(shared_database: Database, key: str, assignment: str) -> None:
    """Frequencies of 100,000 decisions match the probabilities (χ², false alarm 1e-7), and each propensity is its."""
    served = serve(shared_database, key, specification(*SHARES, policy=FIXED, assignment=assignment))
    generator = random.Random(1)
    choices = [choose(served, f"user-{n}", UUID(int=generator.getrandbits(128))) for n in range(100_000)]
    counts = Counter(choice.arm for choice in choices)
    expected = [share * len(choices) for share in SHARES.values()]
    assert scipy.stats.chisquare([counts[arm] for arm in range(3)], expected).pvalue > RARE
    assert {(choice.arm, choice.propensity) for choice in choices} == set(enumerate(SHARES.values()))


def test_sticky_units_keep_their_arm_and_others_do_not(shared_database: Database, key: str) -> None:
    """With `assignment: unit` a unit's arm does not depend on the decision; with `request` it does."""
    for assignment, different in (("unit", 1), ("request", 3)):
        served = serve(shared_database, key, specification(*SHARES, policy=FIXED, assignment=assignment))
        assert len({choose(served, "user-1", new_id()).arm for _ in range(200)}) == different


def test_a_choice_is_a_pure_function(shared_database: Database, key: str) -> None:
    """The same decision id gives the same arm, in any worker; so a retry agrees even without the database."""
    here, there = serve(shared_database, key), replace(Allocations(shared_database).find(key), salt=b"salt")
    for _ in range(100):
        decision_id = new_id()
        assert choose(here, "u", decision_id) == choose(there, "u", decision_id)


def test_the_salt_decides(shared_database: Database, key: str) -> None:
    """Two experiments deal the same ids differently: their salts differ."""
    ids = [new_id() for _ in range(300)]
    served = [serve(shared_database, key, salt=salt) for salt in (b"one", b"two")]
    arms = [[choose(one, "u", i).arm for i in ids] for one in served]
    agreeing = sum(a == b for a, b in zip(*arms, strict=True))
    assert agreeing < 200  # 114 expected, standard deviation 8.4
    put(shared_database, key + "-x", specification(*SHARES, policy=FIXED))
    assert Allocations(shared_database).find(key).salt != Allocations(shared_database).find(key + "-x").salt


def test_the_propensity_is_the_allocations_and_the_row_says_which(shared_database: Database, key: str) -> None:
    """Each row carries the probability that the numbered allocation in the database gives to its arm."""
    served = serve(shared_database, key)
    rows = [decide_now(served, f"user-{n}") for n in range(100)]
    ((stored,),) = query(
        shared_database, "SELECT probabilities FROM allocations WHERE experiment = :key AND number = 1", key=key
    )
    assert {row.allocation for row in rows} == {1}
    assert all(row.propensity == stored[row.arm] for row in rows)
    assert {(row.reason, row.learnable, row.served_arm == row.arm) for row in rows} == {("policy", True, True)}


def test_warming_up_is_a_reason_that_is_learned_from(shared_database: Database, key: str) -> None:
    """Until arms have their mature exposures shares are equal, and the rows say warm_up."""
    served = serve(shared_database, key, specification())
    row = decide_now(served)
    assert (row.reason, row.learnable, row.propensity) == ("warm_up", True, 0.5)


def test_a_drained_arm_is_never_chosen(shared_database: Database, key: str) -> None:
    """An arm that is draining or retired has probability 0 and gets no new decision."""
    arms = (Arm(key="a"), Arm(key="b", state="draining"), Arm(key="c", state="retired"))
    served = serve(shared_database, key, Specification(arms=arms))
    assert served.probabilities == (1.0, 0.0, 0.0)
    assert {choose(served, f"user-{n}", new_id()).arm for n in range(500)} == {0}


def test_a_decision_holds_what_its_arm_answered(shared_database: Database, key: str) -> None:
    """Items with scores, payload, context and unit are on record as they were given."""
    served = serve(shared_database, key, Specification(arms=(flag("a", {"layout": ["grid", 3]}),)))
    row = decide_now(served, "someone", context={"device": "ios"})
    assert (row.payload, row.items, row.context, row.unit) == (
        {"layout": ["grid", 3]},
        (),
        {"device": "ios"},
        "someone",
    )
    listed = serve(shared_database, key, Specification(arms=(Arm(key="a", recommender=Static(items=("1", "2", "3"))),)))
    row = decide_now(listed, k=2)
    assert [item.item_id for item in items_of(row)] == ["1", "2"]
    assert len(row.scores) == 2


def failing_chain(*, control: Arm, fallback: tuple[str, ...] = ()) -> Specification:
    """An experiment whose policy always chooses "b", which cannot answer without a context."""
    arms = (control, Arm(key="b", recommender=Similar()))
    return Specification(arms=arms, policy=Fixed(probabilities={"a": 0, "b": 1}), fallback=fallback)


def test_a_failing_arm_is_answered_for_by_the_control_arm(shared_database: Database, key: str) -> None:
    """The row keeps the chosen arm and its propensity, names who served, and is not learned from."""
    control = Arm(key="a", recommender=Static(items=("1", "2", "3")))
    row = decide_now(serve(shared_database, key, failing_chain(control=control, fallback=("9",))), k=2)
    assert (row.arm, row.served_arm, row.propensity) == ("b", "a", 1.0)
    assert (row.reason, row.learnable) == ("fallback", False)
    assert row.items == ("1", "2")


def test_when_the_control_arm_fails_too_the_fallback_list_answers(shared_database: Database, key: str) -> None:
    """Nobody served then: the list's first k items are given, without scores."""
    spec = failing_chain(control=Arm(key="a", recommender=Similar()), fallback=("7", "8", "9"))
    row = decide_now(serve(shared_database, key, spec), k=2)
    assert (row.arm, row.served_arm, row.reason, row.learnable) == ("b", None, "fallback", False)
    assert (row.items, row.scores) == (("7", "8"), (None, None))


def test_without_a_fallback_list_the_answer_is_empty(shared_database: Database, key: str) -> None:
    """A decision is made and logged all the same."""
    row = decide_now(serve(shared_database, key, failing_chain(control=Arm(key="a", recommender=Similar()))))
    assert (row.served_arm, row.items, row.payload, row.learnable) == (None, (), None, False)


def test_a_failing_control_arm_of_a_paused_experiment_falls_back_to_the_list(
    shared_database: Database, key: str
) -> None:
    """The fallback is flagged whatever the first reason was."""
    spec = failing_chain(control=Arm(key="a", recommender=Similar()), fallback=("7",))
    row = decide_now(serve(shared_database, key, spec, state="paused"))
    assert (row.arm, row.served_arm, row.items, row.reason, row.learnable) == ("a", None, ("7",), "fallback", False)


def test_the_same_decision_gets_the_same_items(shared_database: Database, key: str) -> None:
    """The seed that recommenders draw with comes from the decision id."""
    served = serve(shared_database, key)
    decision_id = new_id()
    first, second = (
        decide(served, decision_id=decision_id, unit="u", k=5, context={}, started=time.perf_counter())
        for _ in range(2)
    )
    assert (first.arm, first.items, first.payload) == (second.arm, second.items, second.payload)


def test_a_decision_lies_in_its_bucket(shared_database: Database, key: str) -> None:
    """The bucket starts at or before the decision and less than its width earlier; the width is the experiment's."""
    served = serve(shared_database, key)
    assert served.bucket_s == 60
    for width in (60.0, 0.5, 0.1):
        row = decide_now(replace(served, bucket_s=width))
        since = row.decided_at - row.bucket
        assert -timedelta(microseconds=1) <= since <= timedelta(seconds=width)
        assert abs(row.decided_at - now()) < timedelta(seconds=5)
        assert row.latency_ms >= 0


def write(database: Database, rows: list[DecisionRow]) -> list[DecisionRow]:
    """What the journal's writer answers."""
    with database.transaction() as connection:
        return DecisionWriter(shard=0).write(cursor_of(connection), rows)


def test_a_retried_decision_is_answered_with_the_first_row(database: Database) -> None:
    """Whatever the retry chose, the row on record is returned, in the place of its request."""
    first, other = decision(arm="a"), decision()
    assert write(database, [first]) == [first]
    retry = decision(decision_id=first.decision_id, arm="b", unit="another", context={"x": 1})
    assert write(database, [other, retry]) == [other, first]
    assert query(database, "SELECT sum(decisions)::int FROM decision_counts") == [(2,)]


def test_a_retry_within_one_batch_is_answered_with_the_first_row(database: Database) -> None:
    """Two requests of one id that share a batch get the same answer: the first one's."""
    first = decision(arm="a")
    retry = decision(decision_id=first.decision_id, arm="b")
    assert write(database, [first, retry, retry]) == [first] * 3
    assert query(database, "SELECT arm, decisions FROM decision_counts") == [("a", 1)]


def test_a_state_change_is_served_after_a_refresh(shared_database: Database, key: str) -> None:
    """Pausing, resuming and stopping reach a worker with its next refresh."""
    put(shared_database, key, specification(*SHARES, policy=FIXED))
    allocations = Allocations(shared_database)
    allocations.refresh()
    for action, reason in (("pause", "paused"), ("resume", "policy")):
        experiments.change_state(shared_database, key, action, actor="tester")  # type: ignore[arg-type]
        allocations.refresh()
        assert decide_now(allocations.find(key)).reason == reason
    experiments.change_state(shared_database, key, "stop", actor="tester")
    allocations.refresh()
    with pytest.raises(Conflict):
        decide_now(allocations.find(key))
