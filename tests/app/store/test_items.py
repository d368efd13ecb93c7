"""The catalogue, and the rewards of its items that grow old."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.recommenders import CatalogueItem
from app.store.database import Database
from app.store.items import ItemRow, catalogue_version, decayed_rewards, delete, every, find, upsert
from tests.app.building import decision, matched, now, record, write

HOUR = timedelta(hours=1)


def item(item_id: str, **columns: Any) -> ItemRow:
    """An item of which nothing is known but its id."""
    unknown = {"title": None, "category": None, "features": None, "popularity": 0.0}
    return ItemRow(item_id=item_id, **{**unknown, **columns})


def features_of(kept: CatalogueItem) -> list[float] | None:
    """Its features as a list."""
    return None if kept.features is None else [float(number) for number in kept.features]


def test_items_are_inserted_and_replaced(database: Database) -> None:
    """What is sent last is what the catalogue holds, and each change counts its version up."""
    with database.transaction() as connection:
        start = catalogue_version(connection)
        first = [item("b", title="B", popularity=2.5), item("a", category="x", features=(1.0, 0.5))]
        assert upsert(connection, first) == start + 1
        assert upsert(connection, [item("b", title="B2", features=(3.0, 4.0))]) == start + 2
        assert catalogue_version(connection) == start + 2
        kept = {one.item_id: one for one in every(connection)}
    assert set(kept) == {"a", "b"}
    assert (kept["a"].title, kept["a"].category, features_of(kept["a"])) == ("", "x", [1.0, 0.5])
    assert (kept["b"].title, kept["b"].popularity, features_of(kept["b"])) == ("B2", 0.0, [3.0, 4.0])


def test_features_of_every_length_are_read(database: Database) -> None:
    """Items come with the numbers that were stored, in pieces or not; nulls in an array make it none."""
    stored = {f"{i:04}": [i / 8, -1e-30, 1e30] if i % 3 else [0.5] for i in range(1200)}
    rows = [item(item_id, features=tuple(numbers)) for item_id, numbers in stored.items()]
    with database.transaction() as connection:
        upsert(connection, [*rows, item("none"), item("empty", features=()), item("hole", features=(1.0,))])
        connection.execute(sa.text("UPDATE items SET features = '{1,NULL}' WHERE item_id = 'hole'"))
        kept = {one.item_id: features_of(one) for one in every(connection)}
    assert [kept.pop(special) for special in ("none", "empty", "hole")] == [None] * 3
    assert kept == {item_id: pytest.approx(numbers, rel=1e-6) for item_id, numbers in stored.items()}


def test_one_item_is_found_and_deleted(database: Database) -> None:
    """A deletion counts the catalogue's version up; a second one finds nothing and changes nothing."""
    with database.transaction() as connection:
        version = upsert(connection, [item("a", title="A", features=(1.0, 2.0)), item("b")])
        found = find(connection, "a")
        assert found is not None
        assert (found.title, list(found.features or ())) == ("A", [1.0, 2.0])
        assert delete(connection, "a") == version + 1
        assert (find(connection, "a"), delete(connection, "a")) == (None, None)
        assert catalogue_version(connection) == version + 1
        assert [one.item_id for one in every(connection)] == ["b"]


def test_rewards_of_items_decay_by_half_lives(shared_database: Database, key: str) -> None:
    """An hour's rewards count half after a half-life, a quarter after two, and not at all after fifty."""
    row = decision(key)
    record(shared_database, [row])
    hour = now().replace(minute=0, second=0, microsecond=0)
    sent = {"fresh": 0, "one": 1, "two": 2, "gone": 50}
    write(
        shared_database,
        [matched(row, item_id=i, event_id=i, occurred_at=hour - age * HOUR) for i, age in sent.items()],
    )
    with shared_database.transaction() as connection:
        decayed = decayed_rewards(connection, key, "click", half_life_s=3600, now=hour)
        assert decayed_rewards(connection, key, "other", half_life_s=3600, now=hour) == {}
        assert decayed_rewards(connection, "other", "click", half_life_s=3600, now=hour) == {}
    assert decayed == {"fresh": pytest.approx(1), "one": pytest.approx(0.5), "two": pytest.approx(0.25)}


def test_the_catalogue_has_one_version(shared_database: Database) -> None:
    """There cannot be a second row of it."""
    with pytest.raises(sa.exc.IntegrityError), shared_database.transaction() as connection:
        connection.execute(sa.text("INSERT INTO catalogue (id) VALUES (false)"))
