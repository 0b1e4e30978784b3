"""Traces as Jaeger's query service tells of them, for tools that speak its API: Grafana's Jaeger data source above all.

Times are Jaeger's whole microseconds. What OpenTelemetry has and Jaeger has not becomes tags, under the names that
OpenTelemetry's own mapping gives them (`span.kind`, `otel.status_code`, `error`, `otel.scope.name`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from rushes.query.attributes import Attribute, Attributes
from rushes.query.otlp import traces_data
from rushes.query.span_filter import SpanFilter
from rushes.query.traces import SpanRow, Traces
from rushes.store.interface import Param, Store

__all__ = ["Jaeger", "jaeger_trace"]

_US: Final = 1000
_MAX_NAMES: Final = 10_000
# A child may start long after its parent: a job waits in a queue.
_PARENT_BEFORE_S: Final = 86_400

_CALLS: Final = f"""
SELECT caller.service AS parent, callee.service AS child, uniqExact(callee.trace_id, callee.span_id) AS calls
FROM (
  SELECT trace_id, span_id, parent_span_id, service FROM spans
  WHERE parent_span_id != '' AND ts >= fromUnixTimestamp64Nano({{start:Int64}})
    AND ts <= fromUnixTimestamp64Nano({{end:Int64}})
) AS callee INNER JOIN (
  SELECT trace_id, span_id, service FROM spans
  WHERE ts >= fromUnixTimestamp64Nano({{start:Int64}}) - toIntervalSecond({_PARENT_BEFORE_S})
    AND ts <= fromUnixTimestamp64Nano({{end:Int64}})
) AS caller ON callee.trace_id = caller.trace_id AND callee.parent_span_id = caller.span_id
WHERE caller.service != callee.service
GROUP BY parent, child ORDER BY parent, child LIMIT {_MAX_NAMES}"""

# Tags that are no attributes here, and what they mean of a span.
_STATUS_OF: Final = {
    ("error", "true"): "error",
    ("otel.status_code", "ERROR"): "error",
    ("otel.status_code", "OK"): "ok",
}


class Jaeger:
    """Reads spans for Jaeger's API. All methods block."""

    def __init__(self, store: Store, traces: Traces) -> None:
        self._store = store
        self._traces = traces

    def services(self) -> list[str]:
        """The names of all services that have spans."""
        rows = self._store.rows(
            f"SELECT DISTINCT service FROM spans WHERE service != '' ORDER BY service LIMIT {_MAX_NAMES}"
        )
        return [row["service"] for row in rows]

    def operations(self, service: str, kind: str | None = None) -> list[tuple[str, str]]:
        """The names and kinds of a service's spans, perhaps of one kind only ("server")."""
        params: dict[str, Param] = {"service": service, "kind": kind or ""}
        rows = self._store.rows(
            "SELECT DISTINCT name, kind FROM spans WHERE service = {service:String} "
            f"AND {'kind = {kind:String}' if kind else '1'} ORDER BY name, kind LIMIT {_MAX_NAMES}",
            params,
        )
        return [(row["name"], row["kind"] if row["kind"] in _KINDS else "") for row in rows]

    def dependencies(self, start_ns: int, end_ns: int) -> list[tuple[str, str, int]]:
        """Which service called which, and how often, by spans that started in this time."""
        rows = self._store.rows(_CALLS, {"start": start_ns, "end": end_ns})
        return [(row["parent"], row["child"], row["calls"]) for row in rows]

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """One trace, or None when it isn't known."""
        spans = self._traces.get(trace_id)
        return jaeger_trace(spans) if spans else None

    def otlp(self, trace_id: str) -> dict[str, Any] | None:
        """One trace as OTLP's TracesData, or None when it isn't known."""
        spans = self._traces.get(trace_id)
        return traces_data(spans) if spans else None

    def traces(self, trace_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Those of these traces that are known."""
        return [jaeger_trace(spans) for spans in self._traces.get_all(trace_ids).values()]

    def search(
        self,
        service: str,
        operation: str | None = None,
        *,
        tags: dict[str, str],
        times_ns: tuple[int, int],
        durations_ms: tuple[float | None, float | None],
        limit: int,
    ) -> list[dict[str, Any]]:
        """The newest traces with a span of the service that fits everything."""
        status = next((_STATUS_OF[tag] for tag in tags.items() if tag in _STATUS_OF), None)
        rest = [tag for tag in tags.items() if tag not in _STATUS_OF and tag[0] != "span.kind"]
        asked = SpanFilter(
            service=service,
            name=operation,
            kind=tags.get("span.kind"),
            status=status,
            attributes=rest,
            min_duration_ms=durations_ms[0],
            max_duration_ms=durations_ms[1],
            start_ns=times_ns[0],
            end_ns=times_ns[1],
        )
        return self.traces(self._traces.ids(asked, limit=limit))


def jaeger_trace(spans: Sequence[SpanRow]) -> dict[str, Any]:
    """One trace's spans (at least one) as Jaeger's JSON has them."""
    processes: dict[str, dict[str, Any]] = {}
    ids: dict[str, str] = {}
    found = []
    for span in spans:
        key = json.dumps([span.service, span.resource], sort_keys=True)
        process = ids.setdefault(key, f"p{len(ids) + 1}")
        if process not in processes:
            rest = {name: value for name, value in span.resource.items() if name != "service.name"}
            processes[process] = {"serviceName": span.service, "tags": _tags(rest)}
        found.append(_span(span, process))
    return {"traceID": spans[0].trace_id, "spans": found, "processes": processes, "warnings": None}


def _span(span: SpanRow, process: str) -> dict[str, Any]:
    references = []
    if span.parent_span_id:
        references.append(_reference("CHILD_OF", span.trace_id, span.parent_span_id))
    references += [_reference("FOLLOWS_FROM", link["trace_id"], link["span_id"]) for link in span.links]
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": references,
        "startTime": span.start_ns // _US,
        "duration": span.duration_ns // _US,
        "tags": _tags(span.attributes | _as_tags(span)),
        "logs": [
            {
                "timestamp": event["time_ns"] // _US,
                "fields": _tags({"event": event["name"], **event["attributes"]}),
            }
            for event in span.events
        ],
        "processID": process,
        "warnings": None,
    }


def _reference(kind: str, trace_id: str, span_id: str) -> dict[str, str]:
    return {"refType": kind, "traceID": trace_id, "spanID": span_id}


_KINDS: Final = ("internal", "server", "client", "producer", "consumer")


def _as_tags(span: SpanRow) -> Attributes:
    """What a span says outside its attributes."""
    found: Attributes = {}
    if span.scope_name:
        found["otel.scope.name"] = span.scope_name
    if span.scope_version:
        found["otel.scope.version"] = span.scope_version
    if span.kind in _KINDS:
        found["span.kind"] = span.kind
    if span.status != "unset":
        found["otel.status_code"] = span.status.upper()
    if span.status == "error":
        found["error"] = True
    if span.status_message:
        found["otel.status_description"] = span.status_message
    if span.trace_state:
        found["w3c.tracestate"] = span.trace_state
    return found


def _tags(attributes: Attributes) -> list[dict[str, Any]]:
    return [_tag(key, value) for key, value in attributes.items()]


def _tag(key: str, value: Attribute) -> dict[str, Any]:
    match value:
        case bool():
            kind = "bool"
        case int():
            kind = "int64"
        case float():
            kind = "float64"
        case str():
            kind = "string"
        case _:
            kind, value = "string", json.dumps(value, ensure_ascii=False)
    return {"key": key, "type": kind, "value": value}
