"""`/metrics` of a whole service: right sums with several workers, whoever of them is asked and whoever has died."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from app.auth import Scope
from tests.acceptance.talking import TWO_ARMS, decide, key_of, problem, reward
from tests.running import ADMIN_KEY, Api, Service, children_of, free_port, running_service, until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(service: Service, key: str = ADMIN_KEY) -> Samples:
    """All samples, from whichever worker answers a new connection."""
    headers = {"Authorization": f"Bearer {key}"}
    answer = urllib3.request("GET", f"{service.url}/metrics", headers=headers)
    assert answer.status == 200, answer.data
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.data.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    """Sum of the samples of a name that have these labels, among others."""
    return sum(
        value for (found, has), value in samples.items() if found == name and labels.items() <= dict(has).items()
    )


def decided(service: Service, experiment: str) -> float:
    """How many decisions `/metrics` tells."""
    return total(scrape(service), "croupier_decision_total", experiment=experiment)


def many(service: Service, experiment: str, count: int) -> None:
    """Decisions, each over a connection of its own, so that both workers take part."""
    for number in range(count):
        api = service.api()
        decide(api, experiment, f"user-{number}")
        api.close()


def test_sums_are_those_of_all_workers(service: Service, api: Api, key: str) -> None:
    """Decisions, feedback and requests that both workers answered are added up, and stay so when asked again."""
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    many(service, key, 60)
    decision_id = decide(api, key)["decision_id"]
    reward(api, decision_id)
    api.post("/v1/exposures", {"decision_id": decision_id}).ok()
    until(lambda: decided(service, key) == 61, "both workers' files to be up to date")
    assert {decided(service, key) for _ in range(10)} == {61}
    samples = scrape(service)
    assert total(samples, "croupier_feedback_total", experiment=key, metric="click", status="accepted") == 1
    assert total(samples, "croupier_exposure_total", experiment=key, status="accepted") == 1
    assert total(samples, "croupier_feedback_delay_seconds_count", experiment=key) == 1
    assert total(samples, "croupier_recommender_duration_seconds_count", experiment=key, outcome="answered") == 61
    route = {"http_route": "/v1/recommendations", "http_response_status_code": "200"}
    assert total(samples, "http_server_request_duration_seconds_count", **route) >= 61
    assert total(samples, "croupier_journal_batch_size_sum", log="decision") >= 61


def test_what_clients_make_up_is_no_label(service: Service, api: Api) -> None:
    """Paths, methods, experiments and metrics that do not exist name nothing, so that series stay few."""
    assert api.get("/made-up-path").status == 404
    assert api.call("BREW", "/v1/recommendations").status == 405
    assert api.post("/v1/recommendations", {"experiment": "made-up-experiment", "unit": "u"}).status == 404
    until(
        lambda: total(scrape(service), "http_server_request_duration_seconds_count", http_request_method="_OTHER"), "it"
    )
    assert "made-up" not in json.dumps([[name, sorted(labels)] for name, labels in scrape(service)])


def test_the_learner_and_the_monitor_are_there(service: Service, api: Api, key: str) -> None:
    """What they measure, and how each experiment does, stands beside what the workers count."""
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    until(lambda: total(scrape(service), "croupier_arm_propensity_ratio", experiment=key) == 1.0, "the learner")
    samples = scrape(service)
    assert total(samples, "croupier_learner_pass_duration_seconds_count") > 0
    assert total(samples, "croupier_monitor_pass_duration_seconds_count") > 0
    assert 0 <= total(samples, "croupier_allocation_data_age_seconds", experiment=key) < 60


def test_metrics_are_for_readers(service: Service) -> None:
    """They tell how arms do: a key that may only ask for decisions does not see them."""
    with_read, with_decide = key_of(service, Scope.READ), key_of(service, Scope.DECIDE)
    until(lambda: all(_status(service, with_decide) == 403 for _ in range(10)), "both workers to know the keys")
    assert _status(service, None) == 401
    assert scrape(service, with_read)


def test_a_killed_worker_takes_no_counts_with_it(own_service: Service, own_api: Api) -> None:
    """Its counts stay, its successor adds to them, and there are no more files than before."""
    own_api.put("/v1/experiments/home", TWO_ARMS).ok()
    many(own_service, "home", 40)
    until(lambda: decided(own_service, "home") == 40, "the files to be up to date")
    folder = Path(own_service.environment["CROUPIER_DATA_DIR"]) / "metrics"
    before = {path.name for path in folder.glob("*.lock")}
    workers = children_of(own_service.processes["web"].pid)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        until(lambda worker=worker: worker not in children_of(own_service.processes["web"].pid), "its end")  # type: ignore[misc]
        until(lambda: len(children_of(own_service.processes["web"].pid)) == len(workers), "a successor")
    until(lambda: _answers(own_service), "successors to answer")
    many(own_service, "home", 20)
    until(lambda: decided(own_service, "home") == 60, "the counts of old and new workers")
    assert {path.name for path in folder.glob("*.lock")} == before


def test_metrics_can_be_off(new_database: Callable[[], str], tmp_path: Path) -> None:
    """Then there is no page, and there are no files."""
    with running_service(new_database(), tmp_path, roles=("web",), CROUPIER_METRICS="off") as service:
        api = service.api()
        assert "CROUPIER_METRICS" in problem(api.get("/metrics"), 404)["detail"]
        assert not (tmp_path / "metrics").exists()
        api.close()


def test_prometheus_itself_scrapes_it(service: Service, api: Api, key: str, tmp_path: Path) -> None:
    """A real Prometheus, with a key in its configuration, finds the decisions of both workers."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed (Debian: apt-get install prometheus)")
    api.put(f"/v1/experiments/{key}", TWO_ARMS).ok()
    many(service, key, 20)
    with _prometheus(service, tmp_path) as url:
        query = f'{url}/api/v1/query?query=sum(croupier_decision_total{{experiment="{key}"}})'

        def value() -> float:
            result = json.loads(urllib3.request("GET", query).data)["data"]["result"]
            return float(result[0]["value"][1]) if result else 0.0

        until(lambda: value() == 20, "Prometheus to have scraped")


@contextmanager
def _prometheus(service: Service, folder: Path) -> Iterator[str]:
    target = service.url.removeprefix("http://")
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {
                "job_name": "croupier",
                "authorization": {"credentials": ADMIN_KEY},
                "static_configs": [{"targets": [target]}],
            }
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: _is_up(f"http://{address}/-/ready"), "Prometheus to be ready")
            yield f"http://{address}"
        finally:
            process.terminate()


def _is_up(url: str) -> bool:
    try:
        return urllib3.request("GET", url, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        time.sleep(0.1)
        return False


def _status(service: Service, key: str | None) -> int:
    api = service.api(key)
    try:
        return api.get("/metrics").status
    finally:
        api.close()


def _answers(service: Service) -> bool:
    """Whether ten new connections in a row are answered."""
    return all(_is_up(f"{service.url}/readyz") for _ in range(10))
