"""Spans that are over when they are written: a third of the time that a live span's life takes.

OpenTelemetry makes a span to be changed by several threads until it ends: with locks, a copy at its end, and a turn
for every processor at its beginning. A denoising step's span is known whole, and there are many. Where this process's
provider is our own, and none of its processors does anything at a span's beginning, such a span is handed to them as
they would have got it at its end; the sampler is asked as ever. In all other cases it takes the usual way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from rushes.sdk.accounting import AccountedSpans

__all__ = ["SCOPE", "Tracers"]

SCOPE: Final = "rushes"  # the instrumentation scope of all that Rushes writes
# Processors that do nothing at a span's beginning.
_PASSIVE: Final = (AccountedSpans, BatchSpanProcessor, SimpleSpanProcessor)


class Tracers(TracerProvider):
    """The provider that Rushes sets where there is none."""

    def __init__(self, resource: Resource, id_generator: IdGenerator) -> None:
        limits = SpanLimits()
        self._processors = SynchronousMultiSpanProcessor()
        self._scope = InstrumentationScope(SCOPE, "")
        # Texts are cut to these where OpenTelemetry's variables say so; that is left to it.
        self._simple = limits.max_attribute_length is None and limits.max_span_attribute_length is None
        super().__init__(
            resource=resource,
            id_generator=id_generator,
            shutdown_on_exit=False,
            active_span_processor=self._processors,
            span_limits=limits,
        )
        # OpenTelemetry's default: whoever has a sampled parent is sampled. It need not be asked each time.
        described = self.sampler.get_description()
        self._follows = type(self.sampler) is ParentBased and all(
            f"{whose}ParentSampled:AlwaysOnSampler" in described for whose in ("local", "remote")
        )
        self._simple = self._simple and not isinstance(self.get_tracer(SCOPE), otel.NoOpTracer)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """As OpenTelemetry's; one that wants to see spans begin makes all spans take the usual way."""
        if type(span_processor) not in _PASSIVE:
            self._simple = False
        super().add_span_processor(span_processor)

    def write(
        self,
        name: str,
        context: Context | None,
        start_ns: int,
        end_ns: int,
        attributes: Mapping[str, Any] | None,
    ) -> otel.Span | None:
        """Writes a span that is over, and gives what stands for it as a parent; None where it must take the usual way.

        Values of attributes are texts, numbers, or sequences of them, as OpenTelemetry demands; nothing else comes
        from the catalog's spans.
        """
        parent = otel.get_current_span(context).get_span_context()
        if not self._simple or not parent.is_valid:
            return None
        given = attributes
        state: otel.TraceState | None = parent.trace_state
        if not (self._follows and parent.trace_flags.sampled):
            sampled = self.sampler.should_sample(
                context, parent.trace_id, name, otel.SpanKind.INTERNAL, attributes, ()
            )
            if sampled.decision is not Decision.RECORD_AND_SAMPLE:
                return None
            state, given = sampled.trace_state, sampled.attributes
        own = otel.SpanContext(
            parent.trace_id,
            self.id_generator.generate_span_id(),
            is_remote=False,
            trace_flags=otel.TraceFlags(parent.trace_flags | otel.TraceFlags.SAMPLED),
            trace_state=state,
        )
        self._processors.on_end(
            ReadableSpan(
                name=name,
                context=own,
                parent=parent,
                resource=self.resource,
                attributes={
                    key: tuple(value) if type(value) is list else value
                    for key, value in (given or {}).items()
                },
                kind=otel.SpanKind.INTERNAL,
                start_time=start_ns,
                end_time=end_ns,
                instrumentation_scope=self._scope,
            )
        )
        return otel.NonRecordingSpan(own)
