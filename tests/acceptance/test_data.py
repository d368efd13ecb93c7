"""Drift and data quality over HTTP: the monitor looks at closed windows by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.talking import problem
from tests.running import Api, Service, running_service, until

SPEC = {"arms": [{"key": "a"}, {"key": "b"}]}


@pytest.fixture(scope="module")
def quick(new_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose windows last a second."""
    folder = tmp_path_factory.mktemp("data")
    with running_service(new_database(), folder, CROUPIER_DATA_WINDOW_S="1") as running:
        yield running


def test_closed_windows_are_told_newest_first_page_by_page(quick: Service) -> None:
    """Each with its features, tests and histograms, and with its data's quality; one feature, if it is named."""
    api = quick.api()
    api.put("/v1/experiments/home", SPEC).ok()

    def passes(parameters: str = "") -> list[dict[str, Any]]:
        send(api)
        found: list[dict[str, Any]] = api.get(f"/v1/experiments/home/drift?{parameters}").ok()["passes"]
        return [each for each in found if each["n"]]

    until(lambda: len(passes()) > 1, "two windows with decisions", 60)
    newest = passes("feature=context/device")[0]
    (device,) = newest["features"]
    assert (device["feature"], device["kind"], device["drifted"]) == ("context/device", "binary", False)
    assert sum(device["histogram"]["current"]) == device["n"] or sum(device["histogram"]["reference"]) == device["n"]
    first = api.get("/v1/experiments/home/drift?limit=1").ok()
    second = api.get(f"/v1/experiments/home/drift?limit=1&before={first['next_before']}").ok()
    assert second["passes"][0]["window_end"] <= first["passes"][0]["window_start"]
    quality = api.get("/v1/experiments/home/data-quality?limit=100").ok()["windows"]
    starts = [window["window_start"] for window in quality]
    assert starts == sorted(starts, reverse=True)
    figures = [figure for window in quality for figure in window["figures"] if figure["feature"] == "device"]
    assert any(figure["metric"] == "missing_share" and figure["of"] for figure in figures)
    problem(api.get("/v1/experiments/nobody/drift"), 404)
    problem(api.get("/v1/experiments/nobody/data-quality"), 404)
    problem(api.get("/v1/experiments/home/drift?since=yesterday"), 422)
    api.close()


def send(api: Api) -> None:
    """Some decisions."""
    requests = [
        {"experiment": "home", "unit": f"u{number}", "context": {"device": "tv" if number % 2 else "phone"}}
        for number in range(20)
    ]
    api.post("/v1/recommendations/batch", {"requests": requests}).ok()
