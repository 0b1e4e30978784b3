"""OTLP/JSON compared field by field: what was sent, and what the control room gives back."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

__all__ = ["as_otlp_json", "flat"]

_ITEMS = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}


def flat(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Each span or record with the resource and the scope that it has, by its id, without fields that say nothing."""
    ((kind, of_resources),) = data.items()
    scopes, items = _ITEMS[kind]
    found = [
        {
            "resource": _said(of_resource.get("resource", {})),
            "resourceSchema": of_resource.get("schemaUrl", ""),
            "scope": _said(of_scope.get("scope", {})),
            "scopeSchema": of_scope.get("schemaUrl", ""),
            **_said(item),
        }
        for of_resource in of_resources
        for of_scope in of_resource[scopes]
        for item in of_scope[items]
    ]
    return sorted(found, key=lambda one: (one.get("spanId", ""), one.get("timeUnixNano", "")))


def _said(value: Any) -> Any:
    """A message without fields of protobuf's default value; attributes by their keys, ids in lower case."""
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and "key" in item for item in value):
            return {item["key"]: _typed(item.get("value", {})) for item in value}
        return [_said(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, field in value.items():
        if name == "body":
            found |= {name: _typed(field)} if field else {}
            continue
        said = str(field).lower() if name.endswith(("traceId", "spanId", "SpanId")) else _said(field)
        said = str(said) if name.endswith("UnixNano") else said
        if said not in ("", 0, [], {}, "0"):
            found[name] = said
    return found


def _typed(value: dict[str, Any]) -> Any:
    """An AnyValue; its fields mean something even where they are empty."""
    if "arrayValue" in value:
        return {"arrayValue": [_typed(item) for item in value["arrayValue"].get("values", [])]}
    if "kvlistValue" in value:
        pairs = value["kvlistValue"].get("values", [])
        return {"kvlistValue": {pair["key"]: _typed(pair.get("value", {})) for pair in pairs}}
    if "intValue" in value:
        return {"intValue": str(value["intValue"])}
    return {name: float(of) if name == "doubleValue" and of != "NaN" else of for name, of in value.items()}


def as_otlp_json(message: Message) -> dict[str, Any]:
    """An export request as OTLP/JSON, which has ids in hex where protobuf's JSON has base64."""
    found: dict[str, Any] = _hex_ids(json_format.MessageToDict(message, use_integers_for_enums=True))
    return found


def _hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(of).hex() if name in ("traceId", "spanId", "parentSpanId") else _hex_ids(of)
        for name, of in value.items()
    }
