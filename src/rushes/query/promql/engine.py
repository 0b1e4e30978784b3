"""PromQL: parses a query and walks it, over all steps at once.

What is evaluated is Prometheus 3's semantics: windows that exclude their left edge, its extrapolation, its
matching. What isn't evaluated yet says so instead of guessing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import promql_parser as parser

from rushes.query.promql import functions, matching, ranges, selectors
from rushes.query.promql.aggregation import aggregate
from rushes.query.promql.binary import Matching, binary
from rushes.query.promql.histogram import histogram_quantile
from rushes.query.promql.model import (
    MAX_POINTS,
    Floats,
    PromQLError,
    QueryResult,
    Scalar,
    Series,
    Text,
    Value,
    Vector,
    key_of,
    unsupported,
    without_name,
)
from rushes.query.promql.selectors import Grid, Windows
from rushes.store.interface import Store

__all__ = ["PromQL"]

_MAX_STEPS: Final = 11_000
_ORDERED: Final = ("sort", "sort_desc", "topk", "bottomk")


class PromQL:
    """Answers PromQL queries. All methods block.

    Args:
        store: where the samples are.
        lookback_s: seconds for which a series' newest sample counts as its value.
    """

    def __init__(self, store: Store, *, lookback_s: int = 300) -> None:
        self._store = store
        self._lookback_ms = lookback_s * 1000

    def instant(self, expr: str, time_s: float) -> QueryResult:
        """The query's value at one time (seconds since the epoch).

        Raises:
            PromQLError: the query can't be understood, or fails on the data.
        """
        parsed = _parsed(expr)
        moment = _ms(time_s)
        grid = Grid(np.array([moment], dtype=np.int64), moment, moment)
        if isinstance(parsed, parser.MatrixSelector):
            return _raw(selectors.windows(self._store, parsed, grid))
        value = _Evaluation(self._store, grid, self._lookback_ms).value(parsed)
        at = moment / 1000
        match value:
            case Text(text):
                return QueryResult("string", [Series({}, [at], [])], text=text)
            case Scalar(values):
                return QueryResult("scalar", [Series({}, [at], values.tolist())])
        found = [
            Series(labels, [at], [number])
            for labels, number, there in zip(
                value.labels, value.values[:, 0].tolist(), value.present[:, 0].tolist(), strict=True
            )
            if there
        ]
        if not _is_ordered(parsed):
            found.sort(key=lambda series: key_of(series.labels))
        return QueryResult("vector", found)

    def range(self, expr: str, start_s: float, end_s: float, step_s: float) -> QueryResult:
        """The query's value at every step from start to end (seconds since the epoch), as a matrix.

        Raises:
            PromQLError: the query or the range can't be understood, or the query fails on the data.
        """
        start, end, step = _ms(start_s), _ms(end_s), _ms(step_s)
        if step <= 0:
            raise PromQLError(
                "bad_data", f"zero or negative step is not accepted, got {step_s:g}: try a positive one"
            )
        if end < start:
            raise PromQLError(
                "bad_data", f"end timestamp {end_s:g} must not be before start timestamp {start_s:g}"
            )
        if (end - start) // step > _MAX_STEPS:
            raise PromQLError(
                "bad_data",
                f"exceeded maximum resolution of {_MAX_STEPS:,} steps per timeseries: "
                f"increase the step of {step_s:g} s or shorten the range",
            )
        parsed = _parsed(expr)
        times = np.arange(start, end + 1, step, dtype=np.int64)
        value: Value | Windows
        if isinstance(parsed, parser.MatrixSelector | parser.StringLiteral):
            raise PromQLError(
                "bad_data", "invalid expression type for a range query: it must be a scalar or instant vector"
            )
        value = _Evaluation(self._store, Grid(times, start, end), self._lookback_ms).value(parsed)
        seconds = (times / 1000).tolist()
        if isinstance(value, Scalar):
            return QueryResult("matrix", [Series({}, seconds, value.values.tolist())])
        if isinstance(value, Text):
            raise PromQLError("bad_data", "invalid expression type string for a range query")
        found = []
        for row, labels in enumerate(value.labels):
            there = value.present[row]
            if there.all():
                found.append(Series(labels, seconds, value.values[row].tolist()))
            elif there.any():
                found.append(
                    Series(labels, (times[there] / 1000).tolist(), value.values[row][there].tolist())
                )
        found.sort(key=lambda series: key_of(series.labels))
        return QueryResult("matrix", found)


def _ms(seconds: float) -> int:
    try:
        return round(seconds * 1000)
    except (ValueError, OverflowError) as error:
        raise PromQLError("bad_data", f"{seconds} is not a time") from error


def _parsed(expr: str) -> Any:
    try:
        return parser.parse(expr)
    except ValueError as error:
        raise PromQLError("bad_data", f"invalid parameter 'query': {error}") from error


def _is_ordered(expr: Any) -> bool:
    """Whether the query itself says in which order its series come."""
    match expr:
        case parser.ParenExpr():
            return _is_ordered(expr.expr)
        case parser.Call():
            return expr.func.name in _ORDERED
        case parser.AggregateExpr():
            return str(expr.op) in _ORDERED
    return False


def _raw(of: Windows) -> QueryResult:
    found = []
    for row, labels in enumerate(of.labels):
        window = slice(of.low[row, 0], of.high[row, 0])
        if of.high[row, 0] > of.low[row, 0]:
            found.append(Series(labels, (of.ts[window] / 1000).tolist(), of.values[window].tolist()))
    found.sort(key=lambda series: key_of(series.labels))
    return QueryResult("matrix", found)


class _Evaluation:
    """One query over one grid of steps."""

    def __init__(self, store: Store, grid: Grid, lookback_ms: int) -> None:
        self._store = store
        self._grid = grid
        self._steps = len(grid.times)
        self._lookback_ms = lookback_ms

    def value(self, expr: Any) -> Value:
        found: Value
        match expr:
            case parser.NumberLiteral():
                found = self._constant(expr.val)
            case parser.StringLiteral():
                found = Text(expr.val)
            case parser.ParenExpr():
                found = self.value(expr.expr)
            case parser.VectorSelector():
                found = selectors.instant_vector(self._store, expr, self._grid, self._lookback_ms)
            case parser.UnaryExpr():
                found = self._negated(expr)
            case parser.BinaryExpr():
                found = self._binary(expr)
            case parser.AggregateExpr():
                found = self._aggregated(expr)
            case parser.Call():
                found = self._called(expr)
            case _:
                raise unsupported("a subquery" if isinstance(expr, parser.SubqueryExpr) else f"{expr} here")
        return found

    def _constant(self, value: float) -> Scalar:
        return Scalar(np.full(self._steps, value, dtype=np.float64))

    def _vector(self, expr: Any) -> Vector:
        value = self.value(expr)
        if not isinstance(value, Vector):
            raise PromQLError("bad_data", f"expected an instant vector, got {expr}")
        return value

    def _numbers(self, expr: Any) -> Floats:
        value = self.value(expr)
        if not isinstance(value, Scalar):
            raise PromQLError("bad_data", f"expected a scalar, got {expr}")
        return value.values

    def _text(self, expr: Any) -> str:
        value = self.value(expr)
        if not isinstance(value, Text):
            raise PromQLError("bad_data", f"expected a string, got {expr}")
        return value.text

    def _windows(self, expr: Any) -> Windows:
        while isinstance(expr, parser.ParenExpr):
            expr = expr.expr
        if isinstance(expr, parser.SubqueryExpr):
            raise unsupported("a subquery")
        if not isinstance(expr, parser.MatrixSelector):
            raise PromQLError("bad_data", f"expected a range vector, got {expr}")
        return selectors.windows(self._store, expr, self._grid)

    def _negated(self, expr: parser.UnaryExpr) -> Value:
        value = self.value(expr.expr)
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        if not isinstance(value, Vector):
            raise PromQLError("bad_data", f"a string can't be negated: {expr}")
        return Vector(without_name(value.labels), -value.values, value.present).unique()

    def _binary(self, expr: parser.BinaryExpr) -> Value:
        left, right = self.value(expr.lhs), self.value(expr.rhs)
        if isinstance(left, Text) or isinstance(right, Text):
            raise PromQLError("bad_data", f"strings have no operators: {expr}")
        modifier = expr.modifier
        how = Matching()
        if modifier is not None:
            if modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None:
                raise unsupported("fill()")
            on = modifier.matching is not None and modifier.matching.type == parser.LabelModifierType.Include
            many = ""
            if modifier.card == parser.VectorMatchCardinality.ManyToOne:
                many = "left"
            elif modifier.card == parser.VectorMatchCardinality.OneToMany:
                many = "right"
            names = () if modifier.matching is None else tuple(modifier.matching.labels)
            how = Matching(on, names, many, tuple(modifier.group_labels or ()))
        if isinstance(left, Vector) and isinstance(right, Vector):
            self._bounded(left, right)
        return_bool = modifier is not None and modifier.return_bool
        return binary(str(expr.op), left, right, how, return_bool=return_bool)

    def _bounded(self, *vectors: Vector) -> None:
        if sum(len(vector.labels) for vector in vectors) * self._steps > MAX_POINTS:
            raise PromQLError("execution", "the query spans too many points: widen the step")

    def _aggregated(self, expr: parser.AggregateExpr) -> Value:
        parameter = None
        operator = str(expr.op)
        if operator == "count_values":
            raise unsupported("aggregation count_values")
        if expr.param is not None:
            parameter = self._numbers(expr.param)
        names = [] if expr.modifier is None else list(expr.modifier.labels)
        without = expr.modifier is not None and expr.modifier.type == parser.AggModifierType.Without
        return aggregate(operator, self._vector(expr.expr), parameter, names, without=without)

    def _called(self, expr: parser.Call) -> Value:
        name, arguments = expr.func.name, list(expr.args)
        if name in ranges.RANGE_FUNCTIONS:
            return ranges.RANGE_FUNCTIONS[name](self._windows(arguments[0]))
        if name in functions.ELEMENTWISE:
            return functions.ELEMENTWISE[name](self._vector(arguments[0]))
        handler = _HANDLERS.get(name)
        if handler is None:
            raise unsupported(f"function {name}()")
        return handler(self, arguments)

    def _time(self, _: list[Any]) -> Value:
        return Scalar(self._grid.times / 1000)

    def _as_vector(self, arguments: list[Any]) -> Value:
        values = self._numbers(arguments[0])
        return Vector([{}], values[None, :], np.ones((1, self._steps), dtype=bool))

    def _as_scalar(self, arguments: list[Any]) -> Value:
        return functions.scalar(self._vector(arguments[0]), self._steps)

    def _round(self, arguments: list[Any]) -> Value:
        to = self._numbers(arguments[1]) if len(arguments) > 1 else np.ones(self._steps)
        return functions.rounded(self._vector(arguments[0]), to)

    def _clamp(self, arguments: list[Any]) -> Value:
        low, high = self._numbers(arguments[1]), self._numbers(arguments[2])
        return functions.clamped(self._vector(arguments[0]), low, high)

    def _clamp_min(self, arguments: list[Any]) -> Value:
        low = self._numbers(arguments[1])
        return functions.clamped(self._vector(arguments[0]), low, np.full(self._steps, np.inf))

    def _clamp_max(self, arguments: list[Any]) -> Value:
        high = self._numbers(arguments[1])
        return functions.clamped(self._vector(arguments[0]), np.full(self._steps, -np.inf), high)

    def _absent(self, arguments: list[Any]) -> Value:
        inner = arguments[0]
        while isinstance(inner, parser.ParenExpr):
            inner = inner.expr
        labels = matching.equalities(inner) if isinstance(inner, parser.VectorSelector) else {}
        return functions.absent(self._vector(inner), labels, self._steps)

    def _sort(self, arguments: list[Any]) -> Value:
        return functions.sorted_by_value(self._vector(arguments[0]), descending=False)

    def _sort_desc(self, arguments: list[Any]) -> Value:
        return functions.sorted_by_value(self._vector(arguments[0]), descending=True)

    def _label_replace(self, arguments: list[Any]) -> Value:
        target, replacement, source, pattern = (self._text(argument) for argument in arguments[1:5])
        return functions.label_replaced(
            self._store, self._vector(arguments[0]), (target, replacement, source, pattern)
        )

    def _histogram_quantile(self, arguments: list[Any]) -> Value:
        return histogram_quantile(self._numbers(arguments[0]), self._vector(arguments[1])).unique()

    def _quantile_over_time(self, arguments: list[Any]) -> Value:
        return ranges.quantile_over_time(self._numbers(arguments[0]), self._windows(arguments[1]))

    HANDLERS: Final[dict[str, Callable[[_Evaluation, list[Any]], Value]]] = {
        "time": _time,
        "vector": _as_vector,
        "scalar": _as_scalar,
        "round": _round,
        "clamp": _clamp,
        "clamp_min": _clamp_min,
        "clamp_max": _clamp_max,
        "absent": _absent,
        "sort": _sort,
        "sort_desc": _sort_desc,
        "label_replace": _label_replace,
        "histogram_quantile": _histogram_quantile,
        "quantile_over_time": _quantile_over_time,
    }


_HANDLERS: Final = _Evaluation.HANDLERS
