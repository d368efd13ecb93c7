"""The learner: new allocations when there is something to learn, numbered one after another, by one at a time."""

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from app import experiments, learner
from app.specification import Reward, Specification
from app.store import allocations
from app.store.allocations import AllocationRecord
from app.store.database import Database
from bandits.thompson import ThompsonSampling
from monitoring.meter import Meter
from tests.app.building import (
    EAGER,
    EXPLICIT,
    bucket_of,
    decision,
    execute,
    flag,
    matched,
    now,
    put,
    query,
    record,
    specification,
    write,
)
from tests.running import until

LEARNS = specification(policy=EAGER, reward=EXPLICIT)
SECOND = timedelta(seconds=1)


def history(database: Database, key: str) -> list[AllocationRecord]:
    """All allocations of an experiment, oldest first."""
    with database.transaction() as connection:
        return allocations.history(connection, key, since=None, before=None, limit=1000)[::-1]


def reward(database: Database, key: str, *, arm: str = "a", times: int = 1, value: float = 1.0, epoch: int = 1) -> None:
    """Decisions for an arm, and their rewards."""
    rows = [decision(key, arm=arm, epoch=epoch) for _ in range(times)]
    record(database, rows)
    write(database, [matched(row, value) for row in rows])


def learn(database: Database, key: str, *, later: timedelta = 2 * SECOND) -> bool:
    """One look at the experiment, a little later than now."""
    return learner.learn_once(database, key, now() + later)


def test_without_news_nothing_is_learned(shared_database: Database, key: str) -> None:
    """However often the learner looks, an experiment without new outcomes keeps its allocation."""
    put(shared_database, key, LEARNS)
    assert not any(learn(shared_database, key) for _ in range(3))
    reward(shared_database, key)
    assert learn(shared_database, key)
    assert not any(learn(shared_database, key) for _ in range(3))
    assert [a.number for a in history(shared_database, key)] == [1, 2]


def test_allocations_are_numbered_one_after_another(shared_database: Database, key: str) -> None:
    """Each new outcome leads to the next number, with the evidence it was made from and the moment of the data."""
    put(shared_database, key, LEARNS)
    for total in range(1, 5):
        reward(shared_database, key)
        moment = now() + total * 2 * SECOND
        assert learner.learn_once(shared_database, key, moment)
        latest = history(shared_database, key)[-1]
        assert (latest.number, latest.data_as_of, latest.reason) == (total + 1, moment, "learned")
        assert latest.evidence["a"] == {"mature": total, "n": total, "sum": total, "sum_of_squares": total}
        assert latest.posterior["a"] == {"alpha": 1 + total, "beta": 1}
    shares = [a.probabilities["a"] for a in history(shared_database, key)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.5)
    assert shares[-1] > shares[0]


@pytest.mark.parametrize(
    ("parts", "values", "posterior"),
    [
        (
            {"model": "gaussian", "aggregation": "sum"},
            [12.5, -2.5, 20.0],
            {
                "mean": pytest.approx(30 / 3.01),
                "strength": 3.01,
                "shape": 3.5,
                "rate": pytest.approx(1 + 131.25 + 1.5 / 3.01),
            },
        ),
        ({"model": "poisson", "aggregation": "sum"}, [4.0, 0.0, 2.0], {"shape": 7, "rate": 4}),
        ({"model": "bounded", "bounds": (0, 5), "aggregation": "last"}, [5.0, 4.0, 3.5], {"alpha": 3.5, "beta": 1.5}),
    ],
    ids=lambda value: value["model"] if isinstance(value, dict) and "model" in value else "",
)
def test_each_kind_of_reward_is_learned(
    shared_database: Database, key: str, parts: dict[str, Any], values: list[float], posterior: dict[str, float]
) -> None:
    """Numbers, counts and ratings move the allocation towards the arm that has them, with their own posterior."""
    put(shared_database, key, specification(policy=EAGER, reward=Reward(missing="explicit", **parts)))
    rows = [decision(key) for _ in values]
    record(shared_database, rows)
    aggregation = parts["aggregation"]
    write(shared_database, [matched(row, v, aggregation=aggregation) for row, v in zip(rows, values, strict=True)])
    assert learn(shared_database, key)
    latest = history(shared_database, key)[-1]
    assert latest.posterior["a"] == posterior
    assert latest.probabilities["a"] > 0.5


def test_rewards_of_a_metric_that_is_not_the_reward_are_no_news(shared_database: Database, key: str) -> None:
    """The policy learns from the reward metric alone."""
    put(shared_database, key, LEARNS)
    row = decision(key)
    record(shared_database, [row])
    write(shared_database, [matched(row, 3.0, metric="revenue", aggregation="sum")])
    assert not learn(shared_database, key)


def test_decisions_that_are_not_learnable_are_no_news(shared_database: Database, key: str) -> None:
    """Fallbacks, holdout and pauses teach nothing, with or without feedback."""
    put(shared_database, key, specification(policy=EAGER, reward=Reward(window_s=1)))
    old = now() - timedelta(hours=1)
    rows = [decision(key, learnable=False, reason="holdout", decided_at=old, bucket=bucket_of(old))]
    record(shared_database, rows)
    write(shared_database, [matched(row) for row in rows])
    assert not learn(shared_database, key)


def test_warm_up_ends_when_every_arm_has_its_exposures(shared_database: Database, key: str) -> None:
    """Until the slower of two arms has its mature exposures both have a half, for the reason warm_up; then learned."""
    put(shared_database, key, specification(policy=type(EAGER)(warm_up=3), reward=EXPLICIT))
    reward(shared_database, key, arm="a", times=5)
    reward(shared_database, key, arm="b", times=2, value=0.0)
    assert learn(shared_database, key)
    reward(shared_database, key, arm="b", value=0.0)
    assert learn(shared_database, key)
    put(shared_database, key, specification(policy=type(EAGER)(warm_up=3, min_propensity=0.02), reward=EXPLICIT))
    first, warming, learned, changed = history(shared_database, key)
    assert [a.reason for a in (first, warming, learned, changed)] == ["warm_up", "warm_up", "learned", "config"]
    assert warming.probabilities == {"a": 0.5, "b": 0.5}
    assert learned.probabilities["a"] > 0.9


def test_an_added_arm_warms_up_while_the_others_keep_their_proportions(shared_database: Database, key: str) -> None:
    """What was learned about two arms goes on when a third joins: it has a third of the decisions, until it is warm."""
    policy = ThompsonSampling(warm_up=3, min_propensity=0)
    put(shared_database, key, specification(policy=policy, reward=EXPLICIT))
    reward(shared_database, key, arm="a", times=5)
    reward(shared_database, key, arm="b", times=3, value=0.0)
    assert learn(shared_database, key)
    put(shared_database, key, specification("a", "b", "c", policy=policy, reward=EXPLICIT))
    reward(shared_database, key, arm="c", times=3, epoch=2)
    assert learn(shared_database, key)
    _, learned, added, warm = history(shared_database, key)
    assert [a.reason for a in (learned, added, warm)] == ["learned", "warm_up", "learned"]
    assert added.probabilities["c"] == 1 / 3
    for arm in ("a", "b"):
        assert added.probabilities[arm] == pytest.approx(learned.probabilities[arm] * 2 / 3, rel=1e-12)
    assert warm.probabilities["c"] > 1 / 3


def test_silence_is_learned_once_it_is_mature(shared_database: Database, key: str) -> None:
    """With `missing: default` an exposure without feedback is news when its window has passed, and not before."""
    put(shared_database, key, specification(policy=EAGER, reward=Reward(window_s=60)))
    row = decision(key, bucket=bucket_of(now(), 5))
    record(shared_database, [row])
    mature_at = row.bucket + timedelta(seconds=65)
    assert not learner.learn_once(shared_database, key, row.decided_at + timedelta(seconds=59.9))
    assert learner.learn_once(shared_database, key, mature_at)
    assert history(shared_database, key)[-1].evidence["a"] == {"mature": 1, "n": 1, "sum": 0, "sum_of_squares": 0}
    write(shared_database, [matched(row)])
    assert learner.learn_once(shared_database, key, mature_at + 2 * SECOND)
    assert history(shared_database, key)[-1].evidence["a"] == {"mature": 1, "n": 1, "sum": 1, "sum_of_squares": 1}


def test_it_rests_between_two_allocations(shared_database: Database, key: str) -> None:
    """However fast outcomes come, an experiment is not given more than about an allocation a second."""
    put(shared_database, key, LEARNS)
    reward(shared_database, key)
    created_at = history(shared_database, key)[-1].created_at
    assert not learner.learn_once(shared_database, key, created_at + 0.9 * SECOND)
    assert learner.learn_once(shared_database, key, created_at + 1.1 * SECOND)


def test_paused_experiments_learn_and_others_do_not(database: Database) -> None:
    """Feedback of a paused experiment still comes; a draft and a stopped one are left alone."""
    keys = ["draft", "running", "paused", "stopped"]
    for key in keys:
        put(database, key, LEARNS, state=key)  # type: ignore[arg-type]
        reward(database, key)
    execute(database, "UPDATE allocations SET created_at = created_at - interval '1 minute'")
    assert learner.learn_pass(database) == 2
    assert {key: len(history(database, key)) for key in keys} == {"draft": 1, "running": 2, "paused": 2, "stopped": 1}


def test_an_experiment_that_does_not_exist_teaches_nothing(shared_database: Database) -> None:
    """One that is gone between listing and looking is passed over."""
    assert not learner.learn_once(shared_database, "nothing", now())


def test_one_broken_experiment_does_not_stop_the_others(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """A fault in one is logged with its key, and the pass goes on."""
    for key in ("broken", "sound"):
        put(database, key, LEARNS)
        reward(database, key)
    execute(database, "UPDATE allocations SET created_at = created_at - interval '1 minute'")
    execute(database, "UPDATE arm_statistics SET n = 0 WHERE experiment = 'broken'")
    with caplog.at_level(logging.ERROR):
        assert learner.learn_pass(database) == 1
    assert [r.__dict__["experiment"] for r in caplog.records] == ["broken"]
    assert len(history(database, "sound")) == 2


def test_two_learners_at_once_make_one_allocation(shared_database: Database, key: str) -> None:
    """Learners that look at the same news together publish it once: numbers follow each other, nothing is repeated."""
    put(shared_database, key, LEARNS)
    for n in range(1, 6):
        reward(shared_database, key)
        moment = now() + 2 * n * SECOND
        barrier = threading.Barrier(4)

        def look(_: int, moment: datetime = moment, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return learner.learn_once(shared_database, key, moment)

        with ThreadPoolExecutor(4) as pool:
            made = sum(pool.map(look, range(4)))
        assert made == 1
    assert [a.number for a in history(shared_database, key)] == [1, 2, 3, 4, 5, 6]


def test_learning_and_configuring_at_once_keep_numbers_in_order(shared_database: Database, key: str) -> None:
    """Every allocation is of the version that was in force when it was published, whoever publishes meanwhile."""
    put(shared_database, key, LEARNS)

    def configure() -> None:
        for n in range(15):
            spec = Specification(arms=(flag("a", n), flag("b", 0)), policy=EAGER, reward=EXPLICIT)
            put(shared_database, key, spec)

    def learn_often() -> None:
        for n in range(30):
            reward(shared_database, key, arm="b")
            learner.learn_once(shared_database, key, now() + 2 * n * SECOND)

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(configure), pool.submit(learn_often), pool.submit(learn_often)]:
            future.result()
    made = history(shared_database, key)
    assert [a.number for a in made] == list(range(1, len(made) + 1))
    assert [a.version for a in made] == sorted(a.version for a in made)
    assert experiments.get(shared_database, key).allocation == len(made)


@contextmanager
def learners(*databases: Database) -> Iterator[list[threading.Event]]:
    """A running learner for each database; the events stop them."""
    stops = [threading.Event() for _ in databases]
    threads = [
        threading.Thread(
            target=learner.run,
            args=(database,),
            kwargs={"interval_s": 0.03, "stop": stop, "meter": Meter(enabled=False)},
        )
        for database, stop in zip(databases, stops, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield stops
    finally:
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join()


HOLDERS = """
SELECT a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database()
"""


def named(database: Database, name: str) -> Database:
    """The same database by another application name."""
    return Database(database.engine.url.render_as_string(hide_password=False), name=name)


def test_of_two_learners_one_is_active_and_the_other_takes_over(database: Database) -> None:
    """The second works only when the first has stopped, or has lost its connection; numbers follow each other."""
    put(database, "home", LEARNS)
    first, second = named(database, "first"), named(database, "second")
    with learners(first) as stops:
        until(lambda: query(database, HOLDERS), "the first learner")
        with learners(second):
            reward(database, "home")
            until(lambda: len(history(database, "home")) == 2, "an allocation", 5)
            ((name, pid),) = query(database, HOLDERS)
            assert name == "first"
            # The first loses its connection: one of the two takes over, and there is still only one.
            query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
            until(lambda: [h for h in query(database, HOLDERS) if h[1] != pid], "a successor", 5)
            assert len(query(database, HOLDERS)) == 1
            stops[0].set()
            until(lambda: [name for name, _ in query(database, HOLDERS)] == ["second"], "the second learner", 5)
            reward(database, "home")
            until(lambda: len(history(database, "home")) == 3, "another allocation", 5)
    assert [a.number for a in history(database, "home")] == [1, 2, 3]
    until(lambda: not query(database, HOLDERS), "the lock to be free", 5)
    first.close()
    second.close()


def steady(database: Database, key: str) -> None:
    """An experiment that has learned so much that one outcome more moves nothing by a thousandth."""
    put(database, key, LEARNS)
    for arm, value in (("a", 1.0), ("b", 0.0)):
        reward(database, key, arm=arm, times=300, value=value)
    assert learn(database, key)


def passes(
    database: Database, key: str, *, count: int, every: timedelta, values: Sequence[float] = (1.0,), times: int = 1
) -> list[bool]:
    """Whether each of so many looks, each with so many new outcomes, made an allocation."""
    # Allocations are dated by the database; here they are by the test.
    date = """UPDATE allocations SET created_at = :at
        WHERE experiment = :key AND number = (SELECT allocation FROM experiments WHERE key = :key)"""
    start = now() + 10 * SECOND
    made = []
    for number in range(count):
        reward(database, key, times=times, value=values[number % len(values)])
        moment = start + number * every
        made.append(learner.learn_once(database, key, moment))
        if made[-1]:
            execute(database, date, at=moment, key=key)
    return made


def test_what_matters_is_never_held_up(shared_database: Database, key: str) -> None:
    """However many allocations there were lately, evidence that moves a probability makes the next one at once."""
    put(shared_database, key, LEARNS)
    assert all(passes(shared_database, key, count=learner._MANY + 20, every=SECOND, values=(0.0, 1.0), times=5))


def test_what_changes_next_to_nothing_is_learned_until_there_was_much_of_it(
    shared_database: Database, key: str
) -> None:
    """The first of many small changes make an allocation each; then only one in ten seconds does."""
    steady(shared_database, key)
    made = passes(shared_database, key, count=learner._MANY + 40, every=SECOND)
    assert all(made[: learner._MANY - 1])
    rest = int(learner._LATELY / learner._MANY / SECOND)
    late = made[learner._MANY + rest :]
    assert sum(late) == pytest.approx(len(late) / rest, abs=1)


def test_a_quiet_experiment_learns_from_every_outcome(shared_database: Database, key: str) -> None:
    """Outcomes that come seldom are never held up, however little they change."""
    steady(shared_database, key)
    every = learner._LATELY / learner._MANY + SECOND
    assert all(passes(shared_database, key, count=learner._MANY + 10, every=every))


def test_the_last_small_change_is_learned_in_the_end(shared_database: Database, key: str) -> None:
    """What was held up is part of the next allocation: nothing that was observed stays unlearned."""
    steady(shared_database, key)
    passes(shared_database, key, count=learner._MANY + 15, every=SECOND)
    later = now() + 2 * learner._LATELY
    learner.learn_once(shared_database, key, later)
    evidence = history(shared_database, key)[-1].evidence
    assert evidence["a"]["n"] == 300 + learner._MANY + 15
    assert not learner.learn_once(shared_database, key, later + learner._LATELY)
