"""A query's expression as a tree of nodes: how large a query may be, and all of its nodes.

The parser's own `walk` takes more than cubic time, and its recursion ends the process on very deep queries, so that
neither is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import promql_parser as parser

from rushes.query.promql.model import PromQLError
from rushes.query.promql.tokens import Kind, Token, tokens

__all__ = ["checked_tokens", "nodes", "selectors"]

_CHARACTERS: Final = 65_536
_OPERATORS: Final = 250
_DEPTH: Final = 100


def checked_tokens(expr: str) -> list[Token]:
    """A query's words. Raises PromQLError if it is too long, too deeply nested or has too many operators."""
    if len(expr) > _CHARACTERS:
        raise PromQLError("bad_data", f"the query has {len(expr)} characters, more than {_CHARACTERS}")
    depth = operators = 0
    inside = False  # braces, whose operators are matchers
    words = tokens(expr)
    for token in words:
        if token.kind is Kind.BRACKET:
            depth += (token.text == "(") - (token.text == ")")
            inside = token.text == "{" or (inside and token.text != "}")
        operators += token.kind is Kind.OPERATOR and not inside
        if depth > _DEPTH or operators > _OPERATORS:
            raise PromQLError(
                "bad_data",
                f"the query is nested deeper than {_DEPTH} parentheses or has more than {_OPERATORS} operators; "
                "record parts of it, or ask for them one by one",
            )
    return words


def nodes(expr: Any) -> Iterator[Any]:
    """The expression and all that it is made of, in the order of the text."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        yield node
        inner: list[Any]
        match node:
            case parser.BinaryExpr():
                inner = [node.lhs, node.rhs]
            case parser.AggregateExpr():
                inner = [node.param, node.expr]
            case parser.Call():
                inner = list(node.args)
            case parser.MatrixSelector():
                inner = [node.vector_selector]
            case parser.ParenExpr() | parser.UnaryExpr() | parser.SubqueryExpr():
                inner = [node.expr]
            case _:
                inner = []
        waiting.extend(one for one in reversed(inner) if one is not None)


def selectors(expr: Any) -> list[parser.VectorSelector]:
    """The selectors in an expression."""
    return [node for node in nodes(expr) if isinstance(node, parser.VectorSelector)]
