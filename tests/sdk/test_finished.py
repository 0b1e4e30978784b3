"""Spans written when they are over: the same as those that took OpenTelemetry's usual way, or they take it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

from recording import Recorded
from rushes.sdk import instruments
from rushes.sdk.finished import SCOPE, Tracers
from rushes.sdk.instrument_types import Histogram

ATTRIBUTES: dict[str, Any] = {
    "step": 3,
    "step_duration_ms": 1.5,
    "rushes.clock": "host",
    "rushes.pass_names": ["a", "b"],
}


def provider() -> tuple[Tracers, InMemorySpanExporter]:
    spans = InMemorySpanExporter()
    tracers = Tracers(Resource.create({"service.name": "test"}), RandomIdGenerator())
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    return tracers, spans


def under(span: otel.Span) -> Context:
    return otel.set_span_in_context(span)


def shape(span: ReadableSpan) -> dict[str, Any]:
    """All that is sent of a span but its own id."""
    found = json.loads(span.to_json())
    found["context"].pop("span_id")
    assert span.instrumentation_scope is not None
    return {**found, "scope": span.instrumentation_scope.name}


def test_it_is_what_a_live_span_would_have_been() -> None:
    tracers, spans = provider()
    root = tracers.get_tracer(SCOPE).start_span("root")
    written = tracers.write("step_3", under(root), 1_000, 3_000, ATTRIBUTES)
    assert written is not None
    live = tracers.get_tracer(SCOPE).start_span(
        "step_3", context=under(root), start_time=1_000, attributes=ATTRIBUTES
    )
    live.end(3_000)
    ours, theirs = spans.get_finished_spans()
    assert shape(ours) == shape(theirs)
    assert ours.get_span_context() == written.get_span_context()
    encoded = [
        span for group in encode_spans([ours, theirs]).resource_spans[0].scope_spans for span in group.spans
    ]
    for one in encoded:
        one.span_id = b""
    assert encoded[0] == encoded[1]


def test_children_of_one_are_its_children() -> None:
    tracers, spans = provider()
    root = tracers.get_tracer(SCOPE).start_span("root")
    step = tracers.write("step_1", under(root), 1, 2, None)
    assert step is not None
    assert tracers.write("ffn", under(step), 1, 2, None) is not None
    tracers.get_tracer(SCOPE).start_span("other", context=under(step)).end()
    for child in spans.get_finished_spans()[1:]:
        assert child.parent == step.get_span_context()


def test_the_sampler_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    tracers, spans = provider()
    root = tracers.get_tracer(SCOPE).start_span("root")
    assert tracers.write("step_1", under(root), 1, 2, None) is None
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    tracers, spans = provider()
    chosen = otel.SpanContext(1, 2, is_remote=False, trace_flags=otel.TraceFlags(1))
    assert tracers.write("step_1", under(otel.NonRecordingSpan(chosen)), 1, 2, None) is None
    assert spans.get_finished_spans() == ()


def test_a_root_takes_the_usual_way() -> None:
    tracers, spans = provider()
    assert tracers.write("step_1", Context(), 1, 2, None) is None
    assert spans.get_finished_spans() == ()


class Marking(SpanProcessor):
    """One that does something when a span begins."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.set_attribute("tenant", "t")


@pytest.mark.parametrize("why", ["processor", "limit", "disabled"])
def test_what_only_a_live_span_can_do_is_left_to_it(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "limit":
        monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "2")
    if why == "disabled":
        monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    tracers, _ = provider()
    if why == "processor":
        tracers.add_span_processor(Marking())
    chosen = otel.SpanContext(1, 2, is_remote=False, trace_flags=otel.TraceFlags(1))
    assert tracers.write("step_1", under(otel.NonRecordingSpan(chosen)), 1, 2, None) is None


def test_a_bound_histogram_records_as_the_histogram_does(recorded: Recorded) -> None:
    histogram = instruments.get("vae_decode_duration_seconds")
    assert isinstance(histogram, Histogram)
    bound = histogram.bound(model="BOUND")
    bound(0.5)
    bound(1.5, context=Context())
    counts: Sequence[float] = [
        n for s, n in recorded.metrics("vae_decode_duration_seconds_count").items() if "BOUND" in s
    ]
    assert counts == [2]
