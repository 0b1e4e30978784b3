"""OTLP attributes as the store's two columns have them: strings, and JSON for every other type.

Both are there to be searched. What neither can say (bytes, numbers that JSON doesn't have) is kept beside them as
OTLP's own JSON has it, so that it can be given back as it came.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from google.protobuf import json_format
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from rushes.ingest.limits import Limits
from rushes.ingest.stats import Refusals

__all__ = ["Split", "as_text", "compact", "is_beyond_json", "otlp_json", "plain", "split", "typed_json"]

_MAX_DEPTH: Final = 8


class Split(NamedTuple):
    """Attributes: the strings, everything else, and OTLP's JSON of those values that neither says exactly."""

    strings: dict[str, str]
    typed: dict[str, Any]
    exact: dict[str, Any]

    @property
    def readable(self) -> dict[str, Any]:
        """All of them as JSON has them."""
        return self.strings | self.typed


def plain(value: AnyValue, limits: Limits, refusals: Refusals, depth: int = 0) -> Any:
    """An AnyValue as JSON has it: bytes as base64 text, not-a-number and infinities as text."""
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


def is_beyond_json(value: AnyValue) -> bool:
    """Whether `plain` has text for something in this value that is none."""
    match value.WhichOneof("value"):
        case "bytes_value":
            return True
        case "double_value":
            return not math.isfinite(value.double_value)
        case "array_value":
            return any(map(is_beyond_json, value.array_value.values))
        case "kvlist_value":
            return any(is_beyond_json(pair.value) for pair in value.kvlist_value.values)
    return False


def otlp_json(value: AnyValue) -> dict[str, Any]:
    """A value with its type, as OTLP's JSON has it."""
    found: dict[str, Any] = json_format.MessageToDict(value)
    return found


def split(attributes: Iterable[KeyValue], limits: Limits, refusals: Refusals) -> Split:
    """Attributes by type; the first of equal keys wins, as OpenTelemetry has it."""
    found = Split({}, {}, {})
    for attribute in attributes:
        key = attribute.key
        if key in found.strings or key in found.typed:
            continue
        if len(found.strings) + len(found.typed) >= limits.attributes:
            refusals.cut += 1
            continue
        before = refusals.cut
        value = plain(attribute.value, limits, refusals)
        if isinstance(value, str):
            found.strings[key] = value
        else:
            found.typed[key] = value
        if is_beyond_json(attribute.value) and refusals.cut == before:
            found.exact[key] = otlp_json(attribute.value)
    return found


def typed_json(typed: dict[str, Any]) -> str:
    """The column for values that aren't strings; nothing for none."""
    return compact(typed) if typed else ""


def compact(value: Any) -> str:
    """JSON as the store has it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def as_text(value: Any) -> str:
    """A value as a label shows it."""
    if isinstance(value, str):
        return value
    return "" if value is None else compact(value)


def _cut(text: str, limits: Limits, refusals: Refusals) -> str:
    if len(text) <= limits.value_length:
        return text
    refusals.cut += 1
    return text[: limits.value_length]
