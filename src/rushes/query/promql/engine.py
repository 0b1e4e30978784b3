"""PromQL: answers a query at one time or over many, with Prometheus 3's semantics."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import promql_parser as parser

from rushes.query.promql.deadline import Deadline
from rushes.query.promql.evaluation import Evaluation
from rushes.query.promql.identities import Identities
from rushes.query.promql.model import (
    Floats,
    Objects,
    PromQLError,
    QueryResult,
    Scalar,
    Series,
    Text,
    Value,
    Vector,
    is_histogram,
    key_of,
)
from rushes.query.promql.notes import Notes
from rushes.query.promql.parsing import parsed
from rushes.query.promql.reader import Reader
from rushes.query.promql.selectors import Grid, Windows
from rushes.store.interface import Store

__all__ = ["MAX_STEPS", "PromQL"]

MAX_STEPS: Final = 11_000
"""How many steps a range may have."""

_MAX_SAMPLES: Final = 50_000_000
_ORDERED: Final = ("sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "topk", "bottomk")


class PromQL:
    """Answers PromQL queries. All methods block and may be called from any thread.

    Args:
        store: where the samples are.
        lookback_s: seconds for which a series' newest sample counts as its value.
        max_samples: how many samples one query may hold at once.
        subquery_step_s: the step of subqueries that don't say one.
        experimental: whether functions are allowed that Prometheus has behind a feature flag.
    """

    def __init__(
        self,
        store: Store,
        *,
        lookback_s: float = 300,
        max_samples: int = _MAX_SAMPLES,
        subquery_step_s: float = 60,
        experimental: bool = False,
    ) -> None:
        self._store = store
        self._lookback_s = lookback_s
        self._max_samples = max_samples
        self._subquery_ms = _ms(subquery_step_s)
        self._experimental = experimental
        self._identities = Identities()

    def instant(
        self, expr: str, time_s: float, *, deadline: Deadline | None = None, lookback_s: float | None = None
    ) -> QueryResult:
        """The query's value at one time (seconds since the epoch).

        Raises:
            PromQLError: the query can't be understood, fails on the data, or runs out of time.
        """
        parse = parsed(expr, experimental=self._experimental)
        moment = _ms(time_s)
        evaluation = self._evaluation(
            Grid(np.array([moment], dtype=np.int64), moment, moment), deadline, lookback_s
        )
        at = moment / 1000
        while isinstance(parse, parser.ParenExpr):
            parse = parse.expr
        if isinstance(parse, parser.MatrixSelector | parser.SubqueryExpr):
            return _result("matrix", _raw(evaluation.windows(parse)), evaluation.notes)
        value = evaluation.value(parse)
        match value:
            case Text(text):
                return QueryResult("string", [Series({}, [at], [])], text=text)
            case Scalar(values):
                return _result("scalar", [Series({}, [at], values.tolist())], evaluation.notes)
        found = _series(value, np.array([at]))
        if not _is_ordered(parse):
            found.sort(key=lambda series: key_of(series.labels))
        return _result("vector", found, evaluation.notes)

    def range(
        self,
        expr: str,
        start_s: float,
        end_s: float,
        step_s: float,
        *,
        deadline: Deadline | None = None,
        lookback_s: float | None = None,
    ) -> QueryResult:
        """The query's value at every step from start to end (seconds since the epoch), as a matrix.

        Raises:
            PromQLError: the query or the range can't be understood, the query fails on the data, or runs out of time.
        """
        start, end, step = _ms(start_s), _ms(end_s), _ms(step_s)
        if end < start:
            raise PromQLError("bad_data", "the end must not be before the start")
        if step <= 0:
            raise PromQLError("bad_data", f"the step must be a millisecond or more, not {step_s} s")
        if (end - start) // step > MAX_STEPS:
            raise PromQLError(
                "bad_data",
                f"the range has more than {MAX_STEPS:,} steps: take a longer step, or a shorter range",
            )
        parse = parsed(expr, experimental=self._experimental)
        kind = _RANGELESS.get(type(parse))
        if kind is not None:
            raise PromQLError(
                "bad_data",
                f'invalid expression type "{kind}" for range query, must be Scalar or instant Vector',
            )
        times = np.arange(start, end + 1, step, dtype=np.int64)
        evaluation = self._evaluation(Grid(times, start, end), deadline, lookback_s)
        value = evaluation.value(parse)
        seconds = times / 1000
        if isinstance(value, Scalar):
            return _result("matrix", [Series({}, seconds.tolist(), value.values.tolist())], evaluation.notes)
        found = _series(_vector(value), seconds)
        found.sort(key=lambda series: key_of(series.labels))
        return _result("matrix", found, evaluation.notes)

    def _evaluation(self, grid: Grid, deadline: Deadline | None, lookback_s: float | None) -> Evaluation:
        lookback = _ms(self._lookback_s if lookback_s is None else lookback_s)
        reader = Reader(self._store, deadline or Deadline(float("inf")), self._max_samples, self._identities)
        return Evaluation(reader, grid, lookback, self._subquery_ms, Notes())


_RANGELESS: Final[dict[Any, str]] = {
    parser.MatrixSelector: "range vector",
    parser.SubqueryExpr: "range vector",
    parser.StringLiteral: "string",
}


def _ms(seconds: float) -> int:
    try:
        return round(seconds * 1000)
    except (ValueError, OverflowError) as error:
        raise PromQLError("bad_data", f"{seconds} is not a time") from error


def _vector(value: Value) -> Vector:
    if not isinstance(value, Vector):
        raise PromQLError("bad_data", "a range query must be a scalar or an instant vector")
    return value


def _result(kind: Any, series: list[Series], notes: Notes) -> QueryResult:
    return QueryResult(kind, series, notes.warnings, infos=notes.infos)


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


def _series(of: Vector, seconds: Floats) -> list[Series]:
    """Every series where it exists."""
    found = []
    everywhere: list[bool] = np.all(of.present, axis=1).tolist()
    anywhere: list[bool] = np.any(of.present, axis=1).tolist()
    all_seconds = seconds.tolist()
    for row, labels in enumerate(of.labels):
        if not anywhere[row]:
            continue
        there = slice(None) if everywhere[row] else of.present[row]
        histograms = [] if of.histograms is None else _histograms(of.histograms[row][there])
        at = all_seconds if everywhere[row] else seconds[there].tolist()
        found.append(Series(labels, at, of.values[row][there].tolist(), histograms))
    return found


def _histograms(samples: Objects) -> list[Any]:
    """The histograms of a series, nothing if it has none."""
    return samples.tolist() if is_histogram(samples).any() else []


def _raw(of: Windows) -> list[Series]:
    """The samples themselves."""
    found = []
    for row, labels in enumerate(of.labels):
        window = slice(of.low[row, 0], of.high[row, 0])
        if of.high[row, 0] > of.low[row, 0]:
            histograms = [] if of.histograms is None else _histograms(of.histograms[window])
            seconds = (of.ts[window] / 1000).tolist()
            found.append(Series(labels, seconds, of.values[window].tolist(), histograms))
    found.sort(key=lambda series: key_of(series.labels))
    return found
