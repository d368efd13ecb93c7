"""Traces, metrics and events as a collector gets them, and the log lines beside them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.acceptance.talking import TWO_ARMS, decide, reward
from tests.collecting import Collector, collector, values
from tests.running import ADMIN_KEY, Api, Service, free_port, running_service, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACED, NOT_TRACED = f"00-{TRACE}-{PARENT}-01", f"00-{'a' * 32}-{PARENT}-00"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    """A collector of OTLP over HTTP."""
    with collector() as made:
        yield made


@pytest.fixture(scope="module")
def telling(
    receiver: Collector, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service that sends what it measures, and traces only what its callers trace."""
    with running_service(
        new_database(),
        tmp_path_factory.mktemp("telling"),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_TRACES_SAMPLER_ARG="0",
        OTEL_METRIC_EXPORT_INTERVAL="300",
        OTEL_BSP_SCHEDULE_DELAY="200",
        OTEL_BLRP_SCHEDULE_DELAY="200",
    ) as service:
        api = service.api()
        api.put("/v1/experiments/home", TWO_ARMS).ok()
        api.close()
        yield service


@pytest.fixture
def client(telling: Service) -> Iterator[Api]:
    """A client of it."""
    made = telling.api()
    yield made
    made.close()


def ask(client: Api, traceparent: str, path: str = "/v1/recommendations", **body: Any) -> Any:
    """One request with a trace context."""
    wanted = {"experiment": "home", "unit": "user"} if path == "/v1/recommendations" else body
    return client.call("POST", path, wanted, headers={"traceparent": traceparent})


def of_trace(receiver: Collector, trace: str, count: int) -> dict[str, Span]:
    """The spans of a trace by name, once there are so many."""
    until(lambda: len(_spans(receiver, trace)) >= count, f"{count} spans")
    return {span.name: span for span in _spans(receiver, trace)}


def _spans(receiver: Collector, trace: str) -> list[Span]:
    return [span for span in receiver.spans if span.trace_id.hex() == trace]


def test_a_traced_decision_has_three_spans_and_an_event(client: Api, receiver: Collector) -> None:
    """The request under its caller's span, the recommender and the commit under the request; and what was chosen."""
    decision = ask(client, TRACED).ok()
    spans = of_trace(receiver, TRACE, 3)
    assert spans.keys() == {"POST /v1/recommendations", "recommend", "commit"}
    server = spans["POST /v1/recommendations"]
    assert server.parent_span_id.hex() == PARENT
    assert server.kind == Span.SPAN_KIND_SERVER
    attributes = values(server.attributes)
    assert attributes["http.route"] == "/v1/recommendations"
    assert attributes["http.response.status_code"] == 200
    for name in ("recommend", "commit"):
        assert spans[name].parent_span_id == server.span_id
        assert server.start_time_unix_nano <= spans[name].start_time_unix_nano
        assert spans[name].end_time_unix_nano <= server.end_time_unix_nano
    assert values(spans["recommend"].attributes)["croupier.arm"] == decision["arm"]
    assert values(spans["commit"].attributes)["croupier.durability"] == "committed"
    until(lambda: receiver.events, "the event")
    event = next(event for event in receiver.events if event.trace_id.hex() == TRACE)
    assert event.event_name == "feature_flag.evaluation"
    assert event.span_id == server.span_id
    said = values(event.attributes)
    assert (said["feature_flag.key"], said["feature_flag.result.variant"]) == ("home", decision["arm"])
    assert "user" not in str(said)


def test_a_batch_has_no_more_spans_than_one_decision(client: Api, receiver: Collector) -> None:
    """A thousand decisions in one request would else be a thousand spans."""
    trace = "b" * 32
    requests = [{"experiment": "home", "unit": f"u{i}"} for i in range(50)]
    ask(client, f"00-{trace}-{PARENT}-01", "/v1/recommendations/batch", requests=requests).ok()
    of_trace(receiver, trace, 3)
    last = "c" * 32
    ask(client, f"00-{last}-{PARENT}-01").ok()
    of_trace(receiver, last, 3)
    assert len(_spans(receiver, trace)) == 3


def test_routes_of_flask_are_traced_too(client: Api, receiver: Collector) -> None:
    """Their name is the route's template."""
    trace = "d" * 32
    header = {"traceparent": f"00-{trace}-{PARENT}-01"}
    assert client.call("GET", "/v1/experiments/home", headers=header).status == 200
    (name,) = of_trace(receiver, trace, 1)
    assert name == "GET /v1/experiments/<key>"


def test_what_is_not_sampled_makes_no_span(client: Api, receiver: Collector) -> None:
    """Neither a caller that does not trace nor the share of 0 here; what is traced later arrives before them."""
    ask(client, NOT_TRACED).ok()
    decide(client, "home")
    trace = "e" * 32
    ask(client, f"00-{trace}-{PARENT}-01").ok()
    of_trace(receiver, trace, 3)
    assert {span.parent_span_id.hex() for span in receiver.spans if span.kind == Span.SPAN_KIND_SERVER} == {PARENT}
    assert not _spans(receiver, "a" * 32)


def test_a_decision_keeps_its_trace_id(client: Api, telling: Service) -> None:
    """The caller's, or one of our own, the same as in the request's line of the log."""
    of_caller, of_ours = ask(client, NOT_TRACED).ok(), decide(client, "home")
    stored = [
        client.get(f"/v1/decisions/{made['decision_id']}").ok()["decision"]["trace_id"] for made in (of_caller, of_ours)
    ]
    assert stored[0] == "a" * 32
    assert len(stored[1]) == 32
    until(lambda: set(stored) <= {line.get("trace_id") for line in _request_lines(telling.log)}, "both lines")


def test_decisions_that_wait_together_keep_the_trace_id(client: Api) -> None:
    """Those of a batch that ask model servers are made in greenlets of their own, and belong to the same request."""
    arms = [{"key": "model", "recommender": {"kind": "http", "url": f"http://127.0.0.1:{free_port()}"}}]
    client.put("/v1/experiments/waiting", {"arms": arms, "fallback": ["1"]}).ok()
    requests = [{"experiment": "waiting", "unit": f"u{i}"} for i in range(3)]

    def decided() -> list[dict[str, Any]]:
        results = ask(client, NOT_TRACED, "/v1/recommendations/batch", requests=requests).ok()["results"]
        return [result for result in results if "decision_id" in result]

    until(decided, "the experiment to be served")
    for made in decided():
        assert client.get(f"/v1/decisions/{made['decision_id']}").ok()["decision"]["trace_id"] == "a" * 32


def test_each_request_is_one_line_of_the_log(client: Api, telling: Service) -> None:
    """With method, route, status, duration, trace and span, and the experiment of a decision."""
    trace = "f" * 32
    ask(client, f"00-{trace}-{PARENT}-01").ok()
    until(lambda: [line for line in _request_lines(telling.log) if line["trace_id"] == trace], "its line")
    (line,) = [line for line in _request_lines(telling.log) if line["trace_id"] == trace]
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/recommendations", 200)
    assert (line["level"], line["role"], line["experiment"]) == ("info", "web", "home")
    assert 0 < line["duration_ms"] < 60_000
    assert len(line["span_id"]) == 16


def test_metrics_of_every_process_arrive(client: Api, receiver: Collector) -> None:
    """Each process sends its own sums under its slot's name: together they are what was asked for."""
    reward(client, decide(client, "home")["decision_id"])

    def sent(name: str) -> list[str]:
        return sorted(instance.rpartition("/")[2] for instance, metric in receiver.metrics if metric == name)

    until(lambda: sent("croupier.learner.pass.duration") == ["learner-0"], "the learner's metrics")
    until(lambda: sent("croupier.monitor.pass.duration") == ["monitor-0"], "the monitor's metrics")
    until(lambda: sent("croupier.allocation.age") == ["web-0", "web-1"], "both workers' metrics")
    until(lambda: sent("croupier.feedback"), "the feedback's metric")
    instance = next(instance for instance, name in receiver.metrics if name == "http.server.request.duration")
    metric = receiver.metrics[instance, "http.server.request.duration"]
    assert metric.unit == "s"
    point = metric.histogram.data_points[0]
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert point.count == sum(point.bucket_counts) > 0
    assert point.start_time_unix_nano < point.time_unix_nano


def _request_lines(log: Path) -> list[dict[str, Any]]:
    lines = [line for line in log.read_text().splitlines(keepends=True) if '"logger":"request"' in line]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_no_key_is_in_any_trace_metric_or_event(client: Api, receiver: Collector, telling: Service) -> None:
    """Whether it was right, wrong, or sent where it does not belong."""
    trace, wrong = "9" * 32, "ck_00000000.a-wrong-secret"
    made = client.post("/v1/keys", {"name": "x", "scopes": ["read"]}).ok()["key"]
    for key in (ADMIN_KEY, made, wrong):
        for path in ("/v1/experiments/home", f"/v1/experiments/home?key={key}"):
            client.call(
                "GET", path, headers={"traceparent": f"00-{trace}-{PARENT}-01", "Authorization": f"Bearer {key}"}
            )
    until(lambda: len(_spans(receiver, trace)) == 6, "the spans")
    told = f"{receiver.spans} {receiver.events} {receiver.metrics} {telling.log.read_text()}"
    for key in (ADMIN_KEY, made, wrong):
        assert key.rpartition(".")[2] not in told
