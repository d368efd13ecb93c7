"""The quality of recommendations: worked out by the monitor when a day is over, by the command on demand."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from app.store.database import Database
from tests.acceptance.talking import opened, problem
from tests.app.batch.stream import DAY, REWARDS, catalogue, of, partitions, random_stream, today
from tests.running import Api, Service, running_service, until

PATH = "/v1/experiments/home/metrics"
YESTERDAY = today() - DAY


@pytest.fixture(scope="module")
def measured(new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a week behind it whose monitor looks for days that are over five times a second."""
    folder = tmp_path_factory.mktemp("quality")
    roles = ("web",)
    with running_service(new_database(), folder, roles=roles, CROUPIER_BATCH_INTERVAL_MS="200") as running:
        with opened(running.database_url) as database:
            _fill(database)
        running.start("monitor")
        yield running


def _fill(database: Database) -> None:
    partitions(database)
    catalogue(database)
    random_stream("home", of(REWARDS["click"]), 1, days=2).store(database)


@pytest.fixture
def api(measured: Service) -> Iterator[Api]:
    """A client, once the monitor is done."""
    made = measured.api()
    until(lambda: values(made, "metric=decisions&arm=")[-2:] == [90, 90], "yesterday to be worked out")
    yield made
    made.close()


def page(api: Api, query: str) -> dict[str, Any]:
    """What the endpoint answers."""
    found: dict[str, Any] = api.get(f"{PATH}?{query}").ok()
    return found


def values(api: Api, query: str) -> list[float | None]:
    """Only the values."""
    return [value["value"] for value in page(api, query)["values"]]


def test_the_monitor_works_out_every_day_that_is_over(api: Api) -> None:
    """Also those on which nothing happened, and both levels, by arm; today is not over."""
    found = page(api, f"metric=ndcg,decisions&since={_text(YESTERDAY)}")["values"]
    assert {value["window_start"] for value in found} == {_text(YESTERDAY)}
    places = {(value["level"], value["metric"], value["k"], value["arm"]) for value in found}
    arms = ("", "a", "b", "c")
    assert places == {
        *(("online", "decisions", 0, arm) for arm in arms),
        *((level, "ndcg", k, arm) for level in ("online", "offline") for k in (1, 5, 10) for arm in arms),
    }
    assert values(api, "metric=decisions&arm=") == [0, 0, 0, 0, 90, 90]


def test_metrics_without_anything_to_measure_are_null(api: Api) -> None:
    """Arm "c" gives payloads: its lists have no quality; no zero is made up."""
    (value,) = page(api, f"metric=coverage&arm=c&level=offline&since={_text(YESTERDAY)}&window_s=86400")["values"][:1]
    assert (value["value"], value["n"], value["detail"]) == (None, 0, {})


def test_pages_follow_each_other_without_gap_or_double(api: Api) -> None:
    """Whatever their size; the last says that it is."""
    everything = page(api, "limit=10000")
    assert everything["next_after"] is None
    read: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        found = page(api, "limit=200" + (f"&after={quote(after)}" if after else ""))
        read += found["values"]
        after = found["next_after"]
    assert len(read) > 800
    assert read == everything["values"]


@pytest.mark.parametrize(
    "query",
    [
        "level=best", "window_s=0", "window_s=x", "since=yesterday", "until=2026-11-24T00:00:00", "limit=0",
        "limit=10001", "after=here", "after=W10%3D",
    ],
)  # fmt: skip
def test_questions_that_make_no_sense_are_refused(api: Api, query: str) -> None:
    """With what is wrong, and what would be right."""
    name, _, value = query.partition("=")
    found = problem(api.get(f"{PATH}?{query}"), 422, "#")
    assert name in found["errors"][0]["detail"]
    assert value.removesuffix("%3D") in found["errors"][0]["detail"]


def test_an_unknown_experiment_has_no_metrics(api: Api) -> None:
    """404, not an empty page."""
    problem(api.get("/v1/experiments/nowhere/metrics"), 404)


def test_the_newest_day_is_a_gauge(api: Api) -> None:
    """For Prometheus, with the figures that are kept."""
    (value,) = [v["value"] for v in page(api, f"metric=hit_rate&level=online&arm=a&since={_text(YESTERDAY)}")["values"]
                if v["k"] == 10]  # fmt: skip
    line = f'croupier_quality_ratio{{arm="a",experiment="home",metric="hit_rate"}} {value}'
    until(lambda: line in api.get("/metrics").body, "the gauge")


def test_the_command_works_out_hours_beside_days(measured: Service, api: Api) -> None:
    """In a process of its own, beside the monitor."""
    end = _text(YESTERDAY + DAY / 12)
    done = measured.command(
        "batch", "home", "--window", "3600", "--since", _text(YESTERDAY), "--until", end, "--k", "3"
    )
    assert done.returncode == 0, done.stderr
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        f"home {YESTERDAY:%Y-%m-%d}T00:00Z", f"home {YESTERDAY:%Y-%m-%d}T01:00Z",
    ]  # fmt: skip
    found = page(api, "window_s=3600&metric=precision&level=online&arm=")["values"]
    assert [value["k"] for value in found] == [3, 3]


def _text(moment: Any) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
