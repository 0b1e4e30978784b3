"""What can be wrong with a selector, its range, its offset and its `@`."""

from __future__ import annotations

from typing import Final

import promql_parser as parser

from rushes.query.promql.cursor import Cursor, Fault, Node
from rushes.query.promql.tokens import Kind, Token

__all__ = ["SelectorReader"]

_EXPECTED: Final = "number, duration, step(), or range()"


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
                value = self._take().text[1:-1]
                if operator in ("=~", "!~") and not _is_pattern(value):
                    raise Fault(f"error parsing regexp: `^(?s:{value})$`", label.start)
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
                self._take()
                self._once(node, "offset", repeated=offset)
                offset = True
            elif self._is("@"):
                self._take()
                self._moment()
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

    def _moment(self) -> None:
        if self._is("-", "+"):
            self._take()
        if self._next.kind is Kind.NAME and self._next.text in ("start", "end"):
            self._take()
            if not self._is("("):
                raise self._unexpected("@", "timestamp")
            self._take()
            self._expect(")", "@", "timestamp")
        elif self._next.kind is Kind.NUMBER:
            self._take()
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
        word = self._take()
        if not any(digit in "123456789" for digit in word.text):
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


def _is_pattern(value: str) -> bool:
    try:
        parser.parse(f'x{{a=~"{value}"}}')
    except ValueError:
        return False
    return True
