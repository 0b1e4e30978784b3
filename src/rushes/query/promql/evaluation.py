"""Walks a query's expression, over all steps at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import promql_parser as parser

from rushes.query.promql import (
    aggregation,
    fits,
    functions,
    grids,
    histogram,
    matching,
    ranges,
    relabel,
    selectors,
)
from rushes.query.promql.binary import Matching, binary
from rushes.query.promql.calendar import CALENDAR
from rushes.query.promql.model import Floats, PromQLError, Scalar, Text, Value, Vector, without_name
from rushes.query.promql.notes import Notes
from rushes.query.promql.reader import Reader
from rushes.query.promql.selectors import Grid, Windows

__all__ = ["Evaluation"]


class Evaluation:
    """One query over one grid of steps; `notes` are what its author should know.

    Args:
        reader: the way to the store.
        grid: the steps.
        lookback_ms: for how long a series' newest sample counts.
        subquery_ms: the step of subqueries that don't say one.
        notes: where remarks go.
    """

    def __init__(self, reader: Reader, grid: Grid, lookback_ms: int, subquery_ms: int, notes: Notes) -> None:
        self._reader = reader
        self._grid = grid
        self._steps = len(grid.times)
        self._lookback_ms = lookback_ms
        self._subquery_ms = subquery_ms
        self.notes = notes

    def value(self, expr: Any) -> Value:
        """The value of an expression that is no range vector.

        Raises:
            PromQLError: it fails on the data, or runs out of time.
        """
        self._reader.deadline.check()
        found: Value
        match expr:
            case parser.NumberLiteral():
                found = Scalar(np.full(self._steps, expr.val, dtype=np.float64))
            case parser.StringLiteral():
                found = Text(expr.val)
            case parser.ParenExpr():
                found = self.value(expr.expr)
            case parser.VectorSelector():
                found = self._selected(expr)
            case parser.UnaryExpr():
                found = self._negated(expr)
            case parser.BinaryExpr():
                found = self._binary(expr)
            case parser.AggregateExpr():
                found = self._aggregated(expr)
            case parser.Call():
                found = self._called(expr)
            case _:
                raise PromQLError("execution", f"unhandled expression: {expr}")
        return found

    def windows(self, expr: Any) -> Windows:
        """The windows of a range vector."""
        expr = _bare(expr)
        self._reader.deadline.check()
        if isinstance(expr, parser.SubqueryExpr):
            return self._subquery(expr)
        range_ms = selectors.milliseconds(expr.range)
        return selectors.windows(self._reader, expr.vector_selector, self._grid, range_ms)

    def _subquery(self, expr: parser.SubqueryExpr) -> Windows:
        times = self._grid.seen_by(expr)
        range_ms = selectors.milliseconds(expr.range)
        step = selectors.milliseconds(expr.step) or self._subquery_ms
        # Steps lie at multiples of the step, whenever the query is asked.
        first, last = (int(times.min()) - range_ms) // step + 1, int(times.max()) // step
        self._reader.bound(last - first + 1)
        inner = np.arange(first, last + 1, dtype=np.int64) * step
        if not len(inner):
            return selectors.of_steps(Vector.empty(0), inner, times, self._grid.times, range_ms)
        grid = Grid(inner, self._grid.start, self._grid.end)
        evaluation = Evaluation(self._reader, grid, self._lookback_ms, self._subquery_ms, self.notes)
        found = evaluation.value(expr.expr)
        if isinstance(found, Scalar):
            found = Vector([{}], found.values[None, :], np.ones((1, len(inner)), dtype=bool))
        return selectors.of_steps(_vector(found), inner, times, self._grid.times, range_ms)

    def _selected(self, expr: parser.VectorSelector) -> Vector:
        found = None
        if not selectors.has_histograms(self._reader, expr):
            found = grids.per_series(self._reader, "", expr, self._grid, self._lookback_ms)
        return self._newest(expr)[0] if found is None else found

    def _newest(self, expr: parser.VectorSelector) -> tuple[Vector, Any]:
        found = selectors.windows(self._reader, expr, self._grid, self._lookback_ms, stale=True)
        return selectors.newest(found)

    def _vector(self, expr: Any) -> Vector:
        return _vector(self.value(expr))

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

    def _negated(self, expr: parser.UnaryExpr) -> Value:
        value = self.value(expr.expr)
        if isinstance(value, Scalar):
            return Scalar(-value.values)
        of = _vector(value)
        histograms = None
        if of.histograms is not None:
            histograms = of.histograms.copy()
            for place in np.argwhere(of.are_histograms):
                histograms[tuple(place)] = histograms[tuple(place)].scaled(-1.0)
        return Vector(without_name(of.labels), -of.values, of.present, histograms).unique()

    def _binary(self, expr: parser.BinaryExpr) -> Value:
        left, right = self.value(expr.lhs), self.value(expr.rhs)
        if isinstance(left, Text) or isinstance(right, Text):
            raise PromQLError("bad_data", f"strings have no operators: {expr}")
        modifier = expr.modifier
        how = Matching()
        if modifier is not None:
            on = modifier.matching is not None and modifier.matching.type == parser.LabelModifierType.Include
            many = ""
            if modifier.card == parser.VectorMatchCardinality.ManyToOne:
                many = "left"
            elif modifier.card == parser.VectorMatchCardinality.OneToMany:
                many = "right"
            how = Matching(
                on,
                () if modifier.matching is None else tuple(modifier.matching.labels),
                many,
                tuple(modifier.group_labels or ()),
                modifier.fill_values.lhs,
                modifier.fill_values.rhs,
            )
        return_bool = modifier is not None and modifier.return_bool
        return binary(str(expr.op), left, right, how, self.notes, return_bool=return_bool)

    def _aggregated(self, expr: parser.AggregateExpr) -> Value:
        operator = str(expr.op)
        names = () if expr.modifier is None else tuple(expr.modifier.labels)
        without = expr.modifier is not None and expr.modifier.type == parser.AggModifierType.Without
        grouping = aggregation.Grouping(names, without)
        match operator:
            case "count_values":
                return aggregation.count_values(self._vector(expr.expr), grouping, self._text(expr.param))
            case "quantile":
                quantile = self._numbers(expr.param)
                return aggregation.quantiles(self._vector(expr.expr), grouping, quantile, self.notes)
            case "topk" | "bottomk":
                k, of = self._numbers(expr.param), self._vector(expr.expr)
                return aggregation.ranked(of, grouping, k, self.notes, largest=operator == "topk")
            case "limitk":
                return aggregation.limited(self._vector(expr.expr), grouping, self._numbers(expr.param))
        return aggregation.aggregate(operator, self._vector(expr.expr), grouping, self.notes)

    def _called(self, expr: parser.Call) -> Value:
        name, arguments = expr.func.name, list(expr.args)
        if name in ranges.RANGE_FUNCTIONS:
            return self._over_range(name, _bare(arguments[0]))
        if name in functions.ELEMENTWISE:
            return functions.of_numbers(self._vector(arguments[0]), functions.ELEMENTWISE[name])
        if name in histogram.STATISTICS:
            return histogram.statistic(name, self._vector(arguments[0]))
        if name in CALENDAR:
            return self._on_calendar(name, arguments)
        if name not in _HANDLERS:
            raise PromQLError("bad_data", f'parse error: function "{name}" is not enabled')
        return _HANDLERS[name](self, arguments)

    def _over_range(self, name: str, of: Any) -> Vector:
        if (
            grids.computes(name, self._grid)
            and isinstance(of, parser.MatrixSelector)
            and not selectors.has_histograms(self._reader, of.vector_selector)
        ):
            range_ms = selectors.milliseconds(of.range)
            found = grids.per_series(self._reader, name, of.vector_selector, self._grid, range_ms)
            if found is not None:
                return ranges.named(name, found, self.notes)
        return ranges.over_windows(name, self.windows(of), self.notes)

    def _on_calendar(self, name: str, arguments: list[Any]) -> Value:
        function = CALENDAR[name]
        if not arguments:
            return Vector(
                [{}], function(self._grid.times / 1000)[None, :], np.ones((1, self._steps), dtype=bool)
            )
        return functions.of_numbers(self._vector(arguments[0]), function)

    def _time(self, _: list[Any]) -> Value:
        return Scalar(self._grid.times / 1000)

    def _pi(self, _: list[Any]) -> Value:
        return Scalar(np.full(self._steps, np.pi))

    def _timestamp(self, arguments: list[Any]) -> Value:
        inner = _bare(arguments[0])
        if isinstance(inner, parser.VectorSelector):
            found, at = self._newest(inner)
            return Vector(without_name(found.labels), at / 1000, found.present).unique()
        of = self._vector(inner)
        values = np.broadcast_to(self._grid.times / 1000, of.values.shape)
        return Vector(without_name(of.labels), values, of.present).unique()

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
        inner = _bare(arguments[0])
        labels = matching.equalities(inner) if isinstance(inner, parser.VectorSelector) else {}
        return functions.absent(self._vector(inner), labels, self._steps)

    def _absent_over_time(self, arguments: list[Any]) -> Value:
        inner = _bare(arguments[0])
        labels = {}
        if isinstance(inner, parser.MatrixSelector):
            labels = matching.equalities(inner.vector_selector)
        of = self.windows(inner)
        return functions.absent(Vector(of.labels, np.ones(of.low.shape), of.filled), labels, self._steps)

    def _sort(self, arguments: list[Any]) -> Value:
        return functions.sorted_by_value(self._vector(arguments[0]), descending=False)

    def _sort_desc(self, arguments: list[Any]) -> Value:
        return functions.sorted_by_value(self._vector(arguments[0]), descending=True)

    def _label_replace(self, arguments: list[Any]) -> Value:
        target, replacement, source, pattern = (self._text(argument) for argument in arguments[1:5])
        of = self._vector(arguments[0])
        return relabel.label_replaced(self._reader, of, (target, replacement, source, pattern))

    def _label_join(self, arguments: list[Any]) -> Value:
        target, separator, *sources = (self._text(argument) for argument in arguments[1:])
        return relabel.label_joined(self._vector(arguments[0]), target, separator, sources)

    def _histogram_quantile(self, arguments: list[Any]) -> Value:
        quantile = self._numbers(arguments[0])
        return histogram.histogram_quantile(quantile, self._vector(arguments[1]), self.notes)

    def _histogram_fraction(self, arguments: list[Any]) -> Value:
        low, high = self._numbers(arguments[0]), self._numbers(arguments[1])
        return histogram.histogram_fraction(low, high, self._vector(arguments[2]), self.notes)

    def _quantile_over_time(self, arguments: list[Any]) -> Value:
        quantile, of = self._numbers(arguments[0]), self.windows(arguments[1])
        if of.filled.any():
            for wrong in np.unique(quantile[~((quantile >= 0) & (quantile <= 1))]).tolist():
                self.notes.bad_quantile(wrong)
        return ranges.over_windows(
            "quantile_over_time", of, self.notes, lambda floats: fits.quantile(floats, quantile)
        )

    def _predict_linear(self, arguments: list[Any]) -> Value:
        of, seconds = self.windows(arguments[0]), self._numbers(arguments[1])
        return ranges.over_windows(
            "predict_linear", of, self.notes, lambda floats: fits.predicted(floats, seconds)
        )

    def _smoothed(self, arguments: list[Any]) -> Value:
        of, smoothing, trend = (
            self.windows(arguments[0]),
            self._numbers(arguments[1]),
            self._numbers(arguments[2]),
        )
        name = "double_exponential_smoothing"
        return ranges.over_windows(
            name, of, self.notes, lambda floats: fits.smoothed(floats, smoothing, trend)
        )

    def _mad_over_time(self, arguments: list[Any]) -> Value:
        return ranges.over_windows(
            "mad_over_time", self.windows(arguments[0]), self.notes, fits.median_deviation
        )

    def _sort_by_label(self, arguments: list[Any]) -> Value:
        names = [self._text(argument) for argument in arguments[1:]]
        return relabel.sorted_by_labels(self._vector(arguments[0]), names, descending=False)

    def _sort_by_label_desc(self, arguments: list[Any]) -> Value:
        names = [self._text(argument) for argument in arguments[1:]]
        return relabel.sorted_by_labels(self._vector(arguments[0]), names, descending=True)

    HANDLERS: Final[dict[str, Callable[[Evaluation, list[Any]], Value]]] = {
        "time": _time,
        "pi": _pi,
        "timestamp": _timestamp,
        "vector": _as_vector,
        "scalar": _as_scalar,
        "round": _round,
        "clamp": _clamp,
        "clamp_min": _clamp_min,
        "clamp_max": _clamp_max,
        "absent": _absent,
        "absent_over_time": _absent_over_time,
        "sort": _sort,
        "sort_desc": _sort_desc,
        "label_replace": _label_replace,
        "label_join": _label_join,
        "histogram_quantile": _histogram_quantile,
        "histogram_fraction": _histogram_fraction,
        "quantile_over_time": _quantile_over_time,
        "predict_linear": _predict_linear,
        "double_exponential_smoothing": _smoothed,
        "mad_over_time": _mad_over_time,
        "sort_by_label": _sort_by_label,
        "sort_by_label_desc": _sort_by_label_desc,
    }


_HANDLERS: Final = Evaluation.HANDLERS


def _bare(expr: Any) -> Any:
    """An expression out of its parentheses."""
    while isinstance(expr, parser.ParenExpr):
        expr = expr.expr
    return expr


def _vector(value: Value) -> Vector:
    if not isinstance(value, Vector):
        raise PromQLError("bad_data", f"expected an instant vector, got a {type(value).__name__.lower()}")
    return value
