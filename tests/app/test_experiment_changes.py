"""Changes of experiments: idempotent, guarded, audited, with their arms, epochs and a fresh allocation."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from app import experiments
from app.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from app.experiments import Action
from app.learning import read_counts
from app.recommenders import Payload, Static
from app.specification import Arm, Metric, Override, Reward, Specification, State
from app.store import allocations, audit, contracts
from app.store import experiments as store
from app.store.allocations import AllocationRecord
from app.store.database import Database
from app.store.experiments import ArmRecord, Experiment
from bandits.epsilon_greedy import EpsilonGreedy
from bandits.fixed import Fixed
from tests.app.building import EAGER, EXPLICIT, decision, flag, matched, now, put, query, record, write

TWO = Specification(arms=(flag("a", 1), flag("b", 2)), policy=EAGER, reward=EXPLICIT)


def arms(database: Database, key: str) -> dict[str, ArmRecord]:
    """The rows of all arms that an experiment ever had."""
    with database.transaction() as connection:
        return {arm.key: arm for arm in store.arms_of(connection, key)}


def trail(database: Database, key: str) -> list[dict[str, Any]]:
    """The audit entries of an experiment, oldest first."""
    with database.transaction() as connection:
        return audit.trail(connection, key)[::-1]


def in_force(database: Database, key: str) -> AllocationRecord:
    """The allocation that the experiment's row points at."""
    with database.transaction() as connection:
        experiment = store.find(connection, key)
        assert experiment is not None
        found = allocations.find(connection, key, experiment.allocation)
    assert found is not None
    return found


def as_json(spec: Specification) -> Any:
    """A specification as JSON."""
    return msgspec.json.decode(msgspec.json.encode(spec))


def learned(database: Database, experiment: Experiment) -> dict[str, int]:
    """How many outcomes each arm learns from."""
    with database.transaction() as connection:
        return {c.arm: c.observed for c in read_counts(connection, experiment, now())}


def with_arms(*changed: Arm, **parts: Any) -> Specification:
    """The two-armed specification with other arms or parts."""
    return replace(TWO, **({"arms": changed} if changed else {}), **parts)


# --- creating -------------------------------------------------------------------------------------------------------


def test_creating_stores_arms_an_allocation_and_an_audit_entry(shared_database: Database, key: str) -> None:
    """A new experiment can be dealt from at once, and who made it is on record."""
    made, created = experiments.put(shared_database, key, TWO, state="draft", if_match=None, actor="ann")
    assert created
    assert (made.key, made.specification, made.state, made.version, made.epoch, made.allocation) == (
        (key, TWO, "draft", 1, 1, 1)
    )
    assert len(made.salt) == 16
    assert [(a.key, a.position, a.version, a.since_epoch, a.state) for a in arms(shared_database, key).values()] == [
        ("a", 0, 1, 1, "active"),
        ("b", 1, 1, 1, "active"),
    ]
    assert in_force(shared_database, key).probabilities == {"a": 0.5, "b": 0.5}
    (entry,) = trail(shared_database, key)
    assert (entry["actor"], entry["action"], entry["before"]) == ("ann", "create", None)
    assert msgspec.convert(entry["after"], Specification) == TWO


def test_putting_the_same_again_changes_nothing(shared_database: Database, key: str) -> None:
    """No new version, epoch, allocation, arm or audit entry, however often, and whatever state is asked for."""
    first = put(shared_database, key, TWO)
    for state in get_args(State):
        again, created = experiments.put(shared_database, key, TWO, state=state, if_match=None, actor="bob")
        assert not created
        assert again == first
    assert len(trail(shared_database, key)) == 1
    assert query(shared_database, "SELECT count(*) FROM allocations WHERE experiment = :key", key=key) == [(1,)]


def test_re_applying_a_file_never_wakes_a_paused_experiment(shared_database: Database, key: str) -> None:
    """`state` is obeyed on creation only, also when something else changes."""
    put(shared_database, key, TWO, state="paused")
    changed, _ = experiments.put(
        shared_database, key, with_arms(flag("a", 9)), state="running", if_match=None, actor="x"
    )
    assert (changed.state, changed.version) == ("paused", 2)


def test_creating_twice_conflicts_and_changes_nothing(shared_database: Database, key: str) -> None:
    """POST is for new keys only: the experiment that has the key stays as it is."""
    first = experiments.create(shared_database, key, TWO, state="draft", actor="ann")
    assert (first.state, first.version) == ("draft", 1)
    with pytest.raises(Conflict, match=key):
        experiments.create(shared_database, key, with_arms(flag("x", 1)), state="running", actor="bob")
    assert experiments.get(shared_database, key) == first


def test_of_creations_at_once_one_wins_and_the_others_change_nothing(shared_database: Database, key: str) -> None:
    """Those who come too late get a conflict, and what the first made is what there is."""
    specs = [with_arms(flag("a", n)) for n in range(8)]

    def create(spec: Specification) -> Experiment | None:
        try:
            return experiments.create(shared_database, key, spec, state="running", actor="x")
        except Conflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = [e for e in pool.map(create, specs) if e is not None]
    assert len(made) == 1
    assert experiments.get(shared_database, key) == made[0]
    assert made[0].version == 1


def test_an_invalid_specification_changes_nothing(shared_database: Database, key: str) -> None:
    """All three ways in refuse it, with the faults, before anything is stored."""
    bad = with_arms(control="nobody")
    with pytest.raises(InvalidInput, match="nobody"):
        put(shared_database, key, bad)
    with pytest.raises(InvalidInput, match="nobody"):
        experiments.create(shared_database, key, bad, state="draft", actor="x")
    with pytest.raises(NotFound):
        experiments.get(shared_database, key)
    first = put(shared_database, key, TWO)
    with pytest.raises(InvalidInput, match="nobody"):
        experiments.patch(shared_database, key, lambda _: bad, if_match=None, actor="x")
    assert experiments.get(shared_database, key) == first


# --- guarding -------------------------------------------------------------------------------------------------------


def test_if_match_guards_against_lost_updates(shared_database: Database, key: str) -> None:
    """A change that was made from an old version is refused, and one from the present version goes through."""
    put(shared_database, key, TWO)
    changed = with_arms(flag("a", 9), flag("b", 2))
    options: dict[str, Any] = {"state": "running", "actor": "x"}
    assert experiments.put(shared_database, key, changed, if_match=1, **options)[0].version == 2
    for stale in (1, 3, 0):
        with pytest.raises(PreconditionFailed, match="version 2"):
            experiments.put(shared_database, key, TWO, if_match=stale, **options)
        with pytest.raises(PreconditionFailed, match="version 2"):
            experiments.patch(shared_database, key, lambda _: TWO, if_match=stale, actor="x")
    assert experiments.get(shared_database, key).specification == changed
    assert experiments.patch(shared_database, key, lambda _: TWO, if_match=2, actor="x").version == 3


def test_if_match_is_checked_even_if_nothing_would_change(shared_database: Database, key: str) -> None:
    """A stale version is stale, whatever is sent."""
    put(shared_database, key, TWO)
    with pytest.raises(PreconditionFailed):
        experiments.put(shared_database, key, TWO, state="running", if_match=7, actor="x")


def test_what_does_not_exist_cannot_be_changed(shared_database: Database, key: str) -> None:
    """With `if_match` nothing is created; patches, states and reads of nothing are not found."""
    changes: list[Callable[[], object]] = [
        lambda: experiments.patch(shared_database, key, lambda s: s, if_match=None, actor="x"),
        lambda: experiments.change_state(shared_database, key, "start", actor="x"),
        lambda: experiments.get(shared_database, key),
    ]
    for change in changes:
        with pytest.raises(NotFound, match=key):
            change()
    with pytest.raises(PreconditionFailed, match=key):
        experiments.put(shared_database, key, TWO, state="running", if_match=1, actor="x")
    assert trail(shared_database, key) == []


def test_concurrent_puts_end_with_one_of_them_and_lose_none(shared_database: Database, key: str) -> None:
    """Each put is whole: versions, audit entries, arms and allocations follow each other without gaps."""
    specs = [with_arms(flag("a", n), flag(f"arm-{n}", 0)) for n in range(10)]
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda spec: put(shared_database, key, spec), specs))
    last = experiments.get(shared_database, key)
    assert (last.version, last.epoch, last.allocation) == (10, 10, 10)
    assert last.specification in specs
    entries = trail(shared_database, key)
    assert [entry["action"] for entry in entries] == ["create"] + ["replace"] * 9
    for earlier, later in itertools.pairwise(entries):
        assert later["before"] == earlier["after"]
    active = {arm.key for arm in arms(shared_database, key).values() if arm.state == "active"}
    assert active == set(last.specification.arm_keys) == set(in_force(shared_database, key).probabilities)


def test_of_patches_at_once_none_is_lost(shared_database: Database, key: str) -> None:
    """A patch is made from what it replaces, under a lock: ten that add an item each leave ten items."""
    put(shared_database, key, TWO)

    def add(n: int) -> None:
        def one_more(spec: Specification) -> Specification:
            return replace(spec, fallback=(*spec.fallback, f"item-{n}"))

        experiments.patch(shared_database, key, one_more, if_match=None, actor="x")

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(add, range(10)))
    assert sorted(experiments.get(shared_database, key).specification.fallback) == [f"item-{n}" for n in range(10)]


def test_listed_in_pages(database: Database) -> None:
    """All experiments in the order of their keys, each once."""
    for name in ("c", "a", "d", "b"):
        put(database, name)
    pages = [experiments.listed(database, after=after, limit=3) for after in ("", "c", "d")]
    assert [[e.key for e in page] for page in pages] == [["a", "b", "c"], ["d"], []]


# --- what a change means --------------------------------------------------------------------------------------------

OTHER_REWARD = replace(EXPLICIT, window_s=60.0)
DEALT_OTHERWISE = {
    "recommender": with_arms(flag("a", 1), flag("b", 3)),
    "type of a payload": with_arms(flag("a", value=True), flag("b", 2)),
    "kind of recommender": with_arms(flag("a", 1), Arm(key="b", recommender=Static(items=("1",)))),
    "another arm": with_arms(*TWO.arms, flag("c", 3)),
    "one arm less": with_arms(flag("a", 1)),
    "order of arms": with_arms(*TWO.arms[::-1]),
    "state of an arm": with_arms(flag("a", 1), flag("b", 2, state="draining")),
    "control": with_arms(control="b"),
    "policy": with_arms(policy=EpsilonGreedy()),
    "parameter of the policy": with_arms(policy=replace(EAGER, min_propensity=0.1)),
    "reward": with_arms(reward=OTHER_REWARD),
    "lateness": with_arms(reward=replace(EXPLICIT, late_until_s=3600.0)),
    "assignment": with_arms(assignment="unit"),
    "holdout": with_arms(holdout=0.1),
}
DEALT_ALIKE = {
    "metrics": with_arms(metrics=(Metric(key="revenue", aggregation="sum"),)),
    "fallback": with_arms(fallback=("1", "2")),
    "units of an override": with_arms(overrides=(Override(arm="b", units=("u",)),)),
    "share of an override": with_arms(overrides=(Override(arm="b", share=0.1),)),
    "prior": with_arms(flag("a", 1, prior={"alpha": 2.0}), flag("b", 2)),
}


@pytest.mark.parametrize("spec", DEALT_OTHERWISE.values(), ids=DEALT_OTHERWISE)
def test_what_changes_dealing_begins_an_epoch(shared_database: Database, key: str, spec: Specification) -> None:
    """Exposures before and after are told apart, there is a fresh allocation, and both sides are audited."""
    put(shared_database, key, TWO)
    changed, _ = experiments.put(shared_database, key, spec, state="running", if_match=None, actor="bob")
    assert (changed.version, changed.epoch, changed.allocation) == (2, 2, 2)
    assert msgspec.json.encode(changed.specification) == msgspec.json.encode(spec)
    allocation = in_force(shared_database, key)
    assert (allocation.number, allocation.version, allocation.epoch) == (2, 2, 2)
    assert allocation.reason in {"config", "warm_up"}
    entry = trail(shared_database, key)[-1]
    assert (entry["actor"], entry["action"]) == ("bob", "replace")
    assert (entry["before"], entry["after"]) == (as_json(TWO), as_json(spec))


@pytest.mark.parametrize("spec", DEALT_ALIKE.values(), ids=DEALT_ALIKE)
def test_what_leaves_dealing_alone_keeps_the_epoch(shared_database: Database, key: str, spec: Specification) -> None:
    """The version changes, the epoch does not, and every arm goes on learning from what it has."""
    put(shared_database, key, TWO)
    changed = put(shared_database, key, spec)
    assert (changed.version, changed.epoch) == (2, 1)
    assert {(a.version, a.since_epoch) for a in arms(shared_database, key).values()} == {(1, 1)}
    assert in_force(shared_database, key).version == 2


def test_a_payload_of_another_type_is_another_payload(shared_database: Database, key: str) -> None:
    """A flag whose value changes from 1 to true has changed, at any depth: so must the experiment."""
    values: list[Any] = [1, True, {"on": 1}, {"on": True}, [[0]], [[False]]]
    for version, value in enumerate(values, start=1):
        changed = put(shared_database, key, with_arms(flag("a", value)))
        (arm,) = changed.specification.arms
        assert isinstance(arm.recommender, Payload)
        assert (changed.version, repr(arm.recommender.value)) == (version, repr(value))
    assert arms(shared_database, key)["a"].version == len(values)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"x": 1, "y": 2}, {"y": 2, "x": 1}), (1, 1.0), ([1e16, "é"], [1e16, "é"])],
    ids=["order", "point", "large"],
)
def test_another_spelling_is_the_same_payload(shared_database: Database, key: str, one: Any, other: Any) -> None:
    """The order of an object's members and the spelling of a number do not matter: nothing has changed."""
    put(shared_database, key, with_arms(flag("a", one)))
    assert put(shared_database, key, with_arms(flag("a", other))).version == 1


def test_another_recommender_is_another_version_of_the_arm_that_learns_afresh(
    shared_database: Database, key: str
) -> None:
    """Old outcomes say nothing of a new recommender; the other arm keeps what it has learned."""
    put(shared_database, key, TWO)
    rows = [decision(key, arm=arm) for arm in "ab"]
    record(shared_database, rows)
    write(shared_database, [matched(row) for row in rows])
    changed = put(shared_database, key, with_arms(flag("a", 1), flag("b", 99)))
    known = arms(shared_database, key)
    assert (known["a"].version, known["a"].since_epoch) == (1, 1)
    assert (known["b"].version, known["b"].since_epoch) == (2, 2)
    assert learned(shared_database, changed) == {"a": 1, "b": 0}
    posterior = in_force(shared_database, key).posterior
    assert posterior == {"a": {"alpha": 2, "beta": 1}, "b": {"alpha": 1, "beta": 1}}


@pytest.mark.parametrize(
    "reward",
    [
        OTHER_REWARD,
        replace(EXPLICIT, metric="buy"),
        replace(EXPLICIT, missing="default"),
        Reward(missing="explicit", default=1.0),
    ],
    ids=["window", "metric", "missing", "default"],
)
def test_another_meaning_of_the_reward_lets_every_arm_learn_afresh(
    shared_database: Database, key: str, reward: Reward
) -> None:
    """Outcomes that meant something else are not learned from; versions of arms stay, for their recommenders do."""
    put(shared_database, key, TWO)
    rows = [decision(key, arm=arm) for arm in "ab"]
    record(shared_database, rows)
    write(shared_database, [matched(row) for row in rows])
    changed = put(shared_database, key, with_arms(reward=reward))
    assert {(a.version, a.since_epoch) for a in arms(shared_database, key).values()} == {(1, 2)}
    assert learned(shared_database, changed) == {"a": 0, "b": 0}


def test_taking_feedback_longer_does_not_change_what_was_learned(shared_database: Database, key: str) -> None:
    """`late_until_s` says until when an outcome may still be corrected, not what it means."""
    put(shared_database, key, TWO)
    put(shared_database, key, with_arms(reward=replace(EXPLICIT, late_until_s=3600.0)))
    assert {a.since_epoch for a in arms(shared_database, key).values()} == {1}


def test_a_removed_arm_is_retired_and_its_row_kept(shared_database: Database, key: str) -> None:
    """It gets no decision and no share any more, and its history stays readable."""
    put(shared_database, key, TWO)
    put(shared_database, key, with_arms(flag("a", 1)))
    kept = arms(shared_database, key)["b"]
    assert (kept.state, kept.version, kept.since_epoch, kept.specification) == ("retired", 1, 1, flag("b", 2))
    assert in_force(shared_database, key).probabilities == {"a": 1.0}


def test_an_arm_that_comes_back_goes_on_where_it_was(shared_database: Database, key: str) -> None:
    """With the same recommender it is the same version and knows what it knew; with another it learns afresh."""
    put(shared_database, key, TWO)
    row = decision(key, arm="b")
    record(shared_database, [row])
    write(shared_database, [matched(row)])
    put(shared_database, key, with_arms(flag("a", 1)))
    back = put(shared_database, key, TWO)
    again = arms(shared_database, key)["b"]
    assert (again.state, again.version, again.since_epoch) == ("active", 1, 1)
    assert learned(shared_database, back) == {"a": 0, "b": 1}
    put(shared_database, key, with_arms(flag("a", 1)))
    other = put(shared_database, key, with_arms(flag("a", 1), flag("b", "new")))
    again = arms(shared_database, key)["b"]
    assert (again.state, again.version, again.since_epoch) == ("active", 2, other.epoch)
    assert learned(shared_database, other) == {"a": 0, "b": 0}


def test_an_arm_that_was_away_while_the_reward_changed_learns_afresh(shared_database: Database, key: str) -> None:
    """What it knew when it was removed is of another reward; it does not come back with it."""
    put(shared_database, key, TWO)
    row = decision(key, arm="b")
    record(shared_database, [row])
    write(shared_database, [matched(row)])
    put(shared_database, key, with_arms(flag("a", 1)))
    put(shared_database, key, with_arms(flag("a", 1), reward=OTHER_REWARD))
    back = put(shared_database, key, with_arms(reward=OTHER_REWARD))
    assert learned(shared_database, back) == {"a": 0, "b": 0}


@pytest.mark.parametrize("state", ["draining", "retired"])
@pytest.mark.parametrize("policy", [EAGER, EpsilonGreedy(), Fixed(probabilities={"a": 0.2, "b": 0.8})])
def test_a_drained_arm_gets_no_share_at_once(shared_database: Database, key: str, state: Any, policy: Any) -> None:
    """The allocation that comes with the change gives it exactly 0, and all to the others; it goes on learning."""
    put(shared_database, key, with_arms(policy=policy))
    row = decision(key, arm="b")
    record(shared_database, [row])
    changed = put(shared_database, key, with_arms(flag("a", 1), flag("b", 2, state=state), policy=policy))
    assert in_force(shared_database, key).probabilities == {"a": 1.0, "b": 0.0}
    write(shared_database, [matched(row)])
    assert learned(shared_database, changed) == {"a": 0, "b": 1}
    assert arms(shared_database, key)["b"].state == state


def test_an_added_arm_goes_to_the_end(shared_database: Database, key: str) -> None:
    """It is served from the allocation that comes with it, in an epoch of its own, and is audited."""
    put(shared_database, key, TWO)
    changed = experiments.add_arm(shared_database, key, flag("c", 3), if_match=1, actor="ann")
    assert changed.specification == with_arms(*TWO.arms, flag("c", 3))
    assert (changed.version, changed.epoch, changed.allocation) == (2, 2, 2)
    assert in_force(shared_database, key).probabilities["c"] > 0
    assert arms(shared_database, key)["c"].since_epoch == 2
    assert [(e["actor"], e["action"]) for e in trail(shared_database, key)][1:] == [("ann", "replace")]
    with pytest.raises(PreconditionFailed):
        experiments.add_arm(shared_database, key, flag("d", 4), if_match=1, actor="ann")


@pytest.mark.parametrize("gone", [with_arms(flag("a", 1), flag("b", 2, state="retired")), with_arms(flag("a", 1))])
def test_a_key_that_was_used_comes_back_with_its_arm_only(
    shared_database: Database, key: str, gone: Specification
) -> None:
    """Retired or left out: the same recommender goes on where it was, another one is refused."""
    put(shared_database, key, TWO)
    row = decision(key, arm="b")
    record(shared_database, [row])
    write(shared_database, [matched(row)])
    put(shared_database, key, gone)
    with pytest.raises(Conflict, match=r"'b'.*another recommender"):
        experiments.add_arm(shared_database, key, flag("b", "new"), if_match=None, actor="x")
    back = experiments.add_arm(shared_database, key, flag("b", 2), if_match=None, actor="x")
    assert back.specification == TWO
    again = arms(shared_database, key)["b"]
    assert (again.state, again.version, again.since_epoch) == ("active", 1, 1)
    assert learned(shared_database, back) == {"a": 0, "b": 1}


def test_an_arm_that_is_there_is_not_added(shared_database: Database, key: str) -> None:
    """Whether it is active or draining, and however equal: adding it again is a conflict that changes nothing."""
    before = put(shared_database, key, with_arms(flag("a", 1), flag("b", 2, state="draining")))
    for arm, state in (("a", "active"), ("b", "draining")):
        with pytest.raises(Conflict, match=f"'{arm}' exists and is {state}"):
            experiments.add_arm(shared_database, key, flag(arm, 1), if_match=None, actor="x")
    assert experiments.get(shared_database, key) == before


def test_of_those_who_add_an_arm_at_once_one_wins(shared_database: Database, key: str) -> None:
    """Eight add the same key with different recommenders: one arm, seven conflicts."""
    put(shared_database, key, TWO)

    def add(n: int) -> bool:
        try:
            return bool(experiments.add_arm(shared_database, key, flag("c", n), if_match=None, actor="x"))
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(8))) == 1
    assert experiments.get(shared_database, key).version == 2


def test_positions_follow_the_specification(shared_database: Database, key: str) -> None:
    """Arms are listed as the specification orders them."""
    put(shared_database, key, with_arms(flag("x", 1), flag("y", 2), flag("z", 3)))
    put(shared_database, key, with_arms(flag("z", 3), flag("x", 1), flag("y", 2)))
    assert list(arms(shared_database, key)) == ["z", "x", "y"]


# --- states ---------------------------------------------------------------------------------------------------------

STATES: tuple[State, ...] = get_args(State)
ACTIONS: tuple[Action, ...] = get_args(Action)
LEADS_TO: dict[tuple[State, Action], State] = {
    ("draft", "start"): "running",
    ("draft", "stop"): "stopped",
    ("running", "start"): "running",
    ("running", "pause"): "paused",
    ("running", "resume"): "running",
    ("running", "stop"): "stopped",
    ("paused", "pause"): "paused",
    ("paused", "resume"): "running",
    ("paused", "stop"): "stopped",
    ("stopped", "stop"): "stopped",
}


@pytest.mark.parametrize(("state", "action"), list(itertools.product(STATES, ACTIONS)))
def test_every_action_in_every_state(shared_database: Database, key: str, state: State, action: Action) -> None:
    """What is allowed leads where it should, once, audited; the same again changes nothing; the rest conflicts."""
    before = put(shared_database, key, TWO, state=state)
    reached = LEADS_TO.get((state, action))
    if reached is None:
        with pytest.raises(Conflict, match=f"{action}.*{state}"):
            experiments.change_state(shared_database, key, action, actor="ann")
        assert experiments.get(shared_database, key) == before
    else:
        after = experiments.change_state(shared_database, key, action, actor="ann")
        assert experiments.change_state(shared_database, key, action, actor="ann") == after
        assert (after.state, after.version) == (reached, 1 + (reached != state))
        assert (after.epoch, after.allocation) == (1, 1)
    changes = [(e["actor"], e["action"], e["before"], e["after"]) for e in trail(shared_database, key)[1:]]
    changed = reached is not None and reached != state
    assert changes == ([("ann", action, state, reached)] if changed else [])


def test_of_actions_at_once_each_is_audited_once(shared_database: Database, key: str) -> None:
    """Ten who press pause together pause once."""
    put(shared_database, key, TWO)
    with ThreadPoolExecutor(5) as pool:
        act = lambda _: experiments.change_state(shared_database, key, "pause", actor="x")  # noqa: E731
        assert {experiment.version for experiment in pool.map(act, range(10))} == {2}
    assert [entry["action"] for entry in trail(shared_database, key)] == ["create", "pause"]


def test_payload_is_the_default_recommender() -> None:
    """The minimal experiment of api.md is valid: arms that are nothing but keys."""
    spec = msgspec.json.decode(b'{"arms": [{"key": "a"}, {"key": "b"}]}', type=Specification)
    assert [arm.recommender for arm in spec.arms] == [Payload(), Payload()]


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        (replace(TWO, reward=replace(EXPLICIT, aggregation="max")), "#/reward/aggregation"),
        (replace(TWO, metrics=(Metric(key="revenue", aggregation="max"),)), "#/metrics"),
    ],
)
def test_a_metric_keeps_its_aggregation(database: Database, changed: Specification, pointer: str) -> None:
    """An outcome must stay the fold of its events, so another aggregation needs another metric key."""
    put(database, "home", replace(TWO, metrics=(Metric(key="revenue", aggregation="sum"),)))
    with pytest.raises(InvalidInput) as refused:
        put(database, "home", changed)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_a_metric_that_was_away_keeps_its_aggregation(shared_database: Database, key: str) -> None:
    """Declared again under its old key it must be folded as before; its outcomes of then are still there."""
    revenue = Metric(key="revenue", aggregation="sum")
    put(shared_database, key, with_arms(metrics=(revenue,)))
    put(shared_database, key, with_arms(flag("a", 9), flag("b", 2)))
    with pytest.raises(InvalidInput) as caught:
        put(shared_database, key, with_arms(metrics=(replace(revenue, aggregation="max"),)))
    assert [fault.pointer for fault in caught.value.faults] == ["#/metrics"]
    assert put(shared_database, key, with_arms(metrics=(revenue,))).version == 3


def test_each_epoch_keeps_what_its_feedback_is_judged_by(shared_database: Database, key: str) -> None:
    """A contract has the reward of its epoch, and every metric that was declared during it."""
    one, two = (Metric(key=metric, aggregation="sum") for metric in ("one", "two"))
    put(shared_database, key, with_arms(metrics=(one,)))
    put(shared_database, key, with_arms(metrics=(two,)))
    put(shared_database, key, with_arms(metrics=(two,), reward=replace(EXPLICIT, window_s=7.0)))
    with shared_database.transaction() as connection:
        found = contracts.of_experiment(connection, key)
    assert {epoch: (contract.reward.window_s, set(contract.metrics)) for epoch, contract in found.items()} == {
        1: (1800.0, {"click", "one", "two"}),
        2: (7.0, {"click", "two"}),
    }


def test_another_kind_of_exposure_lets_every_arm_learn_afresh(shared_database: Database, key: str) -> None:
    """Rates among those who saw something and among those who may have are not comparable."""
    put(shared_database, key, TWO)
    changed = put(shared_database, key, with_arms(exposure="confirmed"))
    assert changed.epoch == 2
    assert [arm.since_epoch for arm in arms(shared_database, key).values()] == [2, 2]
