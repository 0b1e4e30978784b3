"""A dashboard's panels evaluated over a time range, as the browser draws them.

A panel whose query fails says so in its own place and the others stand. Values that are not there are None,
never zero.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from rushes.dashboards import Kind
from rushes.web.tones import series_tone, state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rushes.dashboards import Dashboard, Panel, Query
    from rushes.query.promql import QueryResult, Series
    from rushes.web.facades import PromQL
    from rushes.web.timerange import TimeRange

__all__ = ["PanelEvaluator", "declaration"]

logger = logging.getLogger(__name__)
_SPARK_POINTS: Final = 40
_KEPT: Final = 512
_WINDOWS: Final[Mapping[str, int]] = {"24h": 86_400}
_LABEL: Final = re.compile(r"\{(\w+)\}")


class PanelEvaluator:
    """Evaluates panels, remembering recent answers: ranges end on round times, so viewers share them."""

    def __init__(self, promql: PromQL) -> None:
        self._promql = promql
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, float, float, float], list[Line]] = OrderedDict()

    def dashboard(self, dashboard: Dashboard, over: TimeRange) -> dict[str, Any]:
        """Every panel's data by its id. Blocks."""
        return {panel.id: self.panel(panel, over) for panel in dashboard.panels}

    def panel(self, panel: Panel, over: TimeRange) -> dict[str, Any]:
        """One panel's data, or {"error": ...} where its query failed."""
        try:
            match panel.kind:
                case Kind.STAT:
                    return self._stat(panel, over)
                case Kind.PLOT:
                    return self._plot(panel, over)
                case Kind.BARS | Kind.TABLE:
                    return self._rows(panel, over)
        except Exception:
            logger.exception("panel %s could not be evaluated", panel.id)
            return {"error": "This panel's query failed. The control room's log says why."}

    def _stat(self, panel: Panel, over: TimeRange) -> dict[str, Any]:
        query = panel.queries[0]
        whole = round(over.length_s)
        now = _single(self._instant(_filled(query, whole, over), over.end_s))
        step = max(over.step_s, math.ceil(over.length_s / _SPARK_POINTS))
        end = over.end_s // step * step
        before = _single(self._instant(_filled(query, whole, over), end - whole))
        start = end - step * _SPARK_POINTS
        # over a sliding short window: the sparkline shows the course of what the value sums up
        lines = self._range(_filled(query, over.rate_s, over), start, end, step)
        spark = lines[0].values if lines else []
        return {
            "value": now,
            "before": before,
            "spark": spark,
            "last_s": None if now is not None else _last(start, step, spark),
        }

    def _plot(self, panel: Panel, over: TimeRange) -> dict[str, Any]:
        step = over.step_s
        start, end = over.start_s // step * step, over.end_s // step * step
        points = round((end - start) / step) + 1
        series: list[dict[str, Any]] = []
        for query in panel.queries:
            for line in self._range(_filled(query, round(over.length_s), over), start, end, step):
                name = _named(query.legend, line.labels)
                series.append(
                    {
                        "name": name,
                        "tone": series_tone(line.labels.get("model") or line.labels.get("tier") or name),
                        "dashed": query.dashed,
                        "values": line.values,
                    }
                )
        series.sort(key=lambda s: (s["dashed"], s["tone"], s["name"]))
        seen = [t for s in series if (t := _last(start, step, s["values"])) is not None]
        return {
            "start": start,
            "step": step,
            "points": points,
            "series": series,
            "last_s": max(seen, default=None),
            "end": end,
        }

    def _rows(self, panel: Panel, over: TimeRange) -> dict[str, Any]:
        rows: dict[str, dict[str, Any]] = {
            name: {"name": name, "value": None, "tone": series_tone(name), "state": state(name)}
            for name in panel.rows
        }
        found = False
        for query in panel.queries:
            window = _WINDOWS.get(query.window, round(over.length_s))
            for line in self._instant(_filled(query, window, over), over.end_s):
                value = line.values[0]
                if value is None:
                    continue
                found = True
                name = _named(query.legend, line.labels)
                shown = line.labels.get(panel.value_label, "") if panel.value_label else None
                rows[name] = {
                    "name": name,
                    "value": value,
                    "tone": series_tone(name),
                    "state": state(shown or name),
                    "text": shown,
                }
        return {"rows": list(rows.values()) if found else []}

    def _instant(self, expr: str, time_s: float) -> list[Line]:
        return self._ask(expr, time_s, time_s, 0)

    def _range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Line]:
        return self._ask(expr, start_s, end_s, step_s)

    def _ask(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Line]:
        key = (expr, start_s, end_s, step_s)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if step_s:
            lines = _gridded(self._promql.range(expr, start_s, end_s, step_s), start_s, end_s, step_s)
        else:
            lines = _gridded(self._promql.instant(expr, time_s=start_s), start_s, start_s, 1)
        with self._lock:
            self._kept[key] = lines
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return lines


class Line:
    """A series on the grid of a plot; None where there is no sample."""

    __slots__ = ("labels", "values")

    def __init__(self, labels: Mapping[str, str], values: list[float | None]) -> None:
        self.labels = labels
        self.values = values


def declaration(panel: Panel, over: TimeRange) -> dict[str, Any]:
    """What the browser needs to know of a panel apart from its data."""
    return {
        "id": panel.id,
        "title": panel.title,
        "kind": panel.kind.value,
        "unit": panel.unit.value,
        "good": panel.good,
        "bar": panel.bar,
        "hint": panel.hint,
        "threshold": {"value": panel.threshold.value, "name": panel.threshold.name}
        if panel.threshold
        else None,
        "queries": [_filled(q, _WINDOWS.get(q.window, round(over.length_s)), over) for q in panel.queries],
    }


def _filled(query: Query, window_s: int, over: TimeRange) -> str:
    return query.expr.replace("$__rate_interval", f"{over.rate_s}s").replace("$__range", f"{window_s}s")


def _gridded(result: QueryResult, start_s: float, end_s: float, step_s: float) -> list[Line]:
    points = round((end_s - start_s) / step_s) + 1
    return [_line(series, start_s, step_s, points) for series in result.series]


def _line(series: Series, start_s: float, step_s: float, points: int) -> Line:
    values: list[float | None] = [None] * points
    for moment, value in zip(series.timestamps, series.values, strict=True):
        at = round((float(moment) - start_s) / step_s)
        if 0 <= at < points and math.isfinite(value):
            values[at] = float(value)
    return Line(dict(series.labels), values)


def _single(lines: list[Line]) -> float | None:
    return lines[0].values[0] if lines else None


def _last(start_s: float, step_s: float, values: list[float | None]) -> float | None:
    for at in range(len(values) - 1, -1, -1):
        if values[at] is not None:
            return start_s + at * step_s
    return None


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return _LABEL.sub(lambda m: labels.get(m[1], ""), legend)
