"""Text into expressions, and what Prometheus would not evaluate either."""

from __future__ import annotations

from typing import Any, Final

import promql_parser as parser

from rushes.query.promql.diagnosis import diagnose, diagnose_selector
from rushes.query.promql.model import PromQLError
from rushes.query.promql.patterns import is_pattern, pattern_fault
from rushes.query.promql.selector_reader import FARTHEST_S
from rushes.query.promql.tokens import NO_TEXT, Kind, Token, seconds_of, without_raw_strings
from rushes.query.promql.tree import checked_tokens, nodes

__all__ = ["parsed", "selector"]

_EXPERIMENTAL: Final = ("limitk", "limit_ratio")
# What there is of the experimental functions, where they are allowed.
_EVALUATED: Final = (
    "double_exponential_smoothing",
    "limitk",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
)
# A number after one of these is a duration or a time.
_BEFORE_TIMES: Final = ("[", ":", "offset", "@", "+", "-")


def parsed(expr: str, *, experimental: bool = False) -> Any:
    """A query's expression.

    Args:
        expr: the query.
        experimental: whether functions are allowed that Prometheus has behind a feature flag.

    Raises:
        PromQLError: it is none, or uses what Prometheus has behind a feature flag.
    """
    words = checked_tokens(expr)
    if (NO_TEXT in expr or _beyond_reason(words)) and (fault := diagnose(expr)):
        raise PromQLError("bad_data", fault)
    try:
        found = parser.parse(without_raw_strings(expr))
    except ValueError as error:
        raise PromQLError("bad_data", diagnose(expr) or f"1:1: parse error: {error}") from error
    for node in nodes(found):
        if fault := _fault(expr, node, _EVALUATED if experimental else ()):
            raise PromQLError("bad_data", fault)
    return found


def selector(text: str) -> parser.VectorSelector:
    """A series selector by itself.

    Raises:
        PromQLError: it is none.
    """
    if fault := diagnose_selector(text):
        raise PromQLError("bad_data", fault)
    expr = parsed(text)
    if not isinstance(expr, parser.VectorSelector):
        raise PromQLError("bad_data", f"parse error: {text[:200]!r} is not a series selector")
    return expr


def _beyond_reason(words: list[Token]) -> bool:
    """Whether some number can be neither a duration nor a time, where the parser takes it for nothing, or panics."""
    before = ""
    for word in words:
        is_time = word.kind is Kind.DURATION or (word.kind is Kind.NUMBER and before in _BEFORE_TIMES)
        if is_time and not 0 < seconds_of(word) <= FARTHEST_S:
            return True
        before = word.text.lower()
    return False


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
    if isinstance(node, parser.VectorSelector) and any(map(_unusable, node.matchers.matchers)):
        return diagnose(expr) or ""
    if isinstance(node, parser.VectorSelector) and node.matchers.or_matchers:
        place = _place(expr, "or")
        return f'{place}: parse error: unexpected identifier "or" in label matching, expected "," or "}}"'
    return ""


def _unusable(matcher: parser.Matcher) -> bool:
    return is_pattern(matcher) and bool(pattern_fault(matcher.value))


def _place(expr: str, word: str) -> str:
    """Line and column of a word's first occurrence."""
    before = expr[: max(expr.find(word), 0)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
