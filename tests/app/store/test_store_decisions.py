"""Decisions at rest: written in batches that count themselves, and read by id."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ids import new_id
from app.store.database import Database, cursor_of
from app.store.decisions import DecisionRow, find, recorded
from tests.app.building import decision, disagreements, now, query, record

COUNTS = """
SELECT arm, sum(decisions)::int, sum(exposures)::int, sum(fallbacks)::int
FROM decision_counts WHERE experiment = :experiment GROUP BY arm ORDER BY arm
"""


def counts(database: Database, experiment: str = "home") -> dict[str, tuple[int, ...]]:
    """Decisions, exposures and fallbacks by arm, summed over buckets and shards."""
    return {arm: tuple(figures) for arm, *figures in query(database, COUNTS, experiment=experiment)}


def test_a_batch_counts_decisions_exposures_and_fallbacks(database: Database) -> None:
    """Only learnable decisions are exposures, and only those that another arm or no arm answered are fallbacks."""
    record(
        database,
        [
            decision(),
            decision(),
            decision(learnable=False, reason="paused"),
            decision(served_arm="b", learnable=False, reason="fallback"),
            decision(served_arm=None, learnable=False, reason="fallback"),
            decision(arm="b"),
        ],
    )
    assert counts(database) == {"a": (5, 2, 2), "b": (1, 1, 0)}
    assert disagreements(database) == []


def test_decisions_are_counted_by_epoch_allocation_bucket_and_shard(database: Database) -> None:
    """Each combination has a row of its own, so that nothing that a later fold tells apart is mixed."""
    base = now().replace(second=0, microsecond=0)
    rows = [
        decision(),
        decision(epoch=2),
        decision(allocation=2),
        decision(bucket=base - timedelta(hours=1)),
        decision(experiment="other"),
    ]
    record(database, rows)
    record(database, [decision(bucket=rows[0].bucket)], shard=7)
    figures = query(database, "SELECT decisions, exposures FROM decision_counts")
    assert figures == [(1, 1)] * 6
    assert disagreements(database) == []


def test_a_retried_id_counts_nothing_and_the_first_row_stays(database: Database) -> None:
    """A second write of an id is not new, changes no count, and leaves the recorded row as it was."""
    first = decision()
    retried = decision(decision_id=first.decision_id, arm="b", experiment="other")
    fresh = decision(arm="b")
    assert record(database, [first]) == {first.decision_id}
    assert record(database, [retried, fresh]) == {fresh.decision_id}
    assert counts(database) == {"a": (1, 1, 0), "b": (1, 1, 0)}
    assert counts(database, "other") == {}
    with database.transaction() as connection:
        assert find(connection, first.decision_id) == first


def test_an_empty_batch_writes_nothing(database: Database) -> None:
    """No rows, no ids, no counts."""
    assert record(database, []) == set()
    assert counts(database) == {}


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
# Beyond 2^53 a number has several spellings in JSON, of which jsonb keeps one.
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(-(2.0**53), 2.0**53)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    context=st.dictionaries(TEXT, JSON, max_size=4),
    payload=JSON,
    items=st.lists(st.tuples(TEXT, st.none() | st.floats(allow_nan=False, allow_infinity=False)), max_size=4),
    propensity=st.floats(0, 1),
)
def test_what_was_written_is_what_is_read(
    database: Database,
    context: dict[str, Any],
    payload: object,
    items: list[tuple[str, float | None]],
    propensity: float,
) -> None:
    """Every column of a decision comes back as it was, to the last bit of the propensity."""
    row = decision(
        context=context,
        payload=payload,
        items=tuple(item for item, _ in items),
        scores=tuple(score for _, score in items),
        unit=str(context),
        propensity=propensity,
    )
    record(database, [row])
    with database.transaction() as connection:
        assert find(connection, row.decision_id) == row


def test_unknown_ids_are_left_out(database: Database) -> None:
    """Asking for several ids gives those that exist."""
    row, unknown = decision(), new_id()
    record(database, [row])
    with database.transaction() as connection:
        assert recorded(cursor_of(connection), [row.decision_id, unknown]) == {row.decision_id: row}
        assert find(connection, unknown) is None


def test_batches_that_share_ids_in_opposite_order_do_not_deadlock(database: Database) -> None:
    """Writers whose batches hold the same ids and counts, in any order, wait for each other and each id counts once."""
    shared = [decision(arm=arm) for arm in "abcdefgh" for _ in range(5)]
    rounds = [[decision(arm=row.arm, bucket=row.bucket) for row in shared] for _ in range(25)]

    def write(writer: int) -> int:
        batches = [batch if writer % 2 else batch[::-1] for batch in rounds]
        return sum(len(record(database, batch)) for batch in batches)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 25 * len(shared)
    assert counts(database) == dict.fromkeys("abcdefgh", (125, 125, 0))
    assert disagreements(database) == []


def test_a_batch_is_all_or_nothing(database: Database) -> None:
    """When one row of a batch cannot be written, none is, and nothing is counted."""
    rows: list[DecisionRow] = [decision(), decision(decision_id=UUID(int=7 << 76 | 2 << 62))]
    with pytest.raises(Exception, match="no partition"):
        record(database, rows)
    assert query(database, "SELECT count(*) FROM decisions") == [(0,)]
    assert counts(database) == {}
