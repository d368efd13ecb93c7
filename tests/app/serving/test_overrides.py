"""Overrides and the holdout on the serving path: who is in, which wins, and that neither is learned from."""

import itertools
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from app import learner
from app.errors import Conflict
from app.ids import new_id
from app.learning import read_counts
from app.serving.allocations import Allocations, Served
from app.serving.decide import DecisionWriter, choose, decide
from app.serving.overrides import Overrides
from app.specification import Arm, Override, Specification
from app.store import experiments as store
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow
from bandits.fixed import Fixed
from bandits.selection import StickyRace
from tests.app.building import (
    EAGER,
    EXPLICIT,
    disagreements,
    matched,
    now,
    put,
    query,
    record,
    specification,
    write,
)

# Exceeded with probability 1e-7 when frequencies are as predicted.
RARE = 1e-7
SHARES = {"a": 0.5, "b": 0.3, "c": 0.2}
SPEC = specification(*SHARES, policy=Fixed(probabilities=SHARES))
UNITS = [f"user-{n}" for n in range(100_000)]


def serve(database: Database, key: str, spec: Specification, salt: bytes = b"salt") -> Served:
    """An experiment as a web worker serves it, with a known salt."""
    put(database, key, spec)
    served = replace(Allocations(database).find(key), salt=salt)
    if served.race is None:
        return served
    race = StickyRace.of(salt=salt, experiment="home", arms=tuple(SHARES), probabilities=np.array([*SHARES.values()]))
    return replace(served, race=race)


def with_overrides(*overrides: Override, **parts: object) -> Specification:
    """Arms "a", "b" and "c" with fixed shares, and these overrides."""
    return specification(*SHARES, policy=Fixed(probabilities=SHARES), overrides=overrides, **parts)


def decide_now(served: Served, unit: str) -> DecisionRow:
    """A decision for a request that has just come."""
    return decide(served, decision_id=new_id(), unit=unit, k=1, context={}, started=time.perf_counter())


def reasons(served: Served, units: list[str]) -> list[tuple[str, str]]:
    """Reason and arm for each unit."""
    choices = [choose(served, unit, new_id()) for unit in units]
    return [(choice.reason, served.arms[choice.arm].key) for choice in choices]


@pytest.mark.parametrize("assignment", ["request", "unit"])
def test_a_named_unit_gets_its_arm_for_certain(shared_database: Database, key: str, assignment: str) -> None:
    """Whatever the policy would choose: propensity 1, reason override, not learned from; others are not touched."""
    spec = with_overrides(Override(arm="c", units=("user-1", "user-2")), assignment=assignment)
    served = serve(shared_database, key, spec)
    for unit in ("user-1", "user-2"):
        row = decide_now(served, unit)
        assert (row.arm, row.served_arm, row.propensity, row.reason, row.learnable) == (
            "c",
            "c",
            1.0,
            "override",
            False,
        )
    assert decide_now(served, "user-3").reason == "policy"


def test_what_decides_comes_in_order(shared_database: Database, key: str) -> None:
    """Named units win over the holdout, the holdout over shares, shares over the policy."""
    spec = with_overrides(Override(arm="c", units=tuple(UNITS[:50])), Override(arm="b", share=0.5), holdout=0.4)
    served = serve(shared_database, key, spec)
    held = {unit for unit in UNITS[:1000] if served.is_held_out(unit)}
    found = dict(zip(UNITS[:1000], reasons(served, UNITS[:1000]), strict=True))
    assert {found[unit] for unit in UNITS[:50]} == {("override", "c")}
    assert {found[unit] for unit in UNITS[50:1000] if unit in held} == {("holdout", "a")}
    rest = Counter(reason for unit in UNITS[50:1000] if unit not in held for reason in [found[unit]])
    assert rest["override", "b"] > 100
    assert {reason for reason, _ in rest} == {"override", "policy"}


def test_the_state_wins_over_overrides(shared_database: Database, key: str) -> None:
    """A paused experiment gives everybody its control arm, and a stopped one nothing."""
    spec = with_overrides(Override(arm="c", units=("u",)), Override(arm="b", share=1.0))
    served = serve(shared_database, key, spec)
    assert reasons(replace(served, state="paused"), ["u", "v"]) == [("paused", "a")] * 2
    for unit in "uv":
        with pytest.raises(Conflict):
            choose(replace(served, state="stopped"), unit, new_id())


def test_shares_are_as_asked_and_never_overlap() -> None:
    """Of 100,000 units each override has its part, and the rest none; a false alarm has probability 1e-7."""
    shares = {"a": 0.05, "b": 0.2, "c": 0.15}
    overrides = Overrides.of(with_overrides(*(Override(arm=arm, share=share) for arm, share in shares.items())))
    counts = Counter(overrides.by_share(b"salt", unit) for unit in UNITS)
    expected = [share * len(UNITS) for share in (*shares.values(), 0.6)]
    assert scipy.stats.chisquare([counts[arm] for arm in (0, 1, 2, None)], expected).pvalue > RARE


def test_a_share_is_always_the_same_units() -> None:
    """A larger one keeps those it had, and one that is added at the end moves nobody else."""

    def members(*overrides: Override) -> dict[int | None, set[str]]:
        ready = Overrides.of(with_overrides(*overrides))
        return {arm: {unit for unit in UNITS[:5000] if ready.by_share(b"salt", unit) == arm} for arm in (0, 1, 2, None)}

    small = members(Override(arm="b", share=0.1))
    assert small == members(Override(arm="b", share=0.1))
    assert small[1] < members(Override(arm="b", share=0.2))[1]
    both = members(Override(arm="b", share=0.1), Override(arm="c", share=0.1))
    assert both[1] == small[1]
    assert both[2] < small[None]


def test_a_share_of_everything_is_everybody() -> None:
    """With shares that sum to 1 the policy chooses for nobody."""
    ready = Overrides.of(with_overrides(Override(arm="b", share=0.25), Override(arm="a", share=0.75)))
    assert {ready.by_share(b"salt", unit) for unit in UNITS} == {0, 1}


def test_who_is_in_what_is_independent(shared_database: Database, key: str) -> None:
    """Holdout, shares and the sticky choice use hashes of their own: χ² over 100,000 units, false alarm 1e-7 each."""
    spec = with_overrides(Override(arm="b", share=0.3), holdout=0.4, assignment="unit")
    served = serve(shared_database, key, spec)
    held = np.array([served.is_held_out(unit) for unit in UNITS])
    shared = np.array([served.overrides.by_share(b"salt", unit) is not None for unit in UNITS])
    chosen = np.array([served.choose(unit, b"") for unit in UNITS])
    for one, other in itertools.combinations((held, shared, chosen), 2):
        table = np.zeros((3, 3))
        np.add.at(table, (one.astype(int), other.astype(int)), 1)
        assert scipy.stats.chi2_contingency(table[table.any(axis=1)][:, table.any(axis=0)]).pvalue > RARE


def test_another_salt_is_another_draw() -> None:
    """Experiments do not hold out or pin the same units: a tenth of a tenth are in both, within five deviations."""
    ready = Overrides.of(with_overrides(Override(arm="b", share=0.1)))
    one, other = ({u for u in UNITS if ready.by_share(salt, u) is not None} for salt in (b"one", b"other"))
    assert abs(len(one & other) - 1000) < 5.4 * np.sqrt(990)


def test_neither_overrides_nor_the_holdout_are_learned_from(database: Database) -> None:
    """Their feedback is on record and the statistics equal the log, but no arm's evidence or allocation moves."""
    overrides = (Override(arm="b", units=("pinned",)), Override(arm="b", share=0.5))
    spec = specification("a", "b", policy=EAGER, reward=EXPLICIT, holdout=0.5, overrides=overrides)
    put(database, "home", spec)
    served = Allocations(database).find("home")
    rows = [row for unit in ("pinned", *UNITS[:300]) if not (row := decide_now(served, unit)).learnable]
    assert {row.reason for row in rows} == {"override", "holdout"}
    record(database, rows)
    write(database, [matched(row) for row in rows])
    with database.transaction() as connection:
        experiment = store.find(connection, "home")
        assert experiment is not None
        counts = read_counts(connection, experiment, now())
    assert sum(c.decisions for c in counts) == len(rows)
    assert {(c.exposures, c.mature, c.observed, c.sum) for c in counts} == {(0, 0, 0, 0)}
    assert not learner.learn_once(database, "home", now() + learner._REST)
    assert query(database, "SELECT count(*) FROM outcomes") == [(len(rows),)]
    assert disagreements(database) == []


def test_a_repeated_decision_of_an_override_is_the_first(database: Database) -> None:
    """A retry gets the row on record even when the unit has been let go meanwhile."""
    pinned = specification("a", "b", overrides=(Override(arm="b", units=("u",)),))
    put(database, "home", pinned)
    first = decide_now(Allocations(database).find("home"), "u")
    put(database, "home", specification("a", "b"))
    again = decide(
        Allocations(database).find("home"),
        decision_id=first.decision_id,
        unit="u",
        k=1,
        context={},
        started=time.perf_counter(),
    )
    assert again.reason == "warm_up"
    with database.transaction() as connection:
        assert DecisionWriter(shard=0).write(cursor_of(connection), [first, again]) == [first, first]


def test_overrides_reach_a_worker_with_its_refresh(shared_database: Database, key: str) -> None:
    """Pinning needs no new epoch, and the next refresh serves by it."""
    put(shared_database, key, SPEC)
    worker = Allocations(shared_database)
    worker.refresh()
    put(shared_database, key, with_overrides(Override(arm="c", units=("u",))))
    worker.refresh()
    row = decide_now(worker.find(key), "u")
    assert (row.reason, row.arm, row.epoch, row.allocation) == ("override", "c", 1, 2)


def test_the_arms_of_a_share_follow_the_specification() -> None:
    """Indices are those of the arms' order, whatever the order of the overrides."""
    spec = Specification(
        arms=(Arm(key="x"), Arm(key="y")),
        overrides=(Override(arm="y", share=0.5), Override(arm="x", units=("u",), share=0.5)),
    )
    ready = Overrides.of(spec)
    assert (dict(ready.units), ready.bounds, ready.arms) == ({"u": 0}, (0.5, 1.0), (1, 0))
