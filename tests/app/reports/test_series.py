"""Figures of closed windows as charts and tables have them: by arm and day, by feature, by reason."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app import alerts, quarantine
from app.reports.data_series import (
    by_feature,
    drift_pass,
    limits_of,
    quality_figures,
    scores_over_time,
    shares_of_data,
)
from app.reports.figures import days_by_arm, newest_day
from app.reports.timeline import steps_of
from app.store import timeline, units
from app.store.database import Database
from app.store.drift_results import DATASET
from app.store.quarantine import Filter
from app.store.server import learner_state, server_state
from monitoring.alert_rules import Threshold
from tests.app.building import decision, put, record
from tests.console import watching
from tests.console.populating import alert, reject

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def watched(new_database: Callable[[], str]) -> Iterator[Database]:
    """The experiment `home` with arms a and b, and what was watched of it."""
    database = Database(new_database())
    put(database, "home")
    watching.days(database, "home", ["a", "b"], NOW, count=5)
    watching.drift(database, "home", ["a", "b"], NOW, windows=12)
    watching.data_quality(database, "home", NOW, windows=30)
    yield database
    database.close()


def test_days_by_arm_are_in_order(watched: Database) -> None:
    """One figure a day and arm, of one cut-off, at the middle of the day; arms without any are left out."""
    steps = steps_of("7d", NOW)
    times, series = days_by_arm(
        watched, "home", level="offline", metric="ndcg", k=10, steps=steps, arms=["b", "a", "gone"]
    )
    assert [one.arm for one in series] == ["b", "a"]
    assert [len(one.values) for one in series] == [5, 5]
    assert times == sorted(times)
    assert {time % 86_400 for time in times} == {43_200.0}


def test_the_newest_day_has_every_figure(watched: Database) -> None:
    """At a cut-off, or without one; None where there is none."""
    day = newest_day(watched, "home")
    assert day is not None
    assert day.cutoffs == [1, 5, 10]
    assert day.of("offline", "ndcg", 5, "a") != day.of("offline", "ndcg", 10, "a")
    assert day.of("online", "reward_rate", 10, "") is not None
    assert day.of("online", "reward_rate", 10, "gone") is None


def test_passes_have_neighbours(watched: Database) -> None:
    """The newest one has only an older one, and that one has both."""
    newest = drift_pass(watched, "home", None)
    assert newest.newer is None
    assert newest.older is not None
    before = drift_pass(watched, "home", newest.older)
    assert before.window is not None
    assert newest.window is not None
    assert before.newer == newest.window.window_start


def test_features_come_once_the_most_drifted_first(watched: Database) -> None:
    """With the histogram of whichever test has one."""
    window = drift_pass(watched, "home", None).window
    assert window is not None
    found = by_feature(window)
    assert found[0].feature == "context/device"
    assert len({one.feature for one in found}) == len(found) == 7
    assert all(one.histogram for one in found)


def test_scores_over_time(watched: Database) -> None:
    """A score for each window and feature; of the pass itself the share that has drifted."""
    steps = steps_of("7d", NOW)
    times, series = scores_over_time(watched, "home", steps, ["context/device", DATASET])
    assert len(times) == 12
    device, share = series
    assert [value is not None and value > 1 for value in device.values] == [False] * 5 + [True] * 7
    assert share.values == [0.0] * 5 + [1 / 3] * 7


def test_figures_of_the_data_have_their_past(watched: Database) -> None:
    """The newest window's count and share, and the shares of 24 windows up to it."""
    ended, figures = quality_figures(watched, "home")
    assert ended is not None
    late = next(one for one in figures if one.metric == "late_share")
    assert late.newest.count == round((late.newest.value or 0) * 5000)
    assert len(late.steps) == 24
    assert late.steps[-1] == late.newest.value
    assert [one.metric for one in figures if one.feature == "context/device"] == ["missing_share"]
    times, series = shares_of_data(watched, "home", steps_of("7d", NOW), ["late_share"])
    assert [series[0].values[-1], len(times)] == [late.newest.value, 30]


def test_limits_are_those_of_the_rules_in_force(watched: Database) -> None:
    """A rule that is switched off limits nothing."""
    assert limits_of(watched, "home").share == 0.5
    assert limits_of(watched, "home").figures["empty_list_share"] == ("empty-lists", 0.05)
    alerts.put_rule(
        watched, "home", "empty-lists", Threshold(metric="empty_list_share", value=0.2, enabled=False), actor="ana"
    )
    assert "empty_list_share" not in limits_of(watched, "home").figures


def test_of_nothing_there_is_nothing(watched: Database) -> None:
    """An experiment that nobody has watched yet."""
    put(watched, "fresh")
    assert newest_day(watched, "fresh") is None
    assert drift_pass(watched, "fresh", None).window is None
    assert quality_figures(watched, "fresh") == (None, [])


def test_quarantine_is_counted_by_reason(watched: Database) -> None:
    """By state."""
    reject(watched, "home", "a", 3)
    quarantine.discard(watched, Filter(ids=[1]), actor="ana")
    (row,) = quarantine.counted(watched, "home")
    assert [row[name] for name in ("reason", "open", "replayed", "discarded")] == ["unknown_metric", 2, 0, 1]


def test_flips_are_the_newest_first(watched: Database) -> None:
    """Of all experiments or of one, since a moment, a page at a time."""
    number = alert(watched, "home", "fallbacks", NOW)
    page = alerts.history(watched, experiment="home", since=NOW - timedelta(days=7), before=None, limit=2)
    assert [(flip["alert"], flip["after"]) for flip in page] == [(number, "firing"), (number, "resolved")]
    older = alerts.history(watched, experiment=None, since=NOW - timedelta(days=7), before=page[-1]["id"], limit=2)
    assert [flip["after"] for flip in older] == ["firing"]
    assert alerts.history(watched, experiment="fresh", since=NOW - timedelta(days=7), before=None, limit=2) == []


def test_what_the_service_page_reads(watched: Database) -> None:
    """Decisions of all experiments step by step, who came lately, the server and the learner."""
    record(watched, [decision("home", unit="u1", decided_at=NOW)])
    with watched.transaction() as connection:
        assert (
            sum(count for _, count, _ in timeline.everything(connection, steps_of("1h", NOW + timedelta(minutes=1))))
            == 1
        )
        assert [row["unit"] for row in units.lately(connection, NOW - timedelta(hours=1), limit=5)] == ["u1"]
        server, learner = server_state(connection), learner_state(connection)
    assert 0 < server.connections <= server.most_connections
    assert server.size_bytes > 0
    assert learner.running == 2
    assert learner.newest is not None
