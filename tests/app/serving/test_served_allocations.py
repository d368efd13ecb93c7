"""What a web worker holds in memory: found on demand, refreshed, and kept when the database is away."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from app import learner
from app.errors import NotFound, Unavailable
from app.recommenders import Popular, Query, RecommenderFailed, Static
from app.serving import allocations as served_allocations
from app.serving.allocations import Allocations, Served
from app.specification import Arm, Specification
from app.store import items, partitions
from app.store.database import Database
from app.store.items import ItemRow
from tests.app.building import EAGER, EXPLICIT, decision, execute, matched, now, put, record, specification, write


@pytest.fixture
def allocations(shared_database: Database) -> Allocations:
    """A worker that has just started."""
    return Allocations(shared_database)


@pytest.fixture
def absent() -> Iterator[Database]:
    """A database that does not answer."""
    database = Database("postgresql://user@/name?host=/nowhere")
    yield database
    database.close()


def test_an_unknown_experiment_is_not_found(allocations: Allocations) -> None:
    """The message says how to make one."""
    with pytest.raises(NotFound, match=r"'nothing'.*PUT /v1/experiments/nothing"):
        allocations.find("nothing")


def test_an_experiment_is_found_without_a_refresh(
    shared_database: Database, key: str, allocations: Allocations
) -> None:
    """One that another worker has just made is looked up when it is first asked for."""
    allocations.refresh()
    put(shared_database, key)
    served = allocations.find(key)
    assert (served.key, served.number, served.version, served.epoch) == (key, 1, 1, 1)
    assert served.specification == specification()


def test_a_refresh_brings_new_experiments_versions_and_allocations(
    shared_database: Database, key: str, allocations: Allocations
) -> None:
    """Whatever changed in the database is served after a refresh, and nothing before it."""
    put(shared_database, key, specification(policy=EAGER, reward=EXPLICIT))
    allocations.refresh()
    rows = [decision(key, arm=arm) for arm in "ab" for _ in range(20)]
    record(shared_database, rows)
    write(shared_database, [matched(row) for row in rows[:20]])
    assert learner.learn_once(shared_database, key, now() + learner._REST)
    assert allocations.find(key).number == 1
    allocations.refresh()
    learned = allocations.find(key)
    assert learned.number == 2
    assert learned.probabilities[0] > 0.9
    put(shared_database, key, specification("a", "b", "c", policy=EAGER, reward=EXPLICIT))
    allocations.refresh()
    assert (allocations.find(key).version, allocations.find(key).number) == (2, 3)
    assert len(allocations.find(key).probabilities) == 3


def test_a_reload_serves_a_change_at_once(shared_database: Database, key: str, allocations: Allocations) -> None:
    """The worker that made a change need not wait for its refresh."""
    put(shared_database, key)
    allocations.find(key)
    put(shared_database, key, specification("x", "y"))
    allocations.reload(key)
    assert allocations.find(key).specification.arm_keys == ("x", "y")


def test_without_the_database_the_last_state_is_served(
    shared_database: Database, key: str, allocations: Allocations, absent: Database
) -> None:
    """A refresh that fails changes nothing; only experiments never heard of are unavailable."""
    put(shared_database, key)
    allocations.refresh()
    before, refreshed_at = allocations.find(key), allocations.refreshed_at
    allocations._database = absent
    with pytest.raises(Unavailable):
        allocations.refresh()
    assert allocations.find(key) is before
    assert allocations.refreshed_at == refreshed_at
    with pytest.raises(Unavailable):
        allocations.find("never-heard-of")


def test_a_worker_knows_how_fresh_it_is(allocations: Allocations) -> None:
    """Before the first refresh it says so; afterwards it knows when, and the first day of partitions."""
    assert (allocations.refreshed_at, allocations.oldest_day) == (None, None)
    allocations.refresh()
    assert allocations.refreshed_at is not None
    assert time.monotonic() - allocations.refreshed_at < 5
    assert allocations.oldest_day is not None
    assert allocations.oldest_day < now()


def test_the_first_day_is_looked_for_once_a_minute(allocations: Allocations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until there is one at every refresh; it changes once a day."""
    found = iter([None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)])
    monkeypatch.setattr(partitions, "oldest_day", lambda _: next(found))
    days = []
    for _ in range(4):
        allocations.refresh()
        days.append(allocations.oldest_day and allocations.oldest_day.day)
    assert days == [None, 1, 1, 1]
    monkeypatch.setattr(served_allocations, "_OLDEST_DAY_RESTS_S", 0.0)
    allocations.refresh()
    assert allocations.oldest_day == datetime(2026, 1, 2, tzinfo=UTC)


def test_what_did_not_change_is_not_loaded_again(shared_database: Database, key: str, allocations: Allocations) -> None:
    """A refresh without news leaves the very objects in place."""
    put(shared_database, key)
    allocations.refresh()
    before = allocations.find(key)
    allocations.refresh()
    assert allocations.find(key) is before


def test_an_experiment_that_cannot_be_served_does_not_hold_up_the_others(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """While versions are being exchanged, one may be of a kind that only newer workers know: it is logged, once."""
    for name in ("a", "newer", "z"):
        put(database, name)
    old = Allocations(database)
    old.refresh()
    unknown = """UPDATE experiments SET version = version + 1,
        specification = jsonb_set(specification, '{arms,0,recommender,kind}', '"not yet known"') WHERE key = 'newer'"""
    execute(database, unknown)
    for name in ("a", "z"):
        put(database, name, specification("x", "y", "z"))
    for worker in (old, Allocations(database)):
        caplog.clear()
        for _ in range(3):
            worker.refresh()
        assert [len(worker.find(name).arms) for name in ("a", "z")] == [3, 3]
        assert [record.__dict__["experiment"] for record in caplog.records] == ["newer"]
    assert old.find("newer").version == 1
    put(database, "a")
    old.refresh()
    assert len(old.find("a").arms) == 2


def test_refreshes_and_reloads_at_once_end_with_the_newest(
    shared_database: Database, key: str, allocations: Allocations
) -> None:
    """A slow load cannot undo a later one: after changes and refreshes in parallel the newest version is served."""
    put(shared_database, key)
    with ThreadPoolExecutor(4) as pool:
        for n in range(12):
            version = put(shared_database, key, specification("a", f"b{n}")).version
            list(pool.map(lambda act: act(), [allocations.refresh, lambda: allocations.reload(key)] * 2))
            assert allocations.find(key).version == version


def recommended(served: Served) -> list[str]:
    """What the first arm recommends."""
    asked = Query(unit="u", context={}, k=5, seed=1)
    return [item.item_id for item in served.answerers[0](asked).items]


def test_the_catalogue_and_rewards_reach_recommenders(shared_database: Database, key: str) -> None:
    """Items put into the catalogue, and rewards that came for them, order what `popular` answers."""
    arms = (Arm(key="a", recommender=Popular()), Arm(key="b", recommender=Static(items=("1",))))
    put(shared_database, key, Specification(arms=arms))
    allocations = Allocations(shared_database)
    allocations.refresh()
    with pytest.raises(RecommenderFailed):
        recommended(allocations.find(key))
    with shared_database.transaction() as connection:
        rows = [ItemRow(item_id=i, title=None, category=None, features=None, popularity=0) for i in ("i1", "i2")]
        items.upsert(connection, rows)
    row = decision(key)
    record(shared_database, [row])
    write(shared_database, [matched(row, item_id="i2")])
    allocations.refresh()
    assert recommended(allocations.find(key))[0] == "i2"
