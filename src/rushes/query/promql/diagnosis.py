"""What is wrong with a query, and where, in Prometheus' words.

The parser that reads queries says what is wrong with one, not where. So a query that it refuses is read once more,
here, by rules that know places and types and make nothing of what they read. What they find no fault with keeps the
parser's own words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rushes.query.promql.cursor import Fault, Node
from rushes.query.promql.selector_reader import SelectorReader
from rushes.query.promql.signatures import signature, type_name
from rushes.query.promql.tokens import Kind, Token, tokens

__all__ = ["diagnose", "diagnose_selector"]

_AGGREGATIONS: Final = {
    **dict.fromkeys(("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"), None),
    **dict.fromkeys(("topk", "bottomk", "quantile", "limitk", "limit_ratio"), "scalar"),
    "count_values": "string",
}
_COMPARISONS: Final = frozenset(("==", "!=", "<", ">", "<=", ">="))
_SETS: Final = frozenset(("and", "or", "unless"))
_BINDING: Final = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(_COMPARISONS, 3),
    **dict.fromkeys("+-", 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
_UNARY: Final = 5
# Words with a meaning of their own that are names where nothing else can be.
_NAMES: Final = frozenset(
    ("by", "without", "on", "ignoring", "group_left", "group_right", "offset", *_SETS, "atan2")
)


def diagnose(text: str) -> str | None:
    """The place and the fault, such as `1:5: parse error: unknown function with name "foo"`; None if none is seen."""
    return _first_fault(text, _Reader.whole)


def diagnose_selector(text: str) -> str | None:
    """Likewise of what has to be a selector alone, without a range, an offset or `@`."""
    return _first_fault(text, _Reader.selector)


def _first_fault(text: str, read: Callable[[_Reader], Node]) -> str | None:
    reader = _Reader(tokens(text))
    try:
        node = read(reader)
    except Fault as fault:
        # What was seen before reading came to an end came first.
        first = reader.faults[0] if reader.faults else fault
    else:
        faults = [*reader.faults, *node.checks]
        if not faults:
            return None
        first = faults[0]
    before = text[: first.start]
    line, column = before.count("\n") + 1, len(before.encode()) - (before.encode().rfind(b"\n") + 1) + 1
    return f"{line}:{column}: parse error: {first.message}"


class _Reader(SelectorReader):
    """Reads whole expressions."""

    def whole(self) -> Node:
        if len(self._words) == 1 and self._next.kind is Kind.END:
            raise Fault("no expression found in input", 0)
        node = self._expression(0)
        if not self._ended or self._next.kind is Kind.BAD:
            raise self._unexpected()
        return node

    def selector(self) -> Node:
        name = None
        if self._next.kind is Kind.NAME or self._next.text.lower() in _NAMES:
            name = self._take()
        elif not self._is("{"):
            raise self._unexpected()
        node = self._selector(name)
        if not self._ended or self._next.kind is Kind.BAD:
            raise self._unexpected()
        return node

    def _expression(self, least: int) -> Node:
        left = self._operand()
        while self._next.kind is Kind.OPERATOR and _BINDING.get(self._next.text.lower(), 0) > least:
            operator = self._take()
            name = operator.text.lower()
            has_bool = self._is("bool")
            modified = self._modifiers(operator, left)
            right = self._expression(_BINDING[name] - (name == "^"))
            checks = [*left.checks, *right.checks, *modified]
            if name in _COMPARISONS and not has_bool and left.type == right.type == "scalar":
                checks.append(Fault("comparisons between scalars must use BOOL modifier", operator.start))
            left = self._binary(left, right, name, checks)
        return left

    def _modifiers(self, operator: Token, left: Node) -> list[Fault]:
        """Read what stands between an operator and its right side; what is wrong with it."""
        name, found = operator.text.lower(), []
        if self._is("bool"):
            self._take()
            if name not in _COMPARISONS:
                found.append(Fault("bool modifier can only be used on comparison operators", operator.start))
        on: list[str] = []
        if self._is("on", "ignoring"):
            is_on = self._take().text.lower() == "on"
            labels = self._labels()
            on = labels if is_on else []
            if self._is("group_left", "group_right"):
                self._take()
                include = self._labels() if self._is("(") else []
                both = [label for label in include if label in on]
                if name in _SETS:
                    found.append(Fault(f'no grouping allowed for "{name}" operation', left.start))
                elif both:
                    found.append(
                        Fault(
                            f'label "{both[0]}" must not occur in ON and GROUP clause at once', operator.start
                        )
                    )
        while self._next.kind is Kind.NAME and self._next.text in ("fill", "fill_left", "fill_right"):
            self._take()
            self._expect("(", "fill modifier", '"("')
            self._expression(0)
            self._expect(")", "fill modifier", '")"')
        return found

    def _binary(self, left: Node, right: Node, name: str, checks: list[Fault]) -> Node:
        types = (left.type, right.type)
        if name in _SETS and "scalar" in types:
            checks.append(Fault(f'set operator "{name}" not allowed in binary scalar expression', left.start))
        message = "binary expression must contain only scalar and instant vector types"
        wrong = (side for side in (left, right) if side.type not in ("scalar", "instant vector"))
        checks += [Fault(message, side.start) for side in wrong]
        kind = "scalar" if types == ("scalar", "scalar") else "instant vector"
        return Node(left.start, kind, checks=checks)

    def _operand(self) -> Node:
        if self._is("+", "-"):
            sign = self._take()
            inner = self._expression(_UNARY - 1)
            checks = list(inner.checks)
            if inner.type not in ("scalar", "instant vector"):
                checks.append(
                    Fault(
                        "unary expression only allowed on expressions of type scalar or instant vector, "
                        f'got "{inner.type}"',
                        sign.start,
                    )
                )
            return Node(sign.start, inner.type, checks=checks)
        return self._postfix(self._primary())

    def _primary(self) -> Node:
        word = self._next
        if word.kind in (Kind.NUMBER, Kind.DURATION):
            self._take()
            if word.kind is Kind.DURATION:
                self._in_range(word)
            return Node(word.start, "scalar")
        if word.kind is Kind.STRING:
            self._take()
            return Node(word.start, "string")
        if self._is("("):
            self._take()
            inner = self._expression(0)
            self._expect(")")
            return Node(word.start, inner.type, checks=inner.checks)
        if self._is("{"):
            return self._selector(None)
        if word.kind is Kind.NAME or (
            word.kind is Kind.KEYWORD and word.text.lower() in ("by", "offset", "without")
        ):
            return self._named()
        raise self._unexpected()

    def _named(self) -> Node:
        name = self._take()
        following = self._next
        opens = following.kind is Kind.BRACKET and following.text == "("
        grouped = following.kind is Kind.KEYWORD and following.text.lower() in ("by", "without")
        if name.text.lower() in _AGGREGATIONS and (opens or grouped):
            return self._aggregation(name)
        if opens:
            return self._call(name)
        return self._selector(name)

    def _labels(self) -> list[str]:
        self._expect("(", "grouping opts", '"("')
        found = []
        while not self._is(")"):
            if self._next.kind not in (Kind.NAME, Kind.KEYWORD, Kind.STRING) and not (
                self._next.kind is Kind.OPERATOR and self._next.text.isalnum()
            ):
                raise self._unexpected("grouping opts", "label")
            found.append(self._take().text)
            if self._is(","):
                self._take()
            elif not self._is(")"):
                raise self._unexpected("grouping opts", '"," or ")"')
        self._take()
        return found

    def _arguments(self) -> list[Node]:
        self._take()
        found: list[Node] = []
        while not self._is(")"):
            found.append(self._expression(0))
            if self._is(","):
                self._take()
            elif not self._is(")"):
                raise self._unexpected()
        self._take()
        return found

    def _aggregation(self, name: Token) -> Node:
        grouped = self._next.kind is Kind.KEYWORD
        if grouped:
            self._take()
            self._labels()
        if not self._is("("):
            raise self._unexpected("aggregation")
        arguments = self._arguments()
        if not grouped and self._next.kind is Kind.KEYWORD and self._is("by", "without"):
            self._take()
            self._labels()
        parameter = _AGGREGATIONS[name.text.lower()]
        wanted = 1 if parameter is None else 2
        if not arguments:
            self.faults.append(Fault("no arguments for aggregate expression provided", name.start))
        elif len(arguments) != wanted:
            message = "wrong number of arguments for aggregate expression provided, expected "
            self.faults.append(Fault(f"{message}{wanted}, got {len(arguments)}", name.start))
        checks: list[Fault] = []
        if len(arguments) == wanted:
            checks += _typed(arguments[-1], "instant vector", "aggregation expression")
            if parameter is not None:
                checks += _typed(arguments[0], parameter, "aggregation parameter")
        return Node(name.start, "instant vector", checks=checks)

    def _call(self, name: Token) -> Node:
        arguments = self._arguments()
        function = signature(name.text)
        if function is None:
            self.faults.append(Fault(f'unknown function with name "{name.text}"', name.start))
            return Node(name.start, "instant vector")
        wanted, optional = len(function.arg_types), function.variadic
        checks: list[Fault] = []
        said = ""
        if optional == 0 and len(arguments) != wanted:
            said = f"expected {wanted}"
        elif optional != 0 and len(arguments) < wanted - 1:
            said = f"expected at least {wanted - 1}"
        elif optional > 0 and len(arguments) > wanted - 1 + optional:
            said = f"expected at most {wanted - 1 + optional}"
        if said:
            checks.append(
                Fault(f'{said} argument(s) in call to "{name.text}", got {len(arguments)}', name.start)
            )
        for place, argument in enumerate(arguments):
            if wanted and not said:
                expected = type_name(function.arg_types[min(place, wanted - 1)])
                checks += _typed(argument, expected, f'call to function "{name.text}"')
        return Node(name.start, type_name(function.return_type), checks=checks)


def _typed(node: Node, wanted: str, context: str) -> list[Fault]:
    if node.type == wanted:
        return node.checks
    return [*node.checks, Fault(f"expected type {wanted} in {context}, got {node.type}", node.start)]
