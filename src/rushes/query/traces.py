"""Traces out of the store: one by its id, a list by what its spans are like, one as OTLP/JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rushes.query.attributes import Attributes, joined
from rushes.store.interface import Param, Row, Store

__all__ = ["TRACE_STATUSES", "SpanRow", "TraceSummary", "Traces"]

TRACE_STATUSES: Final = ("unset", "ok", "error")

_MAX_SPANS: Final = 50_000
_NS: Final = 1_000_000_000
_LONGEST_MS: Final = 1e13  # 300 years, more than nanoseconds since the epoch can span
# Newest first without reading everything: most lists are filled by the last hour.
_WINDOWS_S: Final = (3_600, 86_400)

_COLUMNS: Final = """
  trace_id, span_id, parent_span_id, name, service, kind, toUnixTimestamp64Nano(ts) AS start_ns, duration,
  status, status_message, attributes, attributes_typed, resource, resource_typed, events, links,
  trace_state, scope_name, scope_version"""

_ONE: Final = f"""
SELECT {_COLUMNS} FROM spans WHERE trace_id = {{trace_id:String}}
ORDER BY ts, parent_span_id != '', span_id LIMIT 1 BY span_id LIMIT {_MAX_SPANS}"""


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One span. Times are nanoseconds since the epoch, `status` is "unset", "ok" or "error".

    `events` are dicts of `name`, `time_ns` and `attributes`.
    """

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    service: str
    kind: str
    start_ns: int
    duration_ns: int
    status: str
    status_message: str
    attributes: Attributes
    resource: Attributes
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace in a list. `status` is "error" if any span failed, else its root's ("" fields: not known)."""

    trace_id: str
    root_name: str
    service: str
    start_ns: int
    duration_ns: int
    span_count: int
    status: str
    request_id: str
    model: str
    tier: str


class Traces:
    """Reads spans. All methods block.

    Args:
        store: where the spans are.
        clock_ns: nanoseconds since the epoch, now.
    """

    def __init__(self, store: Store, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock_ns = clock_ns

    def get(self, trace_id: str) -> list[SpanRow]:
        """The trace's spans by start time, empty when it isn't known."""
        return [_span(row) for row in self._rows(trace_id)]

    def search(
        self,
        service: str | None = None,
        name: str | None = None,
        min_duration_ms: float | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> list[TraceSummary]:
        """Traces with a span that fits all the given conditions, newest first.

        Args:
            service: the span's service.
            name: the span's name.
            min_duration_ms: the span took at least so many milliseconds.
            status: one of TRACE_STATUSES.
            limit: at most so many traces.
        """
        where, params = _conditions(service, name, min_duration_ms, status)
        now_s = self._clock_ns() // _NS
        ids: list[str] = []
        for since in (*(now_s - window for window in _WINDOWS_S), None):
            recent = "" if since is None else " AND ts >= toDateTime({since:Int64})"
            # Joined to the root's place in time: a trace is as new as its newest fitting span.
            rows = self._store.rows(
                f"SELECT trace_id FROM spans WHERE {where}{recent} "
                "GROUP BY trace_id ORDER BY max(ts) DESC, trace_id LIMIT {limit:UInt32}",
                params | {"limit": limit} | ({} if since is None else {"since": since}),
            )
            ids = [row["trace_id"] for row in rows]
            if len(ids) >= limit:
                break
        return self._summaries(ids)

    def otlp_json(self, trace_id: str) -> dict[str, Any]:
        """The trace as OTLP/JSON has it: hex ids, 64-bit integers as strings; no spans when unknown."""
        resources: dict[str, dict[str, Any]] = {}
        for row in self._rows(trace_id):
            resource = joined(row["resource"], row["resource_typed"])
            key = json.dumps(resource, sort_keys=True)
            by_resource = resources.setdefault(key, {"resource": resource, "scopes": {}})
            scope = (row["scope_name"], row["scope_version"])
            by_resource["scopes"].setdefault(scope, []).append(_otlp_span(row))
        return {
            "resourceSpans": [
                {
                    "resource": {"attributes": _otlp_attributes(entry["resource"])},
                    "scopeSpans": [
                        {"scope": {"name": name, "version": version}, "spans": spans}
                        for (name, version), spans in entry["scopes"].items()
                    ],
                }
                for entry in resources.values()
            ]
        }

    def _rows(self, trace_id: str) -> list[Row]:
        return self._store.rows(_ONE, {"trace_id": trace_id.lower()})

    def _summaries(self, ids: list[str]) -> list[TraceSummary]:
        if not ids:
            return []
        rows = self._store.rows(
            """
            SELECT trace_id,
              argMin(name, (parent_span_id != '', ts)) AS root_name,
              argMin(service, (parent_span_id != '', ts)) AS root_service,
              argMin(status, (parent_span_id != '', ts)) AS root_status,
              argMin(duration, (parent_span_id != '', ts)) AS root_duration,
              countIf(parent_span_id = '') AS roots,
              min(toUnixTimestamp64Nano(ts)) AS start_ns,
              max(toUnixTimestamp64Nano(ts) + duration) AS end_ns,
              uniqExact(span_id) AS spans,
              countIf(status = 'error') AS errors,
              anyIf(attributes['request_id'], attributes['request_id'] != '') AS request_id,
              argMinIf(attributes['model'], (parent_span_id != '', ts), attributes['model'] != '') AS model,
              argMinIf(attributes['tier'], (parent_span_id != '', ts), attributes['tier'] != '') AS tier
            FROM spans WHERE trace_id IN {ids:Array(String)} GROUP BY trace_id""",
            {"ids": ids},
        )
        found = {row["trace_id"]: _summary(row) for row in rows}
        # A span can be dropped by retention between the two statements.
        return sorted((found[each] for each in ids if each in found), key=lambda one: -one.start_ns)


def _conditions(
    service: str | None, name: str | None, min_duration_ms: float | None, status: str | None
) -> tuple[str, dict[str, Param]]:
    where, params = ["trace_id != ''"], dict[str, Param]()
    if service is not None:
        where.append("service = {service:String}")
        params["service"] = service
    if name is not None:
        where.append("name = {name:String}")
        params["name"] = name
    if min_duration_ms is not None:
        where.append("duration >= {shortest:UInt64}")
        params["shortest"] = round(min(max(0.0, min_duration_ms), _LONGEST_MS) * 1e6)
    if status is not None:
        where.append("status = {status:String}")
        params["status"] = status
    return " AND ".join(where), params


def _summary(row: Row) -> TraceSummary:
    whole = row["root_duration"] if row["roots"] else row["end_ns"] - row["start_ns"]
    return TraceSummary(
        trace_id=row["trace_id"],
        root_name=row["root_name"],
        service=row["root_service"],
        start_ns=row["start_ns"],
        duration_ns=whole,
        span_count=row["spans"],
        status="error" if row["errors"] else row["root_status"],
        request_id=row["request_id"],
        model=row["model"],
        tier=row["tier"],
    )


def _span(row: Row) -> SpanRow:
    return SpanRow(
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"],
        name=row["name"],
        service=row["service"],
        kind=row["kind"],
        start_ns=row["start_ns"],
        duration_ns=row["duration"],
        status=row["status"],
        status_message=row["status_message"],
        attributes=joined(row["attributes"], row["attributes_typed"]),
        resource=joined(row["resource"], row["resource_typed"]),
        events=json.loads(row["events"]) if row["events"] else [],
    )


_KINDS: Final = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES: Final = {status: code for code, status in enumerate(TRACE_STATUSES)}


def _otlp_span(row: Row) -> dict[str, Any]:
    start: int = row["start_ns"]
    span: dict[str, Any] = {
        "traceId": row["trace_id"],
        "spanId": row["span_id"],
        "name": row["name"],
        "kind": _KINDS.get(row["kind"], 0),
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + row["duration"]),
        "attributes": _otlp_attributes(joined(row["attributes"], row["attributes_typed"])),
        "status": {"code": _STATUSES.get(row["status"], 0)},
    }
    if row["parent_span_id"]:
        span["parentSpanId"] = row["parent_span_id"]
    if row["trace_state"]:
        span["traceState"] = row["trace_state"]
    if row["status_message"]:
        span["status"]["message"] = row["status_message"]
    if row["events"]:
        span["events"] = [
            {
                "timeUnixNano": str(event["time_ns"]),
                "name": event["name"],
                "attributes": _otlp_attributes(event["attributes"]),
            }
            for event in json.loads(row["events"])
        ]
    if row["links"]:
        span["links"] = [
            {
                "traceId": link["trace_id"],
                "spanId": link["span_id"],
                "attributes": _otlp_attributes(link["attributes"]),
            }
            for link in json.loads(row["links"])
        ]
    return span


def _otlp_attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _otlp_value(value)} for key, value in attributes.items()]


def _otlp_value(value: Any) -> dict[str, Any]:
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
            typed = {"arrayValue": {"values": [_otlp_value(item) for item in value]}}
        case dict():
            typed = {"kvlistValue": {"values": _otlp_attributes(value)}}
        case _:
            typed = {"stringValue": str(value)}
    return typed
