"""Which requests are traced, by the caller's `traceparent` and the sampler."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from monitoring.tracing import Request, Sampler, SamplerName

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traced(sampler: SamplerName, share: float, traceparent: str | None) -> bool:
    """Whether one request is traced."""
    return Request(traceparent, "GET", Sampler(sampler, share), TracerProvider().get_tracer("t")).span is not None


@pytest.mark.parametrize(
    ("sampler", "alone", "caller_traced", "caller_not_traced"),
    [
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
    ],
)
def test_samplers_do_as_those_of_the_same_names(
    sampler: SamplerName, *, alone: bool, caller_traced: bool, caller_not_traced: bool
) -> None:
    """Those that are `parentbased` follow the caller; without a caller, or else, their rule holds."""
    assert traced(sampler, 0.5, None) is alone
    assert traced(sampler, 0.5, f"00-{TRACE}-{PARENT}-01") is caller_traced
    assert traced(sampler, 0.5, f"00-{TRACE}-{PARENT}-00") is caller_not_traced


def test_a_share_is_taken_by_the_trace_id() -> None:
    """Of 20,000 ids a share of 0.2 is taken, within 6 standard deviations (false alarm 2e-9), each always alike."""
    sampler = Sampler("traceidratio", 0.2)
    ids = [int(Request(None, "GET", None, None).trace_id, 16) for _ in range(20_000)]
    taken = [sampler.takes(i, parent=None) for i in ids]
    assert abs(sum(taken) / 20_000 - 0.2) < 6 * (0.2 * 0.8 / 20_000) ** 0.5
    assert taken == [sampler.takes(i, parent=True) for i in ids]
    assert not any(Sampler("traceidratio", 0.0).takes(i, parent=None) for i in ids)
    assert all(Sampler("traceidratio", 1.0).takes(i, parent=None) for i in ids)


@pytest.mark.parametrize("more", ["", "-what-a-later-version-adds"])
def test_the_callers_trace_goes_on(more: str) -> None:
    """Trace and parent are those of the header, whether or not the request is traced."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    version = "01" if more else "00"
    sampler = Sampler("parentbased_always_off", 0.0)
    request = Request(f"{version}-{TRACE}-{PARENT}-01{more}", "GET", sampler, provider.get_tracer("t"))
    request.child("work", request.began, {})
    request.child("work", request.began, {})
    request.end("/route", 200, {})
    child, server = exporter.get_finished_spans()
    assert request.trace_id == TRACE
    assert server.parent is not None
    assert child.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT
    assert child.parent == server.get_span_context()
    assert (child.name, server.name) == ("work", "GET /route")
    assert (server.start_time or 0) <= (child.start_time or 0) <= (child.end_time or 0) <= (server.end_time or 0)
    assert Request(f"00-{TRACE}-{PARENT}-00", "GET", None, None).trace_id == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_a_header_that_is_none_is_left_aside(header: str) -> None:
    """What breaks W3C's rules starts a new trace, with an id of its own."""
    request = Request(header, "GET", None, None)
    assert request.trace_id != TRACE
    assert len(request.trace_id) == 32
    assert request.trace_id != Request(header, "GET", None, None).trace_id


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    """Clients send anything."""
    assert len(Request(header, "GET", None, None).trace_id) == 32
