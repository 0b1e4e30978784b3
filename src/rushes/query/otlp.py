"""Spans as OTLP/JSON has them: hex ids, 64-bit integers as strings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rushes.query.attributes import Attributes

if TYPE_CHECKING:
    from rushes.query.traces import SpanRow

__all__ = ["traces_data"]

_KINDS: Final = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES: Final = {"unset": 0, "ok": 1, "error": 2}


def traces_data(spans: Sequence[SpanRow]) -> dict[str, Any]:
    """OTLP's TracesData of these spans, grouped by resource and scope."""
    resources: dict[str, tuple[Attributes, dict[tuple[str, str], list[dict[str, Any]]]]] = {}
    for span in spans:
        key = json.dumps(span.resource, sort_keys=True)
        _, scopes = resources.setdefault(key, (span.resource, {}))
        scopes.setdefault((span.scope_name, span.scope_version), []).append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [
                    {"scope": {"name": name, "version": version}, "spans": of_scope}
                    for (name, version), of_scope in scopes.items()
                ],
            }
            for resource, scopes in resources.values()
        ]
    }


def _span(row: SpanRow) -> dict[str, Any]:
    span: dict[str, Any] = {
        "traceId": row.trace_id,
        "spanId": row.span_id,
        "name": row.name,
        "kind": _KINDS.get(row.kind, 0),
        "startTimeUnixNano": str(row.start_ns),
        "endTimeUnixNano": str(row.start_ns + row.duration_ns),
        "attributes": _attributes(row.attributes),
        "status": {"code": _STATUSES.get(row.status, 0)},
    }
    if row.parent_span_id:
        span["parentSpanId"] = row.parent_span_id
    if row.trace_state:
        span["traceState"] = row.trace_state
    if row.status_message:
        span["status"]["message"] = row.status_message
    if row.events:
        span["events"] = [
            {
                "timeUnixNano": str(event["time_ns"]),
                "name": event["name"],
                "attributes": _attributes(event["attributes"]),
            }
            for event in row.events
        ]
    if row.links:
        span["links"] = [
            {
                "traceId": link["trace_id"],
                "spanId": link["span_id"],
                "attributes": _attributes(link["attributes"]),
            }
            for link in row.links
        ]
    return span


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case None:
            typed: dict[str, Any] = {}
        case bool():
            typed = {"boolValue": value}
        case int():
            typed = {"intValue": str(value)}
        case float():
            typed = {"doubleValue": value}
        case list():
            typed = {"arrayValue": {"values": [_value(item) for item in value]}}
        case dict():
            typed = {"kvlistValue": {"values": _attributes(value)}}
        case _:
            typed = {"stringValue": str(value)}
    return typed
