"""Label matchers as conditions on the store's `series` table."""

from __future__ import annotations

from typing import Final

import promql_parser as parser

from rushes.query.promql.model import NAME, PromQLError
from rushes.query.promql.patterns import anchored, is_pattern
from rushes.store.interface import Param

__all__ = [
    "by_metric_alone",
    "condition",
    "equalities",
    "matchers_of",
    "on_metric",
]

_OPERATORS: Final = (  # the parser's enumerations can be compared, but are no keys
    (parser.MatchOp.Equal, "{left} = {{{value}:String}}"),
    (parser.MatchOp.NotEqual, "{left} != {{{value}:String}}"),
    (parser.MatchOp.Re, "match({left}, {{{value}:String}})"),
    (parser.MatchOp.NotRe, "NOT match({left}, {{{value}:String}})"),
)


def matchers_of(of: parser.VectorSelector) -> list[parser.Matcher]:
    """All matchers, the metric's name among them.

    Raises:
        PromQLError: some are alternatives, which PromQL doesn't have.
    """
    if of.matchers.or_matchers:
        raise PromQLError("bad_data", 'parse error: unexpected "or" in label matching, expected "," or "}"')
    found = list(of.matchers.matchers)
    if of.name is not None:
        found.append(parser.Matcher(parser.MatchOp.Equal, NAME, of.name))
    return found


def condition(of: parser.VectorSelector, prefix: str = "m") -> tuple[str, dict[str, Param]]:
    """SQL on the columns `metric` and `labels`, and its parameters; a label that is absent is empty."""
    return _condition(matchers_of(of), prefix)


def on_metric(of: parser.VectorSelector, prefix: str = "k") -> tuple[str, dict[str, Param]]:
    """The part of `condition` that is about the column `metric` alone, which every table is sorted by."""
    where, params = _condition([matcher for matcher in matchers_of(of) if matcher.name == NAME], prefix)
    return where or "1", params


def by_metric_alone(of: parser.VectorSelector) -> bool:
    """Whether all matchers are about the metric's name."""
    return all(matcher.name == NAME for matcher in matchers_of(of))


def _condition(matchers: list[parser.Matcher], prefix: str) -> tuple[str, dict[str, Param]]:
    parts: list[str] = []
    params: dict[str, Param] = {}
    for number, matcher in enumerate(matchers):
        value = f"{prefix}v{number}"
        left = "metric"
        if matcher.name != NAME:
            left = f"labels[{{{prefix}n{number}:String}}]"
            params[f"{prefix}n{number}"] = matcher.name
        params[value] = anchored(matcher.value) if is_pattern(matcher) else matcher.value
        parts += [sql.format(left=left, value=value) for op, sql in _OPERATORS if op == matcher.op]
    return " AND ".join(parts), params


def equalities(of: parser.VectorSelector) -> dict[str, str]:
    """The labels that a selector demands to be exactly something, as `absent` reports them."""
    found: dict[str, str] = {}
    ambiguous: set[str] = set()
    for matcher in matchers_of(of):
        if matcher.name == NAME:
            continue
        if matcher.op == parser.MatchOp.Equal and matcher.name not in found:
            found[matcher.name] = matcher.value
        else:
            ambiguous.add(matcher.name)
    return {name: value for name, value in found.items() if name not in ambiguous and value}
