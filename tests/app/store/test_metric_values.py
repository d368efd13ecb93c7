"""Figures of closed windows are kept, replaced and read back."""

from datetime import UTC, datetime, timedelta

from app.store.database import Database
from app.store.metric_values import MetricValue, delete_old, last_window, put, read

MIDNIGHT = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def ndcg(day: int, value: float | None, arm: str = "") -> MetricValue:
    """An offline figure of a day."""
    start = MIDNIGHT + day * DAY
    return MetricValue(
        experiment="home", level="offline", window_start=start, window_s=86_400, metric="ndcg", k=10, arm=arm,
        value=value, n=3, detail={"skipped": 1},
    )  # fmt: skip


def test_metric_values_read_back_as_they_were_put(database: Database) -> None:
    """What is put is read, by time; a figure without a value too."""
    values = [ndcg(1, None, "a"), ndcg(0, 0.5, "a"), ndcg(0, 0.25)]
    with database.transaction() as connection:
        put(connection, values)
        assert read(connection, "home", since=MIDNIGHT, until=MIDNIGHT + 2 * DAY) == sorted(
            values, key=lambda value: (value.window_start, value.arm)
        )
        assert read(connection, "home", since=MIDNIGHT, until=MIDNIGHT + DAY, metrics=["map"]) == []
        assert read(connection, "home", since=MIDNIGHT, until=MIDNIGHT + DAY, levels=["online"]) == []
        assert read(connection, "away", since=MIDNIGHT, until=MIDNIGHT + DAY) == []


def test_metric_values_put_again_replace_those_of_their_window(database: Database) -> None:
    """Working a window out again changes its figures and adds none, however many there are."""
    with database.transaction() as connection:
        put(connection, [ndcg(day, 0.5) for day in range(1_500)])
        put(connection, [ndcg(0, 0.75)])
        found = read(connection, "home", since=MIDNIGHT, until=MIDNIGHT + 1_500 * DAY)
    assert len(found) == 1_500
    assert [found[0].value, found[1].value] == [0.75, 0.5]


def test_metric_values_say_where_they_end_and_forget_what_is_old(database: Database) -> None:
    """The newest window is known by level and width; old windows go."""
    with database.transaction() as connection:
        assert last_window(connection, "home", "offline", 86_400) is None
        put(connection, [ndcg(day, 0.5) for day in range(3)])
        assert last_window(connection, "home", "offline", 86_400) == MIDNIGHT + 2 * DAY
        assert last_window(connection, "home", "offline", 3_600) is None
        assert delete_old(connection, "home", MIDNIGHT + 2 * DAY) == 2
        assert len(read(connection, "home", since=MIDNIGHT, until=MIDNIGHT + 3 * DAY)) == 1
