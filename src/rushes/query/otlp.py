"""Spans and log records as OTLP/JSON has them, whole: hex ids, 64-bit integers as strings, each value with its type.

What the store's columns don't have (dropped counts, schemas, attributes of scopes, bytes) is in the JSON that ingest
writes beside them, `rest`; its `exact` values are OTLP's JSON already, or null where the column's text is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rushes.query.attributes import Attributes, joined
from rushes.store.interface import Row

if TYPE_CHECKING:
    from rushes.query.traces import SpanRow

__all__ = ["logs_data", "traces_data"]

_KINDS: Final = {"unspecified": 0, "internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUSES: Final = {"unset": 0, "ok": 1, "error": 2}
_OWN: Final = ("component", "worker_id", "event", "request_id")
_NOTHING: Final[Mapping[str, Any]] = {}


def traces_data(spans: Sequence[SpanRow]) -> dict[str, Any]:
    """OTLP's TracesData of these spans, grouped by resource and scope."""
    origins = ((span.resource, span.scope_name, span.scope_version, span.rest) for span in spans)
    return {"resourceSpans": _grouped(origins, map(_span, spans), ("scopeSpans", "spans"))}


def logs_data(rows: Sequence[Row]) -> dict[str, Any]:
    """OTLP's LogsData of these rows of the store, grouped by resource and scope."""
    rests = [json.loads(row["rest"] or "{}") for row in rows]
    origins = (
        (joined(row["resource"], row["resource_typed"]), row["scope_name"], row["scope_version"], rest)
        for row, rest in zip(rows, rests, strict=True)
    )
    records = (_record(row, rest) for row, rest in zip(rows, rests, strict=True))
    return {"resourceLogs": _grouped(origins, records, ("scopeLogs", "logRecords"))}


def _grouped(
    origins: Iterable[tuple[Attributes, str, str, Mapping[str, Any]]],
    items: Iterable[dict[str, Any]],
    names: tuple[str, str],
) -> list[dict[str, Any]]:
    of_scopes, of_items = names
    resources: dict[str, dict[str, Any]] = {}
    scopes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for (resource, name, version, rest), item in zip(origins, items, strict=True):
        of_resource, of_scope = rest.get("resource", _NOTHING), rest.get("scope", _NOTHING)
        key = json.dumps([resource, of_resource], sort_keys=True)
        if key not in resources:
            resources[key] = _with_schema(
                {"resource": _origin(resource, of_resource), of_scopes: []}, of_resource
            )
        place = key, json.dumps([name, version, of_scope], sort_keys=True)
        if place not in scopes:
            scopes[place] = []
            scope = {"name": name, "version": version, **_origin(of_scope.get("attributes", {}), of_scope)}
            if not scope["attributes"]:
                del scope["attributes"]
            resources[key][of_scopes].append(
                _with_schema({"scope": scope, of_items: scopes[place]}, of_scope)
            )
        scopes[place].append(item)
    return list(resources.values())


def _origin(attributes: Attributes, rest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attributes": _attributes(attributes, rest),
        **_unless_empty({"droppedAttributesCount": rest.get("dropped", 0)}),
    }


def _with_schema(of: dict[str, Any], rest: Mapping[str, Any]) -> dict[str, Any]:
    return of | _unless_empty({"schemaUrl": rest.get("schema_url", "")})


def _span(row: SpanRow) -> dict[str, Any]:
    dropped = row.rest.get("dropped", (0, 0, 0))
    return {
        "traceId": row.trace_id,
        "spanId": row.span_id,
        "name": row.name,
        "kind": _KINDS.get(row.kind, 0),
        "startTimeUnixNano": str(row.start_ns),
        "endTimeUnixNano": str(row.start_ns + row.duration_ns),
        "attributes": _attributes(row.attributes, row.rest),
        "status": {
            "code": _STATUSES.get(row.status, 0),
            **_unless_empty({"message": row.status_message}),
        },
        **_unless_empty(
            {
                "parentSpanId": row.parent_span_id,
                "traceState": row.trace_state,
                "flags": row.flags,
                "events": [_event(event) for event in row.events],
                "links": [_link(link) for link in row.links],
                "droppedAttributesCount": dropped[0],
                "droppedEventsCount": dropped[1],
                "droppedLinksCount": dropped[2],
            }
        ),
    }


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event["time_ns"]),
        "name": event["name"],
        **_origin(event["attributes"], event),
    }


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "traceId": link["trace_id"],
        "spanId": link["span_id"],
        **_origin(link["attributes"], link),
        **_unless_empty({"traceState": link.get("trace_state", ""), "flags": link.get("flags", 0)}),
    }


def _record(row: Row, rest: Mapping[str, Any]) -> dict[str, Any]:
    exact = rest.get("exact", _NOTHING)
    own: Attributes = {name: row[name] for name in _OWN if row[name] or name in exact}
    event_name = rest.get("event_name", "")
    if event_name is None:  # the event's column has it
        event_name = row["event"]
        if "event" not in exact:
            own.pop("event", None)
    return {
        "timeUnixNano": "0" if rest.get("untimed") else str(row["ns"]),
        "attributes": _attributes(own | joined(row["context"], row["context_typed"]), rest),
        **_unless_empty(
            {
                "observedTimeUnixNano": str(row["observed_ns"]) if row["observed_ns"] else "",
                "severityNumber": row["severity"],
                "severityText": row["severity_text"],
                "body": _exactly(row["body"] or None, rest, "body"),
                "droppedAttributesCount": rest.get("dropped", 0),
                "flags": row["flags"],
                "traceId": row["trace_id"],
                "spanId": row["span_id"],
                "eventName": event_name,
            }
        ),
    }


def _unless_empty(of: dict[str, Any]) -> dict[str, Any]:
    """Fields that have another value than protobuf's own, which is left out."""
    return {name: value for name, value in of.items() if value}


def _attributes(attributes: Attributes, rest: Mapping[str, Any] = _NOTHING) -> list[dict[str, Any]]:
    exact = rest.get("exact", _NOTHING)
    return [{"key": key, "value": _exactly(value, exact, key)} for key, value in attributes.items()]


def _exactly(value: Any, exact: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A value with its type, which `exact` knows if the value itself doesn't have it."""
    if key not in exact:
        return _value(value)
    known: dict[str, Any] | None = exact[key]
    return _value(json.loads(value) if value else None) if known is None else known


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
