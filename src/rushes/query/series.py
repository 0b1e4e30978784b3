"""Which series there are: names, labels, their values, what a metric means, and exemplars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import promql_parser as parser

from rushes.query.promql.matching import condition, on_metric
from rushes.query.promql.model import NAME, Labels, PromQLError, key_of
from rushes.query.promql.parsing import parsed, selector
from rushes.query.promql.tree import selectors
from rushes.store.interface import Param, Row, Store, StoreError, StoreQueryError

__all__ = ["Exemplar", "ExemplarSeries", "MetricHelp", "SeriesIndex"]

_MAX: Final = 100_000
# A live series' `last_seen` is written again at least this often.
_REWRITTEN_S: Final = 7200
# Times up to 2106, which is as far as the store's seconds go.
_LATEST_S: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class MetricHelp:
    """What a metric is: its Prometheus type, its help text, its unit."""

    type: str
    help: str
    unit: str


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One example measurement; `labels` have its trace_id and span_id, `ts_ms` is its time."""

    labels: Labels
    value: float
    ts_ms: int


@dataclass(frozen=True, slots=True)
class ExemplarSeries:
    """A series and its exemplars by time."""

    labels: Labels
    exemplars: list[Exemplar]


class SeriesIndex:
    """Reads what is known of series. All methods block; times are seconds since the epoch.

    Selectors are PromQL's, such as `up{job="x"}`; several are alternatives. All methods raise PromQLError
    for one that can't be understood.

    Args:
        store: where the series are.
        clock: seconds since the epoch, now.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def series(
        self, match: list[str], start_s: float | None = None, end_s: float | None = None
    ) -> list[Labels]:
        """The labels of every matching series that has samples in this time, `__name__` included."""
        chosen = list(map(selector, match))
        where, params = _where(chosen, start_s)
        if start_s is not None or end_s is not None:
            where, params = _sampled(where, params, chosen, start_s, end_s)
        rows = self._rows(
            f"SELECT metric, any(labels) AS of_series FROM series WHERE {where} "
            "GROUP BY metric, series_id LIMIT {limit:UInt32}",
            params | {"limit": _MAX},
        )
        return sorted(({NAME: row["metric"], **row["of_series"]} for row in rows), key=key_of)

    def labels(
        self, match: list[str] | None = None, start_s: float | None = None, end_s: float | None = None
    ) -> list[str]:
        """The names of all labels that series had in this time, or up to two hours beside it."""
        where, params = self._nearly(match or [], start_s, end_s)
        rows = self._rows(
            f"SELECT DISTINCT arrayJoin(mapKeys(labels)) AS name FROM series WHERE {where}", params
        )
        found = {row["name"] for row in rows}
        if found or self._rows(f"SELECT 1 AS one FROM series WHERE {where} LIMIT 1", params):
            found.add(NAME)
        return sorted(found)

    def label_values(
        self,
        name: str,
        match: list[str] | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> list[str]:
        """All values that a label (`__name__`: the names of all metrics) had then, or up to two hours beside it."""
        where, params = self._nearly(match or [], start_s, end_s)
        if name == NAME:
            rows = self._rows(f"SELECT DISTINCT metric AS value FROM series WHERE {where}", params)
        else:
            rows = self._rows(
                "SELECT DISTINCT labels[{label:String}] AS value FROM series "
                f"WHERE {where} AND mapContains(labels, {{label:String}})",
                params | {"label": name},
            )
        return sorted(row["value"] for row in rows)

    def _nearly(
        self, match: list[str], start_s: float | None, end_s: float | None
    ) -> tuple[str, dict[str, Param]]:
        """The condition on series in a time, without a look at samples where it lasts until now."""
        chosen = list(map(selector, match))
        where, params = _where(chosen, start_s)
        if end_s is None or end_s > self._clock() - _REWRITTEN_S:
            return where, params
        return _sampled(where, params, chosen, start_s, end_s)

    def metadata(self, metric: str | None = None, limit: int = _MAX) -> dict[str, MetricHelp]:
        """What each metric, or this one, means, as its instrument said last."""
        rows = self._rows(
            "SELECT metric, argMax(type, last_seen) AS kind, argMax(help, last_seen) AS about, "
            "argMax(unit, last_seen) AS in_unit FROM metrics "
            f"WHERE {'metric = {metric:String}' if metric is not None else '1'} "
            "GROUP BY metric ORDER BY metric LIMIT {limit:UInt32}",
            {"limit": min(limit, _MAX), "metric": metric or ""},
        )
        return {row["metric"]: MetricHelp(row["kind"], row["about"], row["in_unit"]) for row in rows}

    def exemplars(self, expr: str, start_s: float, end_s: float) -> list[ExemplarSeries]:
        """Exemplars of every series that a selector or any PromQL expression mentions."""
        found: dict[Any, ExemplarSeries] = {}
        for of in selectors(parsed(expr)):
            where, params = condition(of)
            rows = self._rows(
                f"""
                WITH matched AS (SELECT metric, series_id, any(labels) AS of_series FROM series
                  WHERE {where} GROUP BY metric, series_id)
                SELECT metric, of_series, toUnixTimestamp64Milli(ts) AS ts_ms, value, trace_id, span_id,
                  exemplars.labels AS more
                FROM exemplars INNER JOIN matched USING (metric, series_id)
                WHERE ts >= fromUnixTimestamp64Milli({{start:Int64}})
                  AND ts <= fromUnixTimestamp64Milli({{end:Int64}})
                ORDER BY ts_ms LIMIT 1 BY series_id, ts_ms, trace_id LIMIT {_MAX}""",
                params | {"start": _milliseconds(start_s), "end": _milliseconds(end_s)},
            )
            for row in rows:
                labels = {NAME: row["metric"], **row["of_series"]}
                series = found.setdefault(key_of(labels), ExemplarSeries(labels, []))
                ids = {"trace_id": row["trace_id"], "span_id": row["span_id"]}
                of_exemplar = {name: value for name, value in ids.items() if value} | row["more"]
                series.exemplars.append(Exemplar(of_exemplar, row["value"], row["ts_ms"]))
        return [found[key] for key in sorted(found)]

    def _rows(self, sql: str, params: dict[str, Param]) -> list[Row]:
        try:
            return self._store.rows(sql, params)
        except StoreQueryError as error:
            raise PromQLError("bad_data", f"a matcher can't be evaluated: {error}") from error
        except StoreError as error:
            raise PromQLError("execution", str(error)) from error


def _where(chosen: list[parser.VectorSelector], start_s: float | None) -> tuple[str, dict[str, Param]]:
    """The condition on series that match, but for those that ended well before the start."""
    where, params = _any(condition(of, f"s{number}") for number, of in enumerate(chosen))
    if start_s is not None:
        where += " AND last_seen >= toDateTime({since:Int64})"
        params["since"] = min(max(0, int(start_s) - _REWRITTEN_S), _LATEST_S)
    return where, params


def _sampled(
    where: str,
    params: dict[str, Param],
    chosen: list[parser.VectorSelector],
    start_s: float | None,
    end_s: float | None,
) -> tuple[str, dict[str, Param]]:
    """The same for those series alone that have samples from the start to the end, both included."""
    metrics, more = _any(on_metric(of, f"k{number}") for number, of in enumerate(chosen))
    within = (
        f"{metrics} AND ts >= fromUnixTimestamp64Milli({{first:Int64}}) "
        "AND ts <= fromUnixTimestamp64Milli({last:Int64})"
    )
    where += (
        f" AND series_id IN (SELECT series_id FROM samples WHERE {within} "
        f"UNION DISTINCT SELECT series_id FROM histograms WHERE {within})"
    )
    first, last = 0 if start_s is None else start_s, _LATEST_S if end_s is None else end_s
    bounds = {"first": _milliseconds(first), "last": _milliseconds(last)}
    return where, params | more | bounds


def _milliseconds(seconds: float) -> int:
    return round(min(max(seconds, -_LATEST_S), _LATEST_S) * 1000)


def _any(conditions: Iterable[tuple[str, dict[str, Param]]]) -> tuple[str, dict[str, Param]]:
    """That one of the conditions holds, if there are any."""
    alternatives: list[str] = []
    params: dict[str, Param] = {}
    for where, bound in conditions:
        alternatives.append(f"({where})")
        params |= bound
    return f"({' OR '.join(alternatives)})" if alternatives else "1", params
