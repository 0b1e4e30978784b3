"""The last gate before telemetry leaves the process: finds what must not be told, wherever it hides.

Types (`Prompt`, `Secret`) keep such values out of log calls. This catches what comes in by other ways: a
library's exception that quotes its input, a header in a message. Values that are in use right now are `shield`ed
and replaced wherever they occur; keys, tokens and signed URLs are found by their shape.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from rushes.catalog import Sensitive

__all__ = ["redact", "redacted_mapping", "redacted_text", "shield"]

T = TypeVar("T")

_SHAPES: Final = (
    (re.compile(r"\b(rk|sk|pk)([_-][A-Za-z0-9_-]{12,})"), lambda m: f"{m[1]}_…{m[2][-4:]}"),
    (re.compile(r"(?i)(authorization\W{1,4}(?:bearer|basic)\s+)\S+"), lambda m: f"{m[1]}…"),
    # Without the header's name a token is told from a word by a digit in it.
    (re.compile(r"(?i)\b(bearer|basic)\s+(?=\S*\d)[A-Za-z0-9._~+/=-]{12,}"), lambda m: f"{m[1]} …"),
    (
        re.compile(r"(?i)\b(x-amz-signature|signature|sig|token|api[_-]?key|password)=[^\s&\"']+"),
        lambda m: f"{m[1]}=…",
    ),
    (re.compile(r"(?<=://)[^/\s@:]+:[^/\s@]+@"), lambda _: "…@"),
)
_SHORTEST_SHIELDED: Final = 4  # replacing shorter prompts ("a", "red") would shred ordinary words

_shielded: Counter[tuple[str, str]] = Counter()
_lock = threading.Lock()


@contextmanager
def shield(*values: Sensitive[str]) -> Iterator[None]:
    """While the block runs, telemetry of this process shows these values in their safe form only."""
    entries = [(v.reveal(), v.safe()) for v in values if len(v.reveal()) >= _SHORTEST_SHIELDED]
    with _lock:
        _shielded.update(entries)
    try:
        yield
    finally:
        with _lock:
            _shielded.subtract(entries)
            for entry in entries:
                if _shielded[entry] <= 0:
                    del _shielded[entry]


def redacted_text(text: str) -> str:
    """The text without anything shielded or shaped like a credential. Returns the same object if it is clean."""
    # The longest first: replacing a part of another value would leave the rest of it.
    for value, safe in sorted(_shielded, key=lambda entry: -len(entry[0])):
        if value in text:
            text = text.replace(value, safe)
        elif (quoted := repr(value)[1:-1]) in text:  # as an exception's repr would quote it
            text = text.replace(quoted, safe)
    for pattern, replace in _SHAPES:
        if pattern.search(text):
            text = pattern.sub(replace, text)
    return text


def redact(value: T) -> T | Any:
    """The value with every text in it redacted: strings, sequences and mappings, to any depth."""
    if isinstance(value, str):
        return redacted_text(value)
    if isinstance(value, Sensitive):
        return value.safe()
    if isinstance(value, Mapping):
        return redacted_mapping(value)
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"content of {len(value)} bytes"
    return value


def redacted_mapping(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping's values, redacted."""
    return {str(key): redact(value) for key, value in mapping.items()}
