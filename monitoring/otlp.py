"""What goes to an OpenTelemetry collector, over HTTP: traces, metrics, and events of traced requests.

Only this module knows the SDK. Spans and events are gathered and sent in the background. Metrics are those of the
meter, in the SDK's data classes: its own instruments would cost a request more than everything else here.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from opentelemetry import trace
from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, Tracer

from monitoring.instruments import Instrument
from monitoring.meter import Meter, Series

__all__ = ["Otlp"]

log = logging.getLogger(__name__)

_SCOPE: Final = "croupier"


class Otlp:
    """The providers of one process, made after it was forked: their threads would not survive it.

    Endpoint, headers, compression and timeouts are read by the exporters from OTEL_EXPORTER_OTLP_*.

    Args:
        service: the service's name.
        instance: which process of it; the same for its successors.
        interval_s: between two exports of metrics.
    """

    def __init__(self, service: str, instance: str, *, interval_s: float) -> None:
        self._resource = Resource.create({"service.name": service, "service.instance.id": instance})
        # What reaches it has been sampled already.
        self._traces = TracerProvider(sampler=ALWAYS_ON, resource=self._resource, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._logs = LoggerProvider(self._resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        self._events: Logger = self._logs.get_logger(_SCOPE)
        self._metrics = OTLPMetricExporter()
        self._interval_s = interval_s
        self._started_at = time.time_ns()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def tracer(self) -> Tracer:
        """Makes spans."""
        return self._traces.get_tracer(_SCOPE)

    def emit(self, name: str, span: Span, attributes: Mapping[str, Any]) -> None:
        """Sends an event that belongs to a span."""
        self._events.emit(
            event_name=name,
            context=trace.set_span_in_context(span),
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            attributes=dict(attributes),
        )

    def start(self, meter: Meter) -> None:
        """Begins to send metrics."""
        self._thread = threading.Thread(target=self._run, args=(meter,), name="otlp", daemon=True)
        self._thread.start()

    def close(self, meter: Meter) -> None:
        """Sends what is left."""
        self._stopping.set()
        if self._thread:
            self._thread.join(1)
        self._export(meter)
        self._metrics.shutdown(2_000)
        self._traces.shutdown()
        self._logs.shutdown()

    def _run(self, meter: Meter) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self._export(meter)
            except Exception:  # telemetry must not end because one export failed
                log.exception("cannot export metrics")

    def _export(self, meter: Meter) -> None:
        made: list[Metric] = []
        now = time.time_ns()
        meter.read(lambda every: made.extend(_metrics(every, self._started_at, now)))
        if made:
            scope = ScopeMetrics(InstrumentationScope(_SCOPE), made, "")
            self._metrics.export(MetricsData([ResourceMetrics(self._resource, [scope], "")]))


def _metrics(every: Sequence[Series], start: int, now: int) -> list[Metric]:
    """All series as the SDK's data; times are in nanoseconds."""
    return [
        Metric(instrument.name, instrument.help, instrument.unit, _data(instrument, list(group), start, now))
        for instrument, group in groupby(every, key=lambda series: series.instrument)
    ]


def _data(instrument: Instrument, group: list[Series], start: int, now: int) -> Sum | Gauge | Histogram:
    if instrument.kind == "histogram":
        points = [_histogram_point(series, start, now) for series in group]
        return Histogram(points, AggregationTemporality.CUMULATIVE)
    numbers = [NumberDataPoint(_attributes(series), start, now, series.value) for series in group]
    if instrument.kind == "gauge":
        return Gauge(numbers)
    return Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)


def _histogram_point(series: Series, start: int, now: int) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes=_attributes(series),
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(series.counts),
        sum=series.value,
        bucket_counts=list(series.counts),
        explicit_bounds=series.instrument.buckets,
        min=None,  # type: ignore[arg-type] # left out: the encoder knows what the class does not say
        max=None,  # type: ignore[arg-type] # the same
    )


def _attributes(series: Series) -> dict[str, str]:
    return {label: value for label, value in zip(series.instrument.labels, series.labels, strict=True) if value}
