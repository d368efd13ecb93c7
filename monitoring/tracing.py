"""Which requests are traced, and the spans of those that are.

Whether a request is traced is decided before any span is made, from the caller's `traceparent` (W3C Trace Context) or
by a draw: of 100 requests 99 cost no more than that. A traced request has at most three spans: its own, and the first
of each kind of work within it.
"""

import random
import re
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Literal, get_args

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

__all__ = ["CURRENT", "SAMPLERS", "Request", "Sampler", "SamplerName", "trace_id_now"]

# Version 00 ends after the flags, later ones may go on; an id of zeros is none.
_PARENT: Final = re.compile(
    r"(?:00(?=.{53}\Z)|(?!00|ff)[0-9a-f]{2})-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED: Final = 0x01

SamplerName = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
SAMPLERS: Final[tuple[str, ...]] = get_args(SamplerName)

# The request that this thread or greenlet is answering.
CURRENT: ContextVar["Request | None"] = ContextVar("croupier_request", default=None)


class Sampler:
    """Decides which requests are traced, as OpenTelemetry's samplers of the same names do.

    Args:
        name: `parentbased_` ones do as the caller did; without a caller, or else, all, none or a share of requests.
        share: of `traceidratio`, 0 to 1.
    """

    def __init__(self, name: SamplerName, share: float) -> None:
        self._follows = name.startswith("parentbased_")
        rule = name.removeprefix("parentbased_")
        self._bound = round({"always_on": 1.0, "always_off": 0.0}.get(rule, share) * 2**64)

    def takes(self, trace_id: int, *, parent: bool | None) -> bool:
        """Whether to trace a request; `parent` says whether its caller is traced, None that it has none.

        The lower half of the trace id is as good as a draw, and other services that look at it agree.
        """
        if parent is not None and self._follows:
            return parent
        return trace_id & 0xFFFFFFFFFFFFFFFF < self._bound


class Request:
    """A request that is being answered.

    Args:
        traceparent: what the caller sent, if anything.
        method: of HTTP.
        sampler: None: nothing is traced.
        tracer: makes the spans.
    """

    __slots__ = ("_names", "_tracer", "began", "began_at", "experiment", "method", "span", "trace_id")

    def __init__(self, traceparent: str | None, method: str, sampler: Sampler | None, tracer: Tracer | None) -> None:
        self.began = time.perf_counter()
        self.began_at = time.time_ns()
        self.method = method
        self.experiment: str | None = None
        self.span: Span | None = None
        self._tracer = tracer
        self._names: tuple[str, ...] = ()
        parent = None if traceparent is None else _PARENT.fullmatch(traceparent)
        trace_id = random.getrandbits(128) or 1 if parent is None else int(parent[1], 16)
        is_parent_traced = None if parent is None else bool(int(parent[3], 16) & _SAMPLED)
        if sampler and tracer and sampler.takes(trace_id, parent=is_parent_traced):
            self.span = self._start(parent, tracer)
            trace_id = self.span.get_span_context().trace_id
        self.trace_id = f"{trace_id:032x}"

    def child(self, name: str, began: float, attributes: Mapping[str, Any], *, failed: bool = False) -> None:
        """A span, if this request is traced, of work that ends now; of several of one name only the first.

        Args:
            name: of the work.
            began: `time.perf_counter()` when it began.
            attributes: of the span.
            failed: whether it went wrong.
        """
        if self.span is None or self._tracer is None or name in self._names:
            return
        self._names += (name,)
        context = trace.set_span_in_context(self.span)
        span = self._tracer.start_span(name, context, attributes=dict(attributes), start_time=self._at(began))
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(self._at(time.perf_counter()))

    def end(self, route: str, status: int, attributes: Mapping[str, Any]) -> None:
        """Ends its span, if there is one."""
        if self.span is None:
            return
        self.span.update_name(f"{self.method} {route}".rstrip())
        self.span.set_attributes(dict(attributes))
        if status >= 500:
            self.span.set_status(Status(StatusCode.ERROR))
        self.span.end(self._at(time.perf_counter()))

    def _start(self, parent: re.Match[str] | None, tracer: Tracer) -> Span:
        context = None
        if parent is not None:
            remote = SpanContext(
                int(parent[1], 16), int(parent[2], 16), is_remote=True, trace_flags=TraceFlags(_SAMPLED)
            )
            context = trace.set_span_in_context(NonRecordingSpan(remote))
        return tracer.start_span(self.method, context, SpanKind.SERVER, start_time=self.began_at)

    def _at(self, moment: float) -> int:
        """A reading of the performance counter, as nanoseconds since 1970."""
        return self.began_at + round((moment - self.began) * 1e9)


def trace_id_now() -> str | None:
    """The trace id of the request that is being answered, 32 hexadecimal digits."""
    request = CURRENT.get()
    return None if request is None else request.trace_id
