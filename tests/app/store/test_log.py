"""The log as it is read: the newest decisions that count, in slices of time."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.store.database import Database
from app.store.log import LoggedRows, Question, newest, stream, stream_counted
from app.store.partitions import make_partitions
from tests.app.building import decision, now, put, record

HOUR = timedelta(hours=1)


def question(at: datetime, **parts: Any) -> Question:
    """All of experiment `home`, everything mature."""
    usual: dict[str, Any] = {
        "experiment": "home",
        "metric": "click",
        "default": 0.0,
        "epoch": 1,
        "mature_bucket": at,
        "until": at,
    }
    return Question(**usual | {"since": at - timedelta(days=3)} | parts)


def read(database: Database, asked: Question, *, most: int = 1000, patience_s: float = 60) -> LoggedRows:
    """What is found."""
    with database.transaction(snapshot=True) as connection:
        return newest(connection, asked, ["a", "b"], most=most, patience_s=patience_s)


@pytest.fixture
def at(database: Database) -> datetime:
    """The moment of a log with 30 decisions, the i-th with propensity (i + 1)/100, two hours apart."""
    moment = now()
    with database.transaction() as connection:
        make_partitions(connection, moment - timedelta(days=2))
    put(database, "home")
    rows = [
        decision(
            arm="ab"[number % 2],
            propensity=(number + 1) / 100,
            decided_at=moment - 2 * HOUR * (30 - number),
            bucket=moment - 2 * HOUR * (30 - number),
        )
        for number in range(30)
    ]
    record(database, rows)
    return moment


def test_rows_come_in_the_order_of_time(database: Database, at: datetime) -> None:
    """However many slices they are read in; each number as it is stored."""
    found = read(database, question(at))
    assert found.propensity.tolist() == [(number + 1) / 100 for number in range(30)]
    assert found.action.tolist() == [number % 2 for number in range(30)]
    assert found.reward.tolist() == [0] * 30
    assert (found.oldest, found.cut) == (at - 60 * HOUR, False)
    with database.transaction() as connection:
        counted = [row for piece in stream_counted(connection, question(at)) for row in piece]
        assert [row["propensity"] for row in counted] == found.propensity.tolist()


def test_a_stream_comes_in_pieces(database: Database, at: datetime) -> None:
    """So that memory holds one piece of a log of any length."""
    with database.transaction() as connection:
        assert [len(piece) for piece in stream(connection, question(at), size=7)] == [7, 7, 7, 7, 2]
        assert [len(piece) for piece in stream_counted(connection, question(at), size=20)] == [20, 10]


@pytest.mark.parametrize("most", [1, 7, 29])
def test_the_newest_are_kept(database: Database, at: datetime, most: int) -> None:
    """More are not read, and the answer says so; what was read begins with its oldest."""
    found = read(database, question(at), most=most)
    assert found.propensity.tolist() == [(number + 1) / 100 for number in range(30 - most, 30)]
    assert (found.oldest, found.cut) == (at - 2 * HOUR * most, True)


def test_reading_ends_when_its_time_is_up(database: Database, at: datetime) -> None:
    """What was found by then is the answer, and says that it is cut."""
    found = read(database, question(at), patience_s=0)
    assert (found.action.size, found.oldest, found.cut) == (0, None, True)


def test_only_what_was_asked_for_counts(database: Database, at: datetime) -> None:
    """Moments, epochs, maturity, silence, and what the policy learns from."""
    assert read(database, question(at, since=at - 20 * HOUR)).action.size == 10
    assert read(database, question(at, until=at - 20 * HOUR)).action.size == 20
    assert read(database, question(at, mature_bucket=at - 20 * HOUR)).action.size == 21
    assert read(database, question(at, epoch=2)).action.size == 0
    assert read(database, question(at, default=None)).action.size == 0
    assert read(database, question(at, default=-1.5)).reward.tolist() == [-1.5] * 30
    unlearned = decision(learnable=False, decided_at=at - HOUR, bucket=at - HOUR)
    unconfirmed = decision(awaits_confirmation=True, decided_at=at - HOUR, bucket=at - HOUR)
    elsewhere = decision("other", decided_at=at - HOUR, bucket=at - HOUR)
    record(database, [unlearned, unconfirmed, elsewhere])
    assert read(database, question(at)).action.size == 30
