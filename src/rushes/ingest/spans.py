"""Spans: OTLP's messages into the columns of `spans`."""

from __future__ import annotations

import json
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from rushes.ingest.attributes import origin, split, typed_json
from rushes.ingest.columns import Clockwork, Columns
from rushes.ingest.limits import Limits
from rushes.ingest.stats import Reason, Refusals

__all__ = ["span_columns"]

_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES: Final = ("unset", "ok", "error")
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8


def span_columns(
    request: ExportTraceServiceRequest, clock: Clockwork, limits: Limits, refusals: Refusals
) -> tuple[Columns, set[str]]:
    """The request's acceptable spans, and the ids of their traces."""
    columns = Columns("spans")
    traces: set[str] = set()
    for of_resource in request.resource_spans:
        service, resource, resource_json = origin(of_resource.resource, limits, refusals)
        for of_scope in of_resource.scope_spans:
            scope = of_scope.scope
            for span in of_scope.spans:
                complaint = _complaint(span, clock)
                if complaint is not None:
                    refusals.refuse(complaint)
                    continue
                trace_id = span.trace_id.hex()
                traces.add(trace_id)
                attributes, typed = split(span.attributes, limits, refusals)
                start = span.start_time_unix_nano
                columns.append(
                    (
                        start,
                        trace_id,
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.trace_state[: limits.value_length],
                        span.name[: limits.value_length],
                        _KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else _KINDS[0],
                        service,
                        span.end_time_unix_nano - start,
                        _STATUSES[span.status.code]
                        if 0 <= span.status.code < len(_STATUSES)
                        else _STATUSES[0],
                        span.status.message[: limits.value_length],
                        attributes,
                        typed_json(typed),
                        resource,
                        resource_json,
                        scope.name,
                        scope.version,
                        _events(span, limits, refusals) if span.events else "",
                        _links(span, limits, refusals) if span.links else "",
                    )
                )
    return columns, traces


def _complaint(span: Span, clock: Clockwork) -> Reason | None:
    if len(span.trace_id) != _TRACE_ID_BYTES or not any(span.trace_id):
        return Reason("bad_trace_id", "trace id is not 16 bytes with one that isn't zero")
    if len(span.span_id) != _SPAN_ID_BYTES or not any(span.span_id):
        return Reason("bad_span_id", "span id is not 8 bytes with one that isn't zero")
    if len(span.parent_span_id) not in (0, _SPAN_ID_BYTES):
        return Reason("bad_span_id", "parent span id is not 8 bytes")
    if span.end_time_unix_nano < span.start_time_unix_nano:
        return Reason("negative_duration", "span ends before it starts")
    return clock.complaint(span.start_time_unix_nano) or clock.complaint(span.end_time_unix_nano)


def _events(span: Span, limits: Limits, refusals: Refusals) -> str:
    refusals.cut += max(0, len(span.events) - limits.attributes)
    return _dumped(
        {
            "name": event.name[: limits.value_length],
            "time_ns": event.time_unix_nano,
            "attributes": _merged(event.attributes, limits, refusals),
        }
        for event in span.events[: limits.attributes]
    )


def _links(span: Span, limits: Limits, refusals: Refusals) -> str:
    refusals.cut += max(0, len(span.links) - limits.attributes)
    return _dumped(
        {
            "trace_id": link.trace_id.hex(),
            "span_id": link.span_id.hex(),
            "attributes": _merged(link.attributes, limits, refusals),
        }
        for link in span.links[: limits.attributes]
    )


def _merged(attributes: Any, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    strings, typed = split(attributes, limits, refusals)
    return strings | typed


def _dumped(items: Any) -> str:
    return json.dumps(list(items), separators=(",", ":"), ensure_ascii=False)
