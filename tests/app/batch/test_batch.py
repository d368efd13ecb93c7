"""The batch against a slow calculation on random streams that are really stored; what is done once and what again."""

import logging
import math
import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from app import monitor
from app.batch import BatchOptions, batch
from app.batch.gauges import GAUGED, GAUGED_K, Gauges
from app.batch.run import Interrupted
from app.batch.windows import DAY_S, Wanted
from app.errors import NotFound
from app.store.database import Database
from app.store.metric_values import MetricValue, Selection, page
from app.store.metric_values import put as put_values
from monitoring.instruments import QUALITY
from monitoring.meter import Meter
from tests.app.batch import slow
from tests.app.batch.stream import (
    DAY,
    HOUR,
    ITEMS,
    REWARDS,
    Seen,
    Stream,
    of,
    partitions,
    random_stream,
    today,
)
from tests.app.building import execute, matched, now, put, query, specification, write

KS = (1, 3, 10)
DAILY = BatchOptions(ks=KS)
# Features are stored in single precision.
BY_VECTORS = {"serendipity", "intra_list_diversity"}


def run(database: Database, options: BatchOptions = DAILY, *keys: str, at: datetime | None = None) -> Seen:
    """One batch, in which nothing fails."""
    seen = Seen()
    assert batch(database, options, seen, at or now(), keys=keys) == []
    return seen


def stored(database: Database, key: str, **asked: Any) -> list[MetricValue]:
    """What is kept of an experiment."""
    with database.transaction() as connection:
        return page(connection, key, Selection(**asked), limit=100_000)


def as_found(values: list[MetricValue], start: datetime) -> slow.Found:
    """The figures of one window as the slow calculation has them."""
    return {(v.level, v.metric, v.k, v.arm): (v.value, v.n) for v in values if v.window_start == start}


def vectors() -> slow.Vectors:
    """The items' features, drawn as they were for the catalogue."""
    draw = random.Random(7)
    return {item: tuple(draw.uniform(-1, 1) for _ in range(4)) for i, item in enumerate(ITEMS) if i % 10 != 9}


def compare(found: slow.Found, expected: slow.Found) -> None:
    """Every figure that either has, with what it rests on."""
    assert found.keys() == expected.keys()
    wrong = {place: (found[place], each) for place, each in expected.items() if not same(place[1], found[place], each)}
    assert wrong == {}


def same(metric: str, found: tuple[float | None, int], expected: tuple[float | None, int]) -> bool:
    """Whether two calculations of a figure agree."""
    if found[0] is None or expected[0] is None:
        return found == expected
    near = 1e-6 if metric in BY_VECTORS else 1e-9
    return found[1] == expected[1] and math.isclose(found[0], expected[0], rel_tol=near, abs_tol=near)


def stream_of(database: Database, key: str, seed: int = 1, **parts: Any) -> Stream:
    """A stored stream of clicks."""
    stream = random_stream(key, of(REWARDS["click"]), seed, **parts)
    stream.store(database)
    return stream


def test_each_figure_of_each_window_equals_the_slow_calculation(home: Database) -> None:
    """For two experiments at once, with silence counted or not and exposures confirmed or not, by arm and together."""
    streams = [
        random_stream("clicks", of(REWARDS["click"]), 1),
        random_stream("money", of(REWARDS["money"], exposure="confirmed"), 2),
    ]
    for stream in streams:
        stream.store(home)
    seen = run(home, at=today() + HOUR)
    assert seen.windows == len(seen.done) == 12
    for stream in streams:
        kept = stored(home, stream.key)
        for day in range(1, 5):
            start = today() - day * DAY
            found = as_found(kept, start)
            compare(found, slow.figures(stream, start, DAY, KS, vectors()))
            assert sum(value is not None for value, _ in found.values()) > 100
    with_values = {(v.level, v.metric) for v in stored(home, "clicks") if v.value is not None}
    assert with_values == {(v.level, v.metric) for v in stored(home, "clicks")}, "every metric has a value somewhere"


def test_hours_are_windows_of_their_own(home: Database) -> None:
    """With seven hours before them as reference; they stand beside the days."""
    stream = stream_of(home, "home", days=1, per_day=200)
    start = today() - 12 * HOUR
    wanted = Wanted(window_s=3600, since=start, until=start + HOUR)
    assert [done.start for done in run(home, BatchOptions(wanted=wanted, ks=KS)).done] == [start]
    compare(as_found(stored(home, "home"), start), slow.figures(stream, start, HOUR, KS, vectors()))
    run(home, at=today() + HOUR)
    assert {v.window_s for v in stored(home, "home")} == {3600, DAY_S}


def test_without_a_catalogue_what_depends_on_one_is_null(database: Database) -> None:
    """Coverage of what is not known to exist is no number; accuracy is as with one."""
    partitions(database)
    stream = random_stream("home", of(REWARDS["click"]), 1)
    stream.store(database)
    run(database, at=today() + HOUR)
    start = today() - DAY
    found = as_found(stored(database, "home"), start)
    expected = slow.figures(stream, start, DAY, KS, {})
    for metric in ("coverage", "coverage_entropy", "normalised_entropy", "gini", "serendipity"):
        assert found["offline", metric, 10, ""][0] is None
    for metric in ("ndcg", "recall", "average_precision"):
        assert found["offline", metric, 10, "a"] == pytest.approx(expected["offline", metric, 10, "a"])
    assert found["offline", "novelty", 10, ""][0] is not None


def test_a_window_is_done_once_it_is_closed_and_its_attribution_is_over(home: Database) -> None:
    """Not at midnight: ten minutes and a bucket later. Then never again, also if nothing happened in it."""
    stream_of(home, "home", days=1)
    window = timedelta(seconds=660)
    early = run(home, at=today() + window - timedelta(seconds=1))
    assert [done.start for done in early.done] == [today() - day * DAY for day in (6, 5, 4, 3, 2)]
    assert [done.decisions for done in early.done] == [0] * 5
    assert [(v.metric, v.value, v.n, v.arm) for v in stored(home, "home")] == [("decisions", 0, 0, "")] * 5
    late = run(home, at=today() + window)
    assert [(done.start, done.decisions) for done in late.done] == [(today() - DAY, 90)]
    assert run(home, at=today() + window).windows == 0


def test_the_same_input_gives_the_same_rows_and_late_feedback_enters_when_it_is_done_again(home: Database) -> None:
    """`again` replaces the window's figures, and those of cut-offs that are not asked for go."""
    stream = stream_of(home, "home")
    run(home, at=today() + HOUR)
    first, start = stored(home, "home"), today() - DAY
    again = BatchOptions(wanted=Wanted(since=start, until=start + DAY, again=True), ks=KS)
    assert len(run(home, again, at=today() + HOUR).done) == 1
    assert stored(home, "home") == first
    row = next(
        d
        for d in stream.decisions
        if d.decided_at >= start and d.learnable and d.items and not stream.events[d.decision_id]
    )
    late = matched(row, item_id=row.items[0], occurred_at=now(), metric="click")
    write(home, [late])
    stream.events[row.decision_id].append(late)
    assert run(home, at=today() + HOUR).windows == 0
    assert stored(home, "home") == first
    run(home, again, at=today() + HOUR)
    second = stored(home, "home")
    assert {v.window_start for v in second if v not in first} == {start}
    compare(as_found(second, start), slow.figures(stream, start, DAY, KS, vectors()))
    run(home, BatchOptions(wanted=again.wanted, ks=(2,)), at=today() + HOUR)
    assert {v.k for v in stored(home, "home") if v.window_start == start} == {0, 2}


def test_one_experiment_that_cannot_be_measured_does_not_stop_the_others(
    home: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and named; its window is tried again the next time."""
    for key in ("first", "poisoned", "second"):
        stream_of(home, key, days=1, per_day=5)
    execute(home, "UPDATE allocations SET means = '{\"a\": \"no number\"}' WHERE experiment = 'poisoned'")
    seen = Seen()
    with caplog.at_level(logging.ERROR):
        assert batch(home, DAILY, seen, today() + HOUR) == ["poisoned"]
    assert [record.experiment for record in caplog.records] == ["poisoned"]  # type: ignore[attr-defined]
    assert {(done.experiment, done.decisions) for done in seen.done if done.decisions} == {("first", 5), ("second", 5)}
    execute(home, "UPDATE allocations SET means = '{}' WHERE experiment = 'poisoned'")
    assert [(done.experiment, done.decisions) for done in run(home, at=today() + HOUR).done] == [("poisoned", 5)]
    cost = stored(home, "poisoned", metrics=["opportunity_cost"], arm="")
    assert [value.value for value in cost] == [None], "nobody knows what was believed"


def test_only_windows_whose_log_is_kept_are_worked_out(home: Database) -> None:
    """What an experiment or the service has forgotten keeps its figures, also when it is to be done again."""
    stream_of(home, "home")
    run(home, at=today() + HOUR)
    statement = "UPDATE experiments SET specification = specification || '{\"retention_days\": 2}'"
    execute(home, statement)
    again = BatchOptions(wanted=Wanted(again=True), ks=KS)
    assert [done.start for done in run(home, again, at=today() + HOUR).done] == [today() - 2 * DAY, today() - DAY]
    assert len({v.window_start for v in stored(home, "home")}) == 6


def test_drafts_have_no_windows_and_stopped_ones_none_after_their_end(home: Database) -> None:
    """So an experiment that is over costs nothing more."""
    for key, state in (("draft", "draft"), ("over", "stopped")):
        put(home, key, specification(), state=state)  # type: ignore[arg-type]
    at = {"created": today() - 5 * DAY, "updated": today() - 3 * DAY + HOUR}
    execute(home, "UPDATE experiments SET created_at = :created, updated_at = :updated", **at)
    done = run(home).done
    assert [(w.experiment, w.start) for w in done] == [("over", today() - day * DAY) for day in (5, 4, 3)]


def test_only_named_experiments_are_done_and_an_unknown_name_is_refused(home: Database) -> None:
    """Before anything is done."""
    for key in ("one", "two"):
        stream_of(home, key, days=1, per_day=3)
    with pytest.raises(NotFound, match="'three'"):
        run(home, DAILY, "one", "three")
    assert query(home, "SELECT count(*) FROM metric_values") == [(0,)]
    assert {done.experiment for done in run(home, DAILY, "two").done} == {"two"}


def test_a_window_of_too_many_decisions_is_judged_by_a_share_of_its_units(home: Database) -> None:
    """Counts are of all units; other figures are those of the units whose hash is drawn, their whole window."""
    stream_of(home, "home", days=1, per_day=400)
    options = BatchOptions(ks=KS, most_decisions=120)
    seen = run(home, options, at=today() + HOUR)
    assert 0 < seen.decisions < 250
    values = as_found(stored(home, "home"), today() - DAY)
    assert values["online", "decisions", 0, ""][0] == 400
    drawn = query(
        home, "SELECT count(*) FILTER (WHERE learnable) FROM decisions WHERE hashtextextended(unit, 0) & 3 = 0"
    )
    assert values["online", "exposures", 0, ""][0] == drawn[0][0]


class Impatient(Seen):
    """A watch that ends the batch when the second window is read."""

    def read(self, decisions: int) -> None:
        """Ends it."""
        if self.done:
            raise Interrupted
        super().read(decisions)


def test_an_interrupted_batch_keeps_what_is_done_and_goes_on_the_next_time(home: Database) -> None:
    """A window has all of its figures or none."""
    stream_of(home, "home", days=1, per_day=20)
    since = BatchOptions(wanted=Wanted(since=today() - DAY), ks=KS)
    stream = random_stream("more", of(REWARDS["click"]), 5, days=1, per_day=20)
    stream.store(home)
    with pytest.raises(Interrupted):
        batch(home, since, Impatient(), today() + HOUR)
    assert stored(home, "more") == []
    assert len(stored(home, "home")) > 100
    assert [done.experiment for done in run(home, since, at=today() + HOUR).done] == ["more"]


def test_the_gauges_are_those_of_the_newest_day(home: Database) -> None:
    """One cut-off, a fixed list; a figure that the newest day does not have is no number, not the old one."""
    stream_of(home, "home", days=3)
    run(home, BatchOptions(wanted=Wanted(until=today() - DAY)), at=today() + HOUR)
    meter = Meter()
    gauges = Gauges(home, meter)
    gauges.note()
    before = noted(meter)
    assert {metric for _, metric, _ in before} == set(GAUGED)
    newest = today() - 2 * DAY
    ndcg = as_found(stored(home, "home"), newest)["offline", "ndcg", GAUGED_K, "b"][0]
    assert before["home", "ndcg", "b"] == ndcg
    execute(home, "DELETE FROM feedback")
    run(home, at=today() + HOUR)
    gauges.note()
    after = noted(meter)
    assert after.keys() == before.keys()
    assert math.isnan(after["home", "ndcg", "b"])
    assert after["home", "empty_share", "b"] != before["home", "empty_share", "b"]


def noted(meter: Meter) -> dict[tuple[str, ...], float]:
    """The gauges by labels."""
    seen: dict[tuple[str, ...], float] = {}
    meter.read(lambda every: seen.update({s.labels: s.value for s in every if s.instrument is QUALITY}))
    return seen


def test_figures_outlive_the_log_by_far(home: Database) -> None:
    """The monitor deletes them after 400 days."""
    put(home, "home")
    starts = [today() - days * DAY for days in (401, 399)]
    values = [
        MetricValue(experiment="home", level="online", window_start=start, window_s=DAY_S, metric="decisions", value=1)
        for start in starts
    ]
    with home.transaction() as connection:
        put_values(connection, values)
    monitor.grow(home, today() + HOUR, 30)
    assert [value.window_start for value in stored(home, "home")] == starts[1:]
