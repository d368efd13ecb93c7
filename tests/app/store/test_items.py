"""The catalogue, and the rewards of its items that grow old."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.store.database import Database
from app.store.items import ItemRow, catalogue_version, decayed_rewards, every, upsert
from tests.app.building import decision, matched, now, record, write

HOUR = timedelta(hours=1)


def item(item_id: str, **columns: Any) -> ItemRow:
    """An item of which nothing is known but its id."""
    unknown = {"title": None, "category": None, "features": None, "popularity": 0.0}
    return ItemRow(item_id=item_id, **{**unknown, **columns})


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
    assert (kept["a"].title, kept["a"].category, list(kept["a"].features or ())) == ("", "x", [1.0, 0.5])
    assert (kept["b"].title, kept["b"].popularity, list(kept["b"].features or ())) == ("B2", 0.0, [3.0, 4.0])


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
