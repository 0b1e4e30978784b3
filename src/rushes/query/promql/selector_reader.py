"""What can be wrong with a selector, its range, its offset and its `@`."""

from __future__ import annotations

import math
from typing import Final

import promql_parser as parser

from rushes.query.promql.cursor import Cursor, Fault, Node
from rushes.query.promql.patterns import pattern_fault
from rushes.query.promql.tokens import Kind, Token, seconds_of, without_raw_strings

__all__ = ["FARTHEST_S", "SelectorReader"]

_EXPECTED: Final = "number, duration, step(), or range()"
FARTHEST_S: Final = 2**63 / 1e9  # as many nanoseconds as Go counts
_LAST_MOMENT: Final = float(2**63)


class SelectorReader(Cursor):
    """Reads selectors and what follows them."""

    def _selector(self, name: Token | None) -> Node:
        start = self._next.start if name is None else name.start
        matchers = self._matchers() if self._is("{") else []
        node = Node(start, "instant vector", "selector")
        names = [value for label, operator, value in matchers if label == "__name__" and operator == "="]
        if name is not None and names:
            node.checks.append(
                Fault(f'metric name must not be set twice: "{name.text}" or "{names[0]}"', start)
            )
        elif name is None and all(_matches_empty(operator, value) for _, operator, value in matchers):
            node.checks.append(Fault("vector selector must contain at least one non-empty matcher", start))
        return node

    def _matchers(self) -> list[tuple[str, str, str]]:
        self._take()
        found = []
        while not self._is("}"):
            label = self._next
            if label.kind not in (Kind.NAME, Kind.STRING):
                raise self._unexpected("label matching", 'identifier or "}"')
            self._take()
            if label.kind is Kind.STRING and self._is(",", "}"):
                found.append(("__name__", "=", label.text[1:-1]))
            else:
                if not self._is("=", "!=", "=~", "!~"):
                    raise self._unexpected("label matching", "label matching operator")
                operator = self._take().text
                if self._next.kind is not Kind.STRING:
                    raise self._unexpected("label matching", "string")
                word = self._take()
                value = word.text[1:-1]
                if operator in ("=~", "!~") and (fault := pattern_fault(_meant(word.text))):
                    raise Fault(fault, label.start)
                found.append((label.text.strip("\"'"), operator, value))
            if self._is(","):
                self._take()
            elif not self._is("}"):
                raise self._unexpected("label matching", '"," or "}"')
        self._take()
        return found

    def _postfix(self, node: Node) -> Node:
        offset, at = False, False
        while True:
            if self._is("["):
                node = self._range(node)
                offset = at = False
            elif self._is("offset"):
                self._take()
                if self._is("-", "+"):
                    self._take()
                if self._next.kind not in (Kind.DURATION, Kind.NUMBER):
                    raise self._unexpected("offset", _EXPECTED)
                self._in_range(self._take())
                self._once(node, "offset", repeated=offset)
                offset = True
            elif self._is("@"):
                self._take()
                self._moment(node)
                self._once(node, "@ <timestamp>", repeated=at)
                at = True
            else:
                return node

    def _once(self, node: Node, what: str, *, repeated: bool) -> None:
        modifier = "@ modifier" if what.startswith("@") else "offset modifier"
        if node.what not in ("selector", "range", "subquery"):
            self.faults.append(
                Fault(
                    f"{modifier} must be preceded by an instant vector selector or range vector selector or a subquery",
                    node.start,
                )
            )
        elif repeated:
            self.faults.append(Fault(f"{what} may not be set multiple times", node.start))

    def _moment(self, node: Node) -> None:
        sign = -1 if self._is("-") else 1
        if self._is("-", "+"):
            self._take()
        if self._next.kind is Kind.NAME and self._next.text in ("start", "end"):
            self._take()
            if not self._is("("):
                raise self._unexpected("@", "timestamp")
            self._take()
            self._expect(")", "@", "timestamp")
        elif self._next.kind is Kind.NUMBER:
            seconds = sign * seconds_of(self._take())
            if not abs(seconds) < _LAST_MOMENT:
                self.faults.append(
                    Fault(f"timestamp out of bounds for @ modifier: {_in_full(seconds)}", node.start)
                )
        else:
            raise self._unexpected("@", "timestamp")

    def _range(self, node: Node) -> Node:
        bracket = self._take()
        self._duration("subquery or range selector")
        if self._is(":"):
            self._take()
            if not self._is("]"):
                self._duration("subquery selector")
            if self._is(":"):
                raise Fault("unexpected colon ':'", self._next.start)
            self._expect("]", "subquery selector", '"]"')
            checks = list(node.checks)
            if node.type != "instant vector":
                kind = "matrix" if node.type == "range vector" else node.type
                checks.append(
                    Fault(f"subquery is only allowed on instant vector, got {kind} instead", node.start)
                )
            return Node(node.start, "range vector", "subquery", checks)
        self._expect("]", "subquery or range", '":" or "]"')
        if node.what != "selector":
            self.faults.append(Fault("ranges only allowed for vector selectors", bracket.start))
        return Node(node.start, "range vector", "range", node.checks)

    def _duration(self, context: str) -> None:
        if self._next.kind not in (Kind.DURATION, Kind.NUMBER):
            raise self._unexpected(context, _EXPECTED)
        self._in_range(self._take(), positive=True)

    def _in_range(self, word: Token, *, positive: bool = False) -> None:
        """Sees to it that a duration, or a number in the place of one, can be one. With a unit it is never 0."""
        seconds = seconds_of(word)
        if not seconds <= FARTHEST_S:
            self.faults.append(Fault("duration out of range", word.start))
        elif not seconds and (positive or word.kind is Kind.DURATION):
            self.faults.append(Fault("duration must be greater than 0", word.start))


def _matches_empty(operator: str, value: str) -> bool:
    if operator == "=":
        return not value
    if operator == "!=":
        return bool(value)
    try:
        parser.parse(f'{{a{operator}"{value}"}}')
    except ValueError:
        return True
    return False


def _meant(literal: str) -> str:
    """What a string literal says, its escapes resolved."""
    try:
        read = parser.parse(without_raw_strings(literal))
    except ValueError:
        return literal[1:-1]
    return read.val if isinstance(read, parser.StringLiteral) else literal[1:-1]


def _in_full(seconds: float) -> str:
    """As Go writes a number without an exponent."""
    if math.isinf(seconds):
        return "+Inf" if seconds > 0 else "-Inf"
    return "NaN" if math.isnan(seconds) else f"{seconds:f}"
