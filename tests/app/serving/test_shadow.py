"""The shadow policy in a web worker: it chooses by its own shares, and the live choice stays the same."""

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import scipy.stats

from app.experiments import change_state
from app.ids import new_id
from app.serving.allocations import Allocations, Served
from app.serving.decide import choose, decide
from app.specification import Shadow
from app.store.database import Database
from app.store.decisions import DecisionRow
from bandits.fixed import Fixed
from tests.app.building import put, query, specification

LIVE = {"a": 0.5, "b": 0.3, "c": 0.2}
SHADOW = {"a": 0.1, "b": 0.25, "c": 0.65}
RARE = 1e-7  # probability of a false alarm


def serve(database: Database, key: str, **parts: Any) -> Served:
    """An experiment with a shadow, as a web worker serves it."""
    shadow = parts.pop("shadow", Shadow(policy=Fixed(probabilities=SHADOW)))
    put(database, key, specification(*LIVE, policy=Fixed(probabilities=LIVE), shadow=shadow, **parts))
    return Allocations(database).find(key)


def decided(served: Served, unit: str = "u") -> DecisionRow:
    """One decision."""
    return decide(served, decision_id=new_id(), unit=unit, k=1, context={}, started=time.perf_counter())


@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_shares_are_the_shadows_and_independent_of_the_live_choice(
    shared_database: Database, key: str, assignment: str
) -> None:
    """Pairs of live and shadow arms come as often as p_i q_i says: χ² over the nine cells, of 40,000 decisions."""
    served = serve(shared_database, key, assignment=assignment)
    assert served.shadow is not None
    pairs = Counter[tuple[str, str]]()
    for n in range(40_000):
        unit, decision_id = f"user-{n}", new_id()
        live = served.arms[choose(served, unit, decision_id).arm].key
        pairs[live, served.shadow.choose(unit, decision_id.bytes)] += 1
    expected = {(a, b): 40_000 * p * q for a, p in LIVE.items() for b, q in SHADOW.items()}
    found = scipy.stats.chisquare([pairs[cell] for cell in expected], list(expected.values()))
    assert found.pvalue > RARE


@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_the_live_choice_is_the_same_without_a_shadow(shared_database: Database, key: str, assignment: str) -> None:
    """Same id, unit and salt: same arm, propensity and reason."""
    served = serve(shared_database, key, assignment=assignment)
    bare = replace(served, shadow=None)
    for n in range(2_000):
        decision_id = new_id()
        assert choose(served, f"u{n}", decision_id) == choose(bare, f"u{n}", decision_id)


def test_a_sticky_units_shadow_arm_sticks(shared_database: Database, key: str) -> None:
    """As its live arm does; and without sticky assignment a retry agrees."""
    served = serve(shared_database, key, assignment="unit")
    assert all(len({decided(served, f"u{n}").shadow_arm for _ in range(5)}) == 1 for n in range(50))
    by_request = serve(shared_database, key + "-r")
    assert by_request.shadow is not None
    one = new_id().bytes
    assert len({by_request.shadow.choose(f"u{n}", one) for n in range(50)}) == 1


def test_a_subset_of_arms_is_all_that_it_chooses(shared_database: Database, key: str) -> None:
    """The other arms have probability 0 in the vector that is stored with the allocation."""
    served = serve(
        shared_database, key, shadow=Shadow(policy=Fixed(probabilities={"b": 0.4, "c": 0.6}), arms=("b", "c"))
    )
    assert {decided(served, f"u{n}").shadow_arm for n in range(200)} == {"b", "c"}
    ((stored,),) = query(shared_database, "SELECT shadow FROM allocations WHERE experiment = :key", key=key)
    assert stored["probabilities"] == {"a": 0, "b": 0.4, "c": 0.6}
    assert stored["declared"]["arms"] == ["b", "c"]


def test_where_the_policy_does_not_choose_the_shadow_does_not_either(shared_database: Database, key: str) -> None:
    """A held-out unit, a paused experiment and one without a shadow have no shadow arm."""
    assert decided(serve(shared_database, key, holdout=0.999999)).shadow_arm is None
    served = serve(shared_database, key + "-none", shadow=None)
    assert served.shadow is None
    assert decided(served).shadow_arm is None
    assert query(shared_database, "SELECT shadow FROM allocations WHERE experiment = :key", key=key + "-none") == [
        (None,)
    ]
    serve(shared_database, key + "-p")
    change_state(shared_database, key + "-p", "pause", actor="tester")
    assert decided(Allocations(shared_database).find(key + "-p")).shadow_arm is None
