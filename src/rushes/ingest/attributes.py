"""OTLP attributes as the store's two columns have them: strings, and JSON for every other type."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from rushes.ingest.limits import Limits
from rushes.ingest.stats import Refusals

__all__ = ["Origin", "as_text", "origin", "plain", "split", "typed_json"]

_MAX_DEPTH: Final = 8


class Origin(NamedTuple):
    """Where spans and log records come from: the service, and the resource as the store's two columns have it."""

    service: str
    strings: dict[str, str]
    typed: str


def plain(value: AnyValue, limits: Limits, refusals: Refusals, depth: int = 0) -> Any:
    """An AnyValue as Python has it: bytes as base64 text, not-a-number and infinities as text."""
    found: Any = None
    match value.WhichOneof("value"):
        case "string_value":
            found = _cut(value.string_value, limits, refusals)
        case "int_value":
            found = value.int_value
        case "bool_value":
            found = value.bool_value
        case "double_value":
            number = value.double_value
            found = number if math.isfinite(number) else str(number)
        case "bytes_value":
            found = _cut(base64.b64encode(value.bytes_value).decode(), limits, refusals)
        case "array_value" | "kvlist_value" if depth >= _MAX_DEPTH:
            refusals.cut += 1
        case "array_value":
            items = value.array_value.values
            refusals.cut += max(0, len(items) - limits.attributes)
            found = [plain(item, limits, refusals, depth + 1) for item in items[: limits.attributes]]
        case "kvlist_value":
            pairs = value.kvlist_value.values
            refusals.cut += max(0, len(pairs) - limits.attributes)
            found = {
                pair.key: plain(pair.value, limits, refusals, depth + 1)
                for pair in pairs[: limits.attributes]
            }
    return found


def split(
    attributes: Iterable[KeyValue], limits: Limits, refusals: Refusals
) -> tuple[dict[str, str], dict[str, Any]]:
    """Attributes as (strings, everything else); the first of equal keys wins, as OpenTelemetry has it."""
    strings: dict[str, str] = {}
    typed: dict[str, Any] = {}
    longest = limits.value_length
    for attribute in attributes:
        key = attribute.key
        if key in strings or key in typed:
            continue
        if len(strings) + len(typed) >= limits.attributes:
            refusals.cut += 1
            continue
        value = attribute.value
        # The common case first: this loop is where ingest spends its time.
        if value.HasField("string_value"):
            text = value.string_value
            strings[key] = text if len(text) <= longest else _cut(text, limits, refusals)
            continue
        found = plain(value, limits, refusals)
        if isinstance(found, str):
            strings[key] = found
        else:
            typed[key] = found
    return strings, typed


def typed_json(typed: dict[str, Any]) -> str:
    """The column for values that aren't strings; nothing for none."""
    return json.dumps(typed, separators=(",", ":"), ensure_ascii=False) if typed else ""


def as_text(value: Any) -> str:
    """A value as a label or a record's body shows it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _cut(text: str, limits: Limits, refusals: Refusals) -> str:
    if len(text) <= limits.value_length:
        return text
    refusals.cut += 1
    return text[: limits.value_length]


def origin(resource: Resource, limits: Limits, refusals: Refusals) -> Origin:
    """A resource as its spans and records carry it."""
    strings, typed = split(resource.attributes, limits, refusals)
    return Origin(strings.get("service.name", ""), strings, typed_json(typed))
