"""Queries and selectors by themselves, without the data: written out evenly, and refused where they can't be meant."""

from __future__ import annotations

from collections.abc import Sequence

from rushes.query.promql import PromQLError
from rushes.query.promql.parsing import parsed, selector
from rushes.query.promql.tree import selectors

__all__ = ["checked_selectors", "formatted", "has_selector"]


def formatted(expr: str) -> str:
    """The same query with even spaces and line breaks. Raises PromQLError for what is no query."""
    text: str = parsed(expr).prettify()
    return text


def has_selector(expr: str) -> bool:
    """Whether a query reads any series. Raises PromQLError for what is no query."""
    return bool(selectors(parsed(expr)))


def checked_selectors(texts: Sequence[str]) -> None:
    """Raises PromQLError unless each is a selector that doesn't simply mean every series."""
    for text in texts:
        try:
            selector(text)
        except PromQLError as error:
            if "non-empty matcher" in error.message:
                raise PromQLError(
                    "bad_data", "match[] must contain at least one non-empty matcher"
                ) from error
            raise
