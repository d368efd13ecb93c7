"""Arms that change while decisions for them are in flight, seen from a worker that has not heard of it yet."""

import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from app import experiments, learner
from app.edits import change_arm
from app.ids import new_id
from app.learning import read_counts
from app.serving.allocations import Allocations
from app.serving.decide import DecisionWriter, decide
from app.serving.feedback import FeedbackWriter
from app.specification import Arm, ArmState, Specification
from app.store import experiments as store
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from tests.app.building import EAGER, EXPLICIT, disagreements, event, flag, now, put, query

SPEC = Specification(arms=(flag("a", 1), flag("b", 2), flag("c", 3)), policy=EAGER, reward=EXPLICIT)


def in_state(state: ArmState) -> Callable[[Specification], Specification]:
    """Puts arm "b" into a state."""
    return lambda spec: change_arm(spec, "b", lambda arm: replace(arm, state=state))


def without_b(spec: Specification) -> Specification:
    """Leaves arm "b" out."""
    return replace(spec, arms=tuple(arm for arm in spec.arms if arm.key != "b"))


def with_new_b(spec: Specification) -> Specification:
    """Gives arm "b" another recommender."""
    return change_arm(spec, "b", lambda _: flag("b", "new"))


CHANGES: dict[str, Callable[[Specification], Specification]] = {
    "drained": in_state("draining"),
    "retired": in_state("retired"),
    "left out": without_b,
    "another recommender": with_new_b,
}


def deal(worker: Allocations, key: str, count: int = 60) -> list[DecisionRow]:
    """Decisions that a worker makes and has not written yet."""
    return [
        decide(worker.find(key), decision_id=new_id(), unit=f"u{n}", k=1, context={}, started=time.perf_counter())
        for n in range(count)
    ]


def journal(database: Database, rows: list[DecisionRow]) -> None:
    """Writes decisions as the journal does; each is on record as it was made."""
    with database.transaction() as connection:
        assert DecisionWriter(shard=0).write(cursor_of(connection), rows) == rows


def reward(database: Database, rows: list[DecisionRow]) -> None:
    """Sends feedback for each decision, which is taken."""
    with database.transaction() as connection:
        writer = FeedbackWriter(shard=1)
        verdicts = writer.write(cursor_of(connection), [event(row) for row in rows])
    assert [verdict.status for verdict in verdicts] == ["accepted"] * len(rows)


def learned(database: Database, key: str) -> dict[str, int]:
    """How many outcomes each arm learns from."""
    with database.transaction() as connection:
        experiment = store.find(connection, key)
        assert experiment is not None
        return {c.arm: c.observed for c in read_counts(connection, experiment, now())}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_nothing_in_flight_is_lost_when_an_arm_goes(
    shared_database: Database, key: str, change: str, assignment: str
) -> None:
    """Decided before, written after, fed back last: all is on record, and counts unless the recommender is another."""
    put(shared_database, key, replace(SPEC, assignment=assignment))
    worker = Allocations(shared_database)
    made = deal(worker, key)
    of_b = sum(row.arm == "b" for row in made)
    assert of_b > 5
    experiments.patch(shared_database, key, CHANGES[change], if_match=None, actor="x")
    journal(shared_database, made)
    reward(shared_database, made)
    assert disagreements(shared_database) == []
    expected = {arm: sum(row.arm == arm for row in made) for arm in "abc"}
    assert learned(shared_database, key) == {**expected, "b": 0 if change == "another recommender" else of_b}
    learner.learn_once(shared_database, key, now() + learner._REST)
    assert disagreements(shared_database) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_worker_that_has_not_heard_yet_decides_as_before(shared_database: Database, key: str, change: str) -> None:
    """It logs the epoch and the allocation that it decided from; once it has heard, the arm gets nothing more."""
    put(shared_database, key, SPEC)
    worker = Allocations(shared_database)
    worker.refresh()
    experiments.patch(shared_database, key, CHANGES[change], if_match=None, actor="x")
    late = deal(worker, key)
    assert {(row.epoch, row.allocation) for row in late} == {(1, 1)}
    assert {row.arm for row in late} == {"a", "b", "c"}
    assert {row.payload for row in late if row.arm == "b"} == {2}
    journal(shared_database, late)
    reward(shared_database, late)
    worker.refresh()
    after = deal(worker, key, 200)
    journal(shared_database, after)
    reward(shared_database, after)
    assert {(row.epoch, row.allocation) for row in after} == {(2, 2)}
    assert {row.payload for row in after if row.arm == "b"} == ({"new"} if change == "another recommender" else set())
    assert disagreements(shared_database) == []


def test_each_decision_has_the_propensity_of_the_allocation_that_it_names(shared_database: Database, key: str) -> None:
    """So that whatever changes in between, the log stays fit for evaluation off-policy."""
    put(shared_database, key, SPEC)
    worker = Allocations(shared_database)
    for number, change in enumerate(CHANGES.values()):
        made = deal(worker, key)
        experiments.patch(shared_database, key, change, if_match=None, actor="x")
        experiments.add_arm(shared_database, key, Arm(key=f"new-{number}"), if_match=None, actor="x")
        journal(shared_database, made + deal(worker, key))
        worker.refresh()
        put(shared_database, key, SPEC)
    mismatches = """
        SELECT count(*), count(*) FILTER (WHERE propensity IS DISTINCT FROM (probabilities ->> arm)::float8)
        FROM decisions d JOIN allocations a ON a.experiment = d.experiment AND a.number = d.allocation
        WHERE d.experiment = :key"""
    assert query(shared_database, mismatches, key=key) == [(2 * 60 * len(CHANGES), 0)]
