"""What functions take and give, asked of the parser itself."""

from __future__ import annotations

from typing import Any, Final

import promql_parser as parser

__all__ = ["signature", "type_name"]

_TYPES: Final = (
    (parser.ValueType.Vector, "instant vector"),
    (parser.ValueType.Scalar, "scalar"),
    (parser.ValueType.Matrix, "range vector"),
    (parser.ValueType.String, "string"),
)


def type_name(of: parser.ValueType) -> str:
    return next(name for kind, name in _TYPES if kind == of)


def signature(name: str) -> parser.Function | None:
    """A function's signature, asked of the parser by a call that can't be right."""
    for arguments in _CALLS:
        try:
            found: Any = parser.parse(f"{name}({arguments})")
        except ValueError as error:
            if "unknown function" in str(error):
                return None
            continue
        return found.func if isinstance(found, parser.Call) else None
    return None


_CALLS: Final = (
    "",
    "x",
    "x[1m]",
    "1",
    "1, 1",
    "1, x",
    "1, x[1m]",
    "x[1m], 1",
    "x, 1",
    "x, 1, 1",
    "1, 1, x",
    "x[1m], 1, 1",
    'x, "a"',
    'x, "a", 1',
    'x, "a", "b", "c"',
    'x, "a", "b", "c", "d"',
)
