"""Attributes back from their two columns: the strings' Map and the JSON text that has all other types."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, TypeAlias

__all__ = ["Attribute", "Attributes", "joined"]

Attribute: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
Attributes: TypeAlias = dict[str, Attribute]


def joined(strings: dict[str, str], typed: str) -> Attributes:
    """One dict of both columns, with each value's own type."""
    both: Attributes = dict(strings)
    if typed:
        with suppress(ValueError):  # a row that some other program wrote must not hide the others
            both.update(json.loads(typed))
    return both
