"""A receiver of OTLP over HTTP: what a collector would get, decoded."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """Keeps what it is sent.

    Attributes:
        url: for OTEL_EXPORTER_OTLP_ENDPOINT.
        spans: every span.
        events: every log record.
        metrics: the newest of each metric by the process that sent it and its name.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.events: list[LogRecord] = []
        self.metrics: dict[tuple[str, str], Metric] = {}
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                take(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in of_process.scope_spans:
                    self.spans.extend(scope.spans)
        elif path == "/v1/logs":
            for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                for records in logs.scope_logs:
                    self.events.extend(records.log_records)
        else:
            for metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                instance = str(values(metrics.resource.attributes)["service.instance.id"])
                for made in metrics.scope_metrics:
                    self.metrics.update({(instance, metric.name): metric for metric in made.metrics})


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens."""
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


def values(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes as a mapping."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value") for a in attributes}
