"""A process's telemetry: the one place where meter, tracing and sinks are put together, after the fork."""

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from monitoring import exposition
from monitoring.exposition import MetricFiles, Totals
from monitoring.instruments import Instrument
from monitoring.logs import RequestLog
from monitoring.meter import Meter
from monitoring.otlp import Otlp
from monitoring.requests import RequestHook
from monitoring.tracing import CURRENT, Sampler, SamplerName

if TYPE_CHECKING:  # these exist for type checkers only
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Telemetry", "TelemetryOptions"]

log = logging.getLogger(__name__)

_TICK_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class TelemetryOptions:
    """Which sinks a process has.

    Attributes:
        metrics_folder: where processes of this machine keep their metrics for `/metrics`; None: nowhere.
        request_log: whether each request is a line of the log.
        otlp: whether an OpenTelemetry collector gets traces, metrics and events.
        service: the service's name there.
        sampler: which requests are traced.
        sampled_share: of `traceidratio` samplers.
        export_interval_s: between two exports of metrics.
    """

    metrics_folder: Path | None = None
    request_log: bool = False
    otlp: bool = False
    service: str = "croupier"
    sampler: SamplerName = "parentbased_traceidratio"
    sampled_share: float = 0.01
    export_interval_s: float = 60.0


class Telemetry:
    """What a process tells of itself. With no sink it tells nothing, and costs nothing.

    Args:
        options: which sinks there are.
        role: which process this is: web, learner, monitor.
    """

    def __init__(self, options: TelemetryOptions, role: str) -> None:
        self._folder = options.metrics_folder
        self._files = None if self._folder is None else _files_in(self._folder, role)
        self._otlp = None
        if options.otlp:
            slot = self._files.slot if self._files else f"{role}-{os.getpid()}"
            instance = f"{socket.gethostname()}/{slot}"
            self._otlp = Otlp(options.service, instance, interval_s=options.export_interval_s)
        self._sampler = Sampler(options.sampler, options.sampled_share) if options.otlp else None
        self._log = RequestLog(role, sys.stderr) if options.request_log else None
        self.meter = Meter(enabled=bool(self._files or self._otlp))
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def none(cls) -> "Telemetry":
        """No telemetry."""
        return cls(TelemetryOptions(), "none")

    def start(self) -> None:
        """Begins to write and send what is noted."""
        if self._otlp:
            self._otlp.start(self.meter)
        if self._files or self._log:
            self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Writes and sends what is left."""
        self._stopping.set()
        if self._thread:
            self._thread.join(1)
        self.flush()
        if self._otlp:
            self._otlp.close(self.meter)
        if self._files:
            self._files.close()

    def flush(self) -> None:
        """Writes what was noted to the log and to the files of `/metrics`."""
        if self._log:
            self._log.write()
        if self._files:
            files = self._files
            self.meter.read(lambda every: files.write(every, time.time()))

    def totals(self, instruments: Sequence[Instrument]) -> dict[str, Totals] | None:
        """What all processes of this machine have counted, see `exposition.totals`; None: it is off."""
        return None if self._files is None or self._folder is None else exposition.totals(self._folder, instruments)

    def processes(self) -> list[str] | None:
        """The processes of this machine that run, see `exposition.alive`; None: nobody knows."""
        return None if self._files is None or self._folder is None else exposition.alive(self._folder)

    def exposition(self) -> bytes | None:
        """The metrics of all processes of this machine, in Prometheus' text format; None: they are not kept."""
        if self._folder is None or self._files is None:
            return None
        self.flush()
        return exposition.render(self._folder)

    def watch(self, application: "WSGIApplication") -> "WSGIApplication":
        """The application, with its requests watched if anybody wants to know."""
        if not (self._files or self._otlp or self._log):
            return application
        tracer = self._otlp.tracer if self._otlp else None
        return RequestHook(application, self.meter, self._log, self._sampler, tracer)

    def event(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Sends an event of the request that is being answered, if it is traced."""
        request = CURRENT.get()
        if self._otlp and request and request.span:
            self._otlp.emit(name, request.span, attributes)

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_S):
            try:
                self.flush()
            except Exception:  # a full disk, say, must not end it for ever
                log.exception("cannot write telemetry")


def _files_in(folder: Path, role: str) -> MetricFiles | None:
    """The process's files for `/metrics`. That they cannot be made is no reason not to serve."""
    try:
        return MetricFiles(folder, role)
    except OSError as error:
        log.error("no metrics of this process: %s", error)  # noqa: TRY400 - the message says it all
        return None
