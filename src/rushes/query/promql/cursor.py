"""Reads a query's words from the left, and says what stands where something else should."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rushes.query.promql.tokens import Kind, Token

__all__ = ["Cursor", "Fault", "Node"]

_UNCLOSED: Final = {
    "(": "unclosed left parenthesis",
    "[": "unclosed left bracket",
    "{": "unexpected end of input inside braces",
}


class Fault(Exception):  # noqa: N818  what is at fault is the query
    def __init__(self, message: str, start: int) -> None:
        super().__init__(message)
        self.message = message
        self.start = start


@dataclass(slots=True)
class Node:
    """An expression, as far as its place and type go; `checks` are faults of types, found once all is read."""

    start: int
    type: str
    what: str = ""
    checks: list[Fault] = field(default_factory=list)


class Cursor:
    """Reads words from the left; `faults` are those that don't stop it."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0
        self.faults: list[Fault] = []

    @property
    def _next(self) -> Token:
        return self._words[self._at]

    @property
    def _ended(self) -> bool:
        return self._at == len(self._words) - 1

    def _take(self) -> Token:
        word = self._next
        self._at += not self._ended
        return word

    def _is(self, *texts: str) -> bool:
        word = self._next
        return word.kind in (Kind.BRACKET, Kind.OPERATOR, Kind.KEYWORD) and word.text.lower() in texts

    def _unexpected(self, context: str = "", expected: str = "") -> Fault:
        word = self._next
        if word.kind is Kind.BAD:
            return Fault(word.text, word.start)
        if self._ended and self._open:
            # The lexer notices first that a bracket is still open.
            return Fault(_UNCLOSED[self._open[-1]], word.start)
        message = f"unexpected {word}"
        if context:
            message += f" in {context}"
        if expected:
            message += f", expected {expected}"
        return Fault(message, word.start)

    @property
    def _open(self) -> list[str]:
        found: list[str] = []
        for word in self._words:
            if word.kind is Kind.BRACKET and word.text in _UNCLOSED:
                found.append(word.text)
            elif word.kind is Kind.BRACKET and word.text in ")]}" and found:
                found.pop()
        return found

    def _expect(self, text: str, context: str = "", expected: str = "") -> None:
        if not self._is(text):
            raise self._unexpected(context, expected)
        self._take()
