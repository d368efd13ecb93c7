"""How long statements take, as a metric with few label sets."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.serving.watching import LogWatch
from app.store import experiments
from app.store.database import Database
from app.store.timing import operation_of
from monitoring.instruments import DATABASE_OPERATION
from monitoring.meter import Meter, Series


def noted(meter: Meter) -> dict[tuple[str, ...], int]:
    """How many statements there were, by labels."""
    found: list[Series] = []
    meter.read(found.extend)
    return {series.labels: sum(series.counts) for series in found if series.instrument is DATABASE_OPERATION}


@pytest.mark.parametrize(
    ("statement", "operation", "collection"),
    [
        ("SELECT * FROM experiments WHERE key = 'a'", "SELECT", "experiments"),
        ("select 1", "SELECT", ""),
        ("\nWITH x AS (INSERT INTO feedback SELECT * FROM decisions) SELECT 1", "INSERT", "feedback"),
        ("UPDATE avatars SET asked_at = now() WHERE key IN (SELECT key FROM avatars)", "UPDATE", "avatars"),
        ("DELETE FROM decisions_20261124 WHERE true", "DELETE", ""),
        ("ANALYZE made_up_by_somebody", "_OTHER", ""),
    ],
)
def test_a_statement_has_one_operation_and_one_of_our_tables(statement: str, operation: str, collection: str) -> None:
    """Whatever it holds: words that are not known make no label."""
    assert operation_of(statement) == (operation, collection)


def test_statements_of_the_pool_are_noted_with_their_errors(shared_database: Database) -> None:
    """Each once; one that fails with the code of its error."""
    meter = Meter()
    url = shared_database.engine.url.render_as_string(hide_password=False).replace("+psycopg2", "")
    database = Database(url, meter=meter)
    with database.transaction() as connection:
        experiments.all_of(connection)
        experiments.all_of(connection)
    with pytest.raises(DBAPIError), database.transaction() as connection:
        connection.execute(sa.text("SELECT 1 / 0 FROM items RIGHT JOIN (SELECT 1) one ON true"))
    database.close()
    found = {labels: count for labels, count in noted(meter).items() if labels[2]}
    assert found == {
        ("postgresql", "SELECT", "experiments", ""): 2,
        ("postgresql", "SELECT", "items", "22012"): 1,
    }


def test_a_group_commit_is_one_operation() -> None:
    """However many rows it has."""
    meter = Meter()
    LogWatch(meter, "decision").batch(500, "committed", 0.01)
    LogWatch(meter, "exposure").batch(1, "failed", 0.01)
    assert noted(meter) == {
        ("postgresql", "INSERT", "decisions", ""): 1,
        ("postgresql", "INSERT", "exposures", "_OTHER"): 1,
    }
