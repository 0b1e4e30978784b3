"""How values and limits are written in a statement, and what an engine's error means: the same for every backend."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from rushes.store.interface import (
    Param,
    StoreError,
    StoreExhausted,
    StoreQueryError,
    StoreTimeout,
    StoreUnavailable,
)

__all__ = ["bound", "limited", "quoted", "rendered", "translated", "why"]

_SETTINGS = re.compile(r"\bSETTINGS\b[^()]*$")
_CODE = re.compile(r"Code: (\d+)\. DB::(?:\w+)?Exception: ")
# Codes of ClickHouse that say "this statement is wrong", whoever repeats it and whenever.
_DEFECTS: Final = frozenset(
    {6, 10, 15, 16, 20, 27, 33, 36, 38, 41, 42, 43, 44, 46, 47, 53, 60, 62, 70, 117, 130, 352, 386, 456}
)
_KINDS: Final[dict[int, type[StoreError]]] = {
    **dict.fromkeys((72, 427, 457), StoreQueryError),  # number, regular expression, query parameter
    **dict.fromkeys((159, 160), StoreTimeout),  # exceeded, or going to be
    241: StoreExhausted,
}
_NO_SPACE: Final = 243
_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0", "\b": "\\b", "\f": "\\f"}
)
_MAX_TEXT: Final = 500
_MAX_WHY: Final = 200


def rendered(value: Param) -> str:
    """A parameter as ClickHouse reads it: text is escaped as in TSV, lists are array literals."""
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    if isinstance(value, Sequence):
        return f"[{','.join(quoted(item) if isinstance(item, str) else str(int(item)) for item in value)}]"
    return repr(value)


def bound(params: Mapping[str, Param] | None) -> dict[str, str]:
    """All parameters, rendered."""
    return {name: rendered(value) for name, value in (params or {}).items()}


def quoted(text: str) -> str:
    """A string literal."""
    escaped = text.translate(_ESCAPES).replace("'", "\\'")
    return f"'{escaped}'"


def limited(sql: str, timeout_s: float | None) -> str:
    """The statement with a time limit of its own (infinite: none); the last setting of a statement counts."""
    if timeout_s is None:
        return sql
    limit = 0 if math.isinf(timeout_s) else max(timeout_s, 0.001)  # 0 is the engine's "no limit"
    return f"{sql}{',' if _SETTINGS.search(sql) else ' SETTINGS'} max_execution_time = {limit:.3f}"


def translated(error: Exception | str, what: str) -> StoreError:
    """What the engine says, as one of the store's own errors."""
    text = str(error).strip()
    match = _CODE.search(text)
    code = int(match.group(1)) if match else 0
    message = f"{what}: {text[:_MAX_TEXT]}"
    if code in _DEFECTS:
        return StoreError(message)
    return _KINDS.get(code, StoreUnavailable)(message)


def why(error: Exception) -> str:
    """The reason that a person can act on, without the engine's words around it."""
    text = str(error)
    match = _CODE.search(text)
    if (match and int(match.group(1)) == _NO_SPACE) or "No space left" in text or "errno: 28" in text:
        return "the disk is full"
    if "Read-only file system" in text or "errno: 30" in text:
        return "the disk is read-only"
    return text[match.end() if match else 0 :].partition("\n")[0][:_MAX_WHY]
