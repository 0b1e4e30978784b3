"""OTLP/JSON: protobuf's JSON but for its ids, which are hex where protobuf's own mapping has base64."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.message import Message

from rushes.ingest.limits import UndecodableBody

__all__ = ["parse_json"]

# Keys of OTLP's own messages: attributes travel as {"key", "value"} pairs and can't be mistaken for them.
_NO_ID: Final = base64.b64encode(b"\0").decode()
_HEX: Final = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})


def parse_json(body: bytes, message: Message) -> None:
    """Fill an export request from OTLP/JSON. Unknown fields are ignored, as OTLP demands.

    Raises:
        UndecodableBody: the body isn't JSON, or not such a request.
    """
    try:
        content = json.loads(body)
        if not isinstance(content, dict):
            raise UndecodableBody("the body is JSON, but not an object")
        json_format.ParseDict(_base64_ids(content), message, ignore_unknown_fields=True)
    except (ValueError, RecursionError, json_format.ParseError, TypeError, AttributeError) as error:
        raise UndecodableBody(
            f"the body is not an OTLP export request in JSON: {str(error)[:300]}"
        ) from error


def _base64_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _base64_id(item) if key in _HEX else _base64_ids(item) for key, item in value.items()}


def _base64_id(text: Any) -> Any:
    """An id for protobuf's mapping. One that is no hex becomes one of a wrong length: only what has it is refused."""
    if text is None:  # as JSON says that a field is not set
        return None
    try:
        return base64.b64encode(binascii.unhexlify(text)).decode()
    except (ValueError, TypeError):
        return _NO_ID
