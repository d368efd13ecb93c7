"""Watches HTTP requests from outside the application: WSGI, whatever answers inside.

What it notes is named by OpenTelemetry's semantic conventions for HTTP servers. The packaged instrumentation for Flask
would cost several times as much (docs/adr/0009), and would not see the routes that are answered without Flask.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Tracer

from monitoring.instruments import ACTIVE_REQUESTS, REQUEST_DURATION
from monitoring.logs import RequestLog
from monitoring.meter import Meter
from monitoring.tracing import CURRENT, Request, Sampler

if TYPE_CHECKING:  # these exist for type checkers only
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ROUTE", "RequestHook"]

# Where the application says which of its routes it was: a template, so that there are few of them.
ROUTE: Final = "croupier.route"
_METHODS: Final = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


class RequestHook:
    """WSGI middleware: a duration, a log line, and for some a span, of each request.

    A request ends when the application has returned its answer; a streamed body is not waited for.

    Args:
        application: what answers.
        meter: takes the durations.
        log: takes a line a request; None: there is none.
        sampler: which requests are traced; None: none.
        tracer: makes their spans.
    """

    def __init__(
        self,
        application: "WSGIApplication",
        meter: Meter,
        log: RequestLog | None,
        sampler: Sampler | None,
        tracer: Tracer | None,
    ) -> None:
        self._application = application
        self._meter = meter
        self._log = log
        self._sampler = sampler
        self._tracer = tracer
        self._active = 0
        meter.ask(lambda: meter.add(ACTIVE_REQUESTS, (), self._active))

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One request."""
        method = environ["REQUEST_METHOD"]
        if method not in _METHODS:
            method = "_OTHER"
        request = Request(environ.get("HTTP_TRACEPARENT"), method, self._sampler, self._tracer)
        status = "500"

        def noting_status(line: str, headers: list[tuple[str, str]], *rest: Any) -> Callable[[bytes], object]:  # noqa: ANN401 - WSGI
            nonlocal status
            status = line[:3]
            return start_response(line, headers, *rest)

        outer = CURRENT.set(request)
        self._active += 1
        try:
            return self._application(environ, noting_status)
        finally:
            self._active -= 1
            CURRENT.reset(outer)
            self._note(environ, request, status)

    def _note(self, environ: "WSGIEnvironment", request: Request, status: str) -> None:
        duration = time.perf_counter() - request.began
        route = environ.get(ROUTE, "")
        self._meter.add(REQUEST_DURATION, (request.method, route, status), duration)
        if self._log is not None:
            self._log.add(request, route, status, duration)
        if request.span is not None:
            request.end(route, int(status), _attributes(environ, route, int(status)))


def _attributes(environ: "WSGIEnvironment", route: str, status: int) -> dict[str, Any]:
    """The attributes of a server span, by the semantic conventions. The query may hold anything: it is left out."""
    attributes: dict[str, Any] = {
        "http.request.method": environ["REQUEST_METHOD"],
        "http.response.status_code": status,
        "url.path": environ["PATH_INFO"],
        "url.scheme": environ.get("wsgi.url_scheme", "http"),
        "server.address": environ.get("SERVER_NAME", ""),
        "client.address": environ.get("REMOTE_ADDR", ""),
        "user_agent.original": environ.get("HTTP_USER_AGENT", ""),
    }
    if route:
        attributes["http.route"] = route
    if status >= 500:
        attributes["error.type"] = str(status)
    return attributes
