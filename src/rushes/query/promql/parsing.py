"""Text into expressions, and what Prometheus would not evaluate either."""

from __future__ import annotations

from typing import Any, Final

import promql_parser as parser

from rushes.query.promql.diagnosis import diagnose
from rushes.query.promql.model import PromQLError
from rushes.query.promql.tokens import without_raw_strings
from rushes.query.promql.tree import check_size, nodes

__all__ = ["parsed"]

_EXPERIMENTAL: Final = ("limitk", "limit_ratio")
# What there is of the experimental functions, where they are allowed.
_EVALUATED: Final = (
    "double_exponential_smoothing",
    "limitk",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
)


def parsed(expr: str, *, experimental: bool = False) -> Any:
    """A query's expression.

    Args:
        expr: the query.
        experimental: whether functions are allowed that Prometheus has behind a feature flag.

    Raises:
        PromQLError: it is none, or uses what Prometheus has behind a feature flag.
    """
    check_size(expr)
    try:
        found = parser.parse(without_raw_strings(expr))
    except ValueError as error:
        raise PromQLError("bad_data", diagnose(expr) or f"1:1: parse error: {error}") from error
    for node in nodes(found):
        if fault := _fault(expr, node, _EVALUATED if experimental else ()):
            raise PromQLError("bad_data", fault)
    return found


def _fault(expr: str, node: Any, allowed: tuple[str, ...]) -> str:
    """What is wrong with a node that is experimental, or that the parser knows and PromQL doesn't."""
    if isinstance(node, parser.Call) and node.func.experimental and node.func.name not in allowed:
        return f'{_place(expr, node.func.name)}: parse error: function "{node.func.name}" is not enabled'
    operator = str(node.op) if isinstance(node, parser.AggregateExpr) else ""
    if operator in _EXPERIMENTAL and operator not in allowed:
        return (
            f"{_place(expr, operator)}: parse error: {operator}() is experimental and must be enabled with "
            "--enable-feature=promql-experimental-functions"
        )
    if isinstance(node, parser.VectorSelector) and node.matchers.or_matchers:
        place = _place(expr, "or")
        return f'{place}: parse error: unexpected identifier "or" in label matching, expected "," or "}}"'
    return ""


def _place(expr: str, word: str) -> str:
    """Line and column of a word's first occurrence."""
    before = expr[: max(expr.find(word), 0)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
