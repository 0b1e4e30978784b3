"""What a URL's parameters may be, read in one way by pages and API: bounded, and refused by name and value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = [
    "BadParameterError",
    "UnknownParameterError",
    "choice",
    "integer",
    "limit",
    "number",
    "only",
    "text",
    "trace_id",
]

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
_MAX_LIMIT: Final = 10_000
_MAX_INTEGER: Final = 1 << 62  # fits the store's integers, and nanoseconds since the epoch fit it
_MAX_NUMBER: Final = 1e12
_SHOWN: Final = 200


class BadParameterError(Exception):
    """A parameter that can't be used: which, its value, shortened, and in the text what is wanted."""

    def __init__(self, name: str, value: str, wanted: str) -> None:
        super().__init__(f"parameter {name} must be {wanted}, not {value[:_SHOWN]!r}")
        self.name = name
        self.value = value[:_SHOWN]


class UnknownParameterError(BadParameterError):
    """A parameter that there isn't: leaving it aside would answer another question than was asked."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        Exception.__init__(self, f"there is no parameter {name[:_SHOWN]!r} here, only {', '.join(known)}")
        self.name = name[:_SHOWN]
        self.value = ""


def only(request: Request, *known: str) -> None:
    """Raises UnknownParameterError for any other parameter."""
    for name in request.query_params:
        if name not in known:
            raise UnknownParameterError(name, known)


def text(request: Request, name: str) -> str | None:
    """A parameter's text; an empty one, as forms send it, is none."""
    return request.query_params.get(name, "").strip() or None


def choice(request: Request, name: str, among: Sequence[str]) -> str | None:
    """One of the given words."""
    value = text(request, name)
    if value is not None and value not in among:
        raise BadParameterError(name, value, f"one of {', '.join(among)}")
    return value


def integer(request: Request, name: str) -> int | None:
    """A whole number from 0 to 2**62."""
    value = text(request, name)
    if value is None:
        return None
    try:
        read = int(value)
    except ValueError as error:
        raise BadParameterError(name, value, "a whole number") from error
    if not 0 <= read <= _MAX_INTEGER:
        raise BadParameterError(name, value, f"between 0 and {_MAX_INTEGER}")
    return read


def number(request: Request, name: str) -> float | None:
    """A number from 0 to 1e12."""
    value = text(request, name)
    if value is None:
        return None
    try:
        read = float(value)
    except ValueError as error:
        raise BadParameterError(name, value, "a number") from error
    if not 0 <= read <= _MAX_NUMBER:
        raise BadParameterError(name, value, f"a number from 0 to {_MAX_NUMBER:g}")
    return read


def limit(request: Request, default: int) -> int:
    """The parameter `limit`, from 1 to 10,000."""
    value = integer(request, "limit")
    if value is None:
        return default
    if not 1 <= value <= _MAX_LIMIT:
        raise BadParameterError("limit", str(value), f"from 1 to {_MAX_LIMIT}")
    return value


def trace_id(value: str) -> str:
    """A trace's id in lower case."""
    if not _TRACE_ID.fullmatch(value):
        raise BadParameterError("trace_id", value, "32 hex digits")
    return value.lower()
